// A secret in an address of the configuration or the environment: none of it reaches anything that the daemon or the command line shows.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { ghconnect, runDaemon } from './support/probes.ts'
import { type Outputs, startOutputs } from './support/outputs.ts'

/** Part of every secret. None of its three spellings in base64 has a character that an alphabet of base64 replaces. */
const MARK = 'Xq7hUnt3rKz9'
const USER = 'CORP\\jdoe'

const inBase64 = [0, 1, 2].map(shift => {
  const text = Buffer.from(`${'.'.repeat(shift)}${MARK}`).toString('base64')
  // The characters that hold bits of the mark alone.
  return text.slice(Math.ceil((shift * 4) / 3), Math.floor(((shift + MARK.length) * 4) / 3))
})
const bytes = Buffer.from(MARK)
const SPELLINGS: readonly string[] = [
  MARK,
  ...inBase64,
  bytes.toString('hex'),
  [...bytes].map(byte => `%${byte.toString(16)}`).join(''),
  [...bytes].map(byte => `\\u00${byte.toString(16)}`).join(''),
  Array.from(MARK).join('\u0000'),
].map(text => text.toLowerCase())

/** What stands around it. */
const findSecret = (text: string): string | undefined => {
  const lower = text.toLowerCase()
  const found = SPELLINGS.map(spelling => lower.indexOf(spelling)).find(at => at >= 0)
  return found === undefined ? undefined : text.slice(Math.max(0, found - 150), found + 150)
}

type Planted = {
  readonly shape: keyof typeof SHAPES
  readonly where: keyof typeof PLACES
  readonly before: string
  readonly after: string
  readonly encoded: boolean
  readonly scheme: string
  readonly output: string
}

/** Behind the last @ stand host and port, which are shown: no secret holds one unless it is encoded. */
const SHAPES = {
  password: (secret: string, at: string) => `${USER}:${secret}@${at}`,
  'password, no user': (secret: string, at: string) => `:${secret}@${at}`,
  'long password': (secret: string, at: string) => `jdoe:${'x'.repeat(90)}${secret}@${at}`,
  path: (secret: string, at: string) => `jdoe:p@${at}/${secret}`,
  query: (secret: string, at: string) => `jdoe:p@${at}?token=${secret}`,
  fragment: (secret: string, at: string) => `jdoe:p@${at}#${secret}`,
  'no host': (secret: string) => `jdoe:${secret}@`,
  'no @': (secret: string) => `jdoe:${secret}`,
} as const

/** What is in force after it, or is refused. */
const PLACES = {
  'proxy.url': (at: Outputs, url: string) => at.configure(`${at.base}${at.github}[proxy]\nurl = ${quoted(url)}\n`),
  'proxy.url, not quoted': (at: Outputs, url: string) => at.configure(`${at.base}${at.github}[proxy]\nurl = ${url}\n`),
  'a key that is misspelt': (at: Outputs, url: string) =>
    at.configure(`${at.base}${at.github}[proxy]\nurll = ${quoted(url)}\npassword = ${quoted(url)}\n`),
  'proxy.exclude': (at: Outputs, url: string) =>
    at.configure(`${at.base}${at.github}[proxy]\nurl = "http://${at.proxy}"\nexclude = [${quoted(url)}]\n`),
  'github.url': (at: Outputs, url: string) => at.configure(`${at.base}[github]\nurl = ${quoted(url)}\n`),
  'github.api_url': (at: Outputs, url: string) => at.configure(`${at.base}[github]\napi_url = ${quoted(url)}\n`),
  'appliance.url': (at: Outputs, url: string) =>
    at.configure(`${at.base}${at.github}[appliance]\nurl = ${quoted(url)}\n`),
  'cluster.endpoints': (at: Outputs, url: string) =>
    at.configure(`${at.base}${at.github}[cluster]\nname = "x"\nendpoints = [${quoted(url)}]\n`),
  'web.public_url': (at: Outputs, url: string) =>
    at.configure(at.base.replace('[web]', `[web]\npublic_url = ${quoted(url)}`) + at.github),
  HTTPS_PROXY: (at: Outputs, url: string) => void (at.env['HTTPS_PROXY'] = url),
  http_proxy: (at: Outputs, url: string) => void (at.env['http_proxy'] = url),
  NO_PROXY: (at: Outputs, url: string) => Object.assign(at.env, { ALL_PROXY: at.proxy, NO_PROXY: `${url},10.*` }),
  'proxy.password_file': (at: Outputs, url: string) => {
    const file = join(at.folder, 'password')
    writeFileSync(file, url, { mode: 0o600 })
    at.configure(`${at.base}${at.github}[proxy]\nurl = 'http://${USER}@${at.proxy}'\npassword_file = ${quoted(file)}\n`)
  },
} as const

const quoted = (text: string): string => JSON.stringify(text.toWellFormed())

const plant = (at: Outputs, { shape, where, before, after, encoded, scheme }: Planted): void => {
  const written = `${before}${MARK}${after}`.replaceAll('@', encoded ? '@' : '+')
  // Blanks and commas end an entry of NO_PROXY: what follows is another.
  const raw = where === 'NO_PROXY' ? written.replaceAll(/[\s,]/g, '_') : written
  const address = SHAPES[shape](encoded ? encodeURIComponent(raw) : raw, at.proxy)
  for (const name of Object.keys(at.env)) delete at.env[name]
  at.configure(at.base + at.github)
  PLACES[where](at, where === 'proxy.password_file' ? raw : `${scheme}${address}`)
}

const keysOf = <T extends object>(of: T): (keyof T)[] => Object.keys(of) as (keyof T)[]
const around = fc.string({ unit: fc.constantFrom(...Array.from('/#?%\\@:[] \t"\'<>&=+;,.-a1é💥\n')), maxLength: 9 })
const RUNS = 10_000

test('no output shows any part of a secret in an address, in whatever place, shape and spelling', async t => {
  t.timeout(600_000)
  const at = await startOutputs(t)
  const planted = fc.record({
    shape: fc.constantFrom(...keysOf(SHAPES)),
    where: fc.constantFrom(...keysOf(PLACES)),
    before: around,
    after: around,
    encoded: fc.boolean(),
    scheme: fc.constantFrom('http://', 'http://', 'https://', 'socks5://', 'HTTP://', 'ftp://', ''),
    output: fc.oneof(
      { weight: 20, arbitrary: fc.constant('log') },
      { weight: 15, arbitrary: fc.constantFrom(...keysOf(at.outputs)) },
      { weight: 1, arbitrary: fc.constantFrom(...keysOf(at.slowOutputs)) },
    ),
  })
  const tally = { accepted: 0, refused: 0, proxied: 0 }
  await fc.assert(
    fc.asyncProperty(planted, async each => {
      plant(at, each)
      at.reload()
      // What is logged is looked at in every run.
      const shown = each.output === 'log' ? '' : await at.show(each.output)
      const logged = at.log()
      tally[logged.includes('the old configuration stays') ? 'refused' : 'accepted'] += 1
      if (shown.includes('CORP') && shown.includes('127.0.0.1')) tally.proxied += 1
      const leaked = findSecret(shown) ?? findSecret(logged)
      if (leaked !== undefined) t.fail(`${each.where} by ${each.output}: ${leaked}`)
    }),
    { numRuns: RUNS },
  )
  // Neither kind of run is rare, and the part of the address that may be shown was.
  for (const [what, times] of Object.entries(tally)) t.true(times > RUNS / 200, `${what}: ${times}`)
})

test('what looks for a secret finds it raw, encoded, and in what HTTP makes of user and password', t => {
  for (const user of ['u', 'us', 'use', USER])
    for (const text of [
      Buffer.from(`${user}:a${MARK}b`).toString('base64'),
      Buffer.from(`${user}:a${MARK}b`).toString('base64url'),
      encodeURIComponent(`${user}:${MARK}`),
      Buffer.from(`${user}:${MARK}`).toString('hex'),
    ])
      t.truthy(findSecret(`before ${text} after`), text)
  t.is(findSecret('http://CORP%5Cjdoe@proxy.test:3128'), undefined)
})

test('a start that is refused for such an address shows none of it, and neither does what the command line says of it', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'secrets-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'config.toml')
  const paths = `[paths]\nstate = "${folder}/state"\nruntime = "${folder}/run"\n`
  for (const address of [`u:a/${MARK}@proxy:1`, `u:p@proxy:1/${MARK}`]) {
    writeFileSync(file, `${paths}[proxy]\nurl = "http://${address}"\nexclude = ["http://${address}"]\n`)
    const told = [
      await runDaemon(file),
      await ghconnect('status', '--config', file),
      await ghconnect('config', 'check', '--config', file),
      await ghconnect('check', '--config', file),
    ]
    for (const { code, output } of told) {
      t.not(code, 0)
      t.is(findSecret(output), undefined)
    }
    t.regex(told[0]?.output ?? '', /proxy\.url/)
  }
})
