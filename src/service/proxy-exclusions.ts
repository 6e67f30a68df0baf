// Which hosts are called directly although there is a proxy: names, suffixes, addresses, blocks of addresses.

import { BlockList, isIP } from 'node:net'
import { Failure } from '../protocol/errors.ts'

/** Whether a URL goes past the proxy. Names are never resolved for it: a block matches addresses written as such. */
export type Exclusions = (url: URL) => boolean

type Rule = { readonly port: string | undefined; matches(host: string): boolean }

/**
 * `*` (everything), `name`, `.suffix` and `*.suffix` (below that name; with the dot alone also the name itself, as curl has it),
 * an address, a CIDR block; all but blocks with `:port` if wanted. Throws `configuration` for an entry that is none of these.
 */
export const createExclusions = (entries: readonly string[]): Exclusions => {
  const rules = entries.map(parseRule)
  return url => {
    const host = bareHost(url.hostname)
    const port = url.port || (url.protocol === 'http:' ? '80' : '443')
    return rules.some(rule => (rule.port === undefined || rule.port === port) && rule.matches(host))
  }
}

/** Whether `createExclusions` accepts it. */
export const isExclusion = (entry: string): boolean => findRule(entry) !== undefined

/** An entry as messages show it: only where nothing but a host is written so, as any other may be an address with a password. */
export const showEntry = (entry: string): string =>
  LIKE_A_HOST.test(entry) ? JSON.stringify(entry.slice(0, 80)) : 'an entry (not shown, as it may hold a password)'

const LIKE_A_HOST = /^(?:[\w.*<>[\]"';-]*(?::\d*)?|(?:[\da-f]*:){2,}[\da-f.]*)(?:\/\d*)?$/i

const parseRule = (entry: string): Rule => {
  const rule = findRule(entry)
  if (!rule) throw new Failure('configuration', `[proxy] exclude: ${showEntry(entry)} is no host, suffix or block`)
  return rule
}

const findRule = (entry: string): Rule | undefined =>
  entry === '*' ? { port: undefined, matches: () => true } : (addressRule(entry) ?? nameRule(entry))

const ADDRESS =
  /^(?:\[(?<bracketed>[0-9a-f:.]+)\]|(?<v4>[\d.]+)|(?<v6>[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*))(?:\/(?<bits>\d{1,3})|(?<=[\d.\]]):(?<port>\d{1,5}))?$/i

const addressRule = (entry: string): Rule | undefined => {
  // An IPv6 address without brackets has no port: its last colon would be taken for one.
  const { bracketed, v4, v6, bits, port } = (isIP(entry) === 6 ? { v6: entry } : ADDRESS.exec(entry)?.groups) ?? {}
  const address = bracketed ?? v4 ?? v6
  const family = address === undefined ? 0 : isIP(address)
  if (address === undefined || family === 0) return undefined
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const width = family === 4 ? 32 : 128
  if (bits !== undefined && Number(bits) > width) return undefined
  const list = new BlockList()
  list.addSubnet(address, bits === undefined ? width : Number(bits), type)
  return { port, matches: host => isIP(host) !== 0 && list.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6') }
}

const NAME = /^(?<dot>\*?\.)?(?<name>[\w-]+(?:\.[\w-]+)*)\.?(?::(?<port>\d{1,5}))?$/

const nameRule = (entry: string): Rule | undefined => {
  const { dot, name: written, port } = NAME.exec(entry)?.groups ?? {}
  // What consists of digits and dots is a broken address, not a name.
  if (written === undefined || /^[\d.]+$/.test(written)) return undefined
  const name = written.toLowerCase()
  const below = `.${name}`
  if (dot === undefined) return { port, matches: host => host === name }
  return { port, matches: host => host.endsWith(below) || (dot === '.' && host === name) }
}

const bareHost = (hostname: string): string =>
  hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase()
