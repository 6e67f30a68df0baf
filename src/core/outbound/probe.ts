// Looks at the way out step by step: one request over a fresh connection under the settings in force, and how far it came.

import { X509Certificate } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type DetailedPeerCertificate, getCACertificates } from 'node:tls'
import { Failure, asFailure } from '../../protocol/errors.ts'
import type { Passage, PassageAnswer, Root, Stage } from '../../protocol/passage.ts'
import { type OutboundResponse, travel, type Way, type Witness } from './request.ts'

export type Examination = {
  readonly url: string
  readonly method: 'GET' | 'HEAD'
  /** For all steps together. */
  readonly deadlineMs: number
  readonly userAgent: string
  /** The name that stands in the way was found, or there is none to find. */
  readonly onLookUp?: () => void
}

export type Probe = (examination: Examination) => Promise<Passage>

/** More is not read: what is asked for is short. */
const MOST_BYTES = 65_536

/** `open` gives a way of its own for each passage, ended with it. Never throws. */
export const createProbe = (open: () => Way & { readonly ca: string | undefined; destroy(): void }): Probe => {
  /** A look-up that hangs holds a thread until the resolver gives up: whoever comes meanwhile waits for the same one. */
  const lookUps = new Map<string, Promise<readonly string[]>>()
  const find = (name: string): Promise<readonly string[]> => {
    const known = lookUps.get(name)
    if (known) return known
    const found = lookup(name, { all: true }).then(all => all.map(({ address }) => address))
    lookUps.set(name, found)
    const forget = (): void => void lookUps.delete(name)
    found.then(forget, forget)
    return found
  }

  return async examination => {
    const way = open()
    try {
      return await pass(way, examination, find)
    } finally {
      way.destroy()
    }
  }
}

type Steps = { -readonly [Key in keyof Passage]: Passage[Key] }

const pass = async (
  way: Way & { readonly ca: string | undefined },
  { url: text, method, deadlineMs, userAgent, onLookUp }: Examination,
  find: (name: string) => Promise<readonly string[]>,
): Promise<Passage> => {
  const beganMs = performance.now()
  const sinceMs = (fromMs: number): number => Math.round(performance.now() - fromMs)
  const left = (): number => Math.max(1, deadlineMs - (performance.now() - beganMs))
  const url = new URL(text)
  const proxy = way.proxyFor(url)
  const steps: Steps = { host: url.host, isTls: url.protocol === 'https:', proxy: proxy?.toString(), tookMs: 0 }
  const end = (ending: Partial<Steps> = {}): Passage => ({ ...steps, ...ending, tookMs: sinceMs(beganMs) })

  const name = (proxy?.host ?? url.hostname).replace(/^\[|\]$/g, '')
  if (isIP(name) === 0) {
    steps.name = name
    try {
      const addresses = await timely(find(name), left())
      if (!addresses) throw new Failure('dns', `the look-up of ${name} had no answer in ${seconds(deadlineMs)}`)
      steps.lookUp = { addresses, tookMs: sinceMs(beganMs) }
    } catch (error) {
      return end({ failure: { stage: 'dns', failure: explainLookUp(name, error) } })
    }
  }
  onLookUp?.()

  const witness: Witness = {}
  const sentAtMs = Date.now()
  const connectsAtMs = performance.now()
  const note = (): void => {
    const { connectedAtMs, securedAtMs, from, chain } = witness
    if (connectedAtMs !== undefined) {
      steps.connect = { tookMs: Math.round(connectedAtMs - connectsAtMs), ...(from !== undefined && { from }) }
    }
    const seen = chain && describeChain(chain, way.ca)
    if (seen && connectedAtMs !== undefined) {
      steps.tls = { ...seen, tookMs: Math.round((securedAtMs ?? performance.now()) - connectedAtMs) }
    }
  }
  try {
    const headers = { 'user-agent': userAgent, accept: 'application/json' }
    const response = await travel(way, { method, url: text, headers, deadlineMs: left(), witness })
    const body = await readBody(response, { host: url.host, deadlineMs: left() })
    note()
    return end({ answer: toAnswer(response, { body, method, sentAtMs }) })
  } catch (error) {
    note()
    const failure = asFailure(error)
    const stage = stageOf(failure, { witness, isTls: steps.isTls })
    return end({ failure: { stage, failure: explainHang(failure, { stage, host: url.host, deadlineMs }) } })
  }
}

const stageOf = ({ code }: Failure, { witness, isTls }: { witness: Witness; isTls: boolean }): Stage => {
  if (code === 'dns') return 'dns'
  if (code.startsWith('proxy-')) return 'proxy'
  if (witness.securedAtMs !== undefined) return 'host'
  // A page in place of a tunnel is the proxy's.
  if (code === 'portal' && witness.hasPage) return 'proxy'
  if (code === 'tls') return 'tls'
  // Without a tunnel the proxy said that it did not get there; with one, it is the handshake that broke off.
  return isTls && witness.connectedAtMs !== undefined ? 'tls' : 'host'
}

const explainHang = (failure: Failure, at: { stage: Stage; host: string; deadlineMs: number }): Failure => {
  if (at.stage !== 'tls' || failure.code === 'tls' || failure.code === 'portal') return failure
  const how = failure.code === 'timeout' ? `did not end in ${seconds(at.deadlineMs)}` : `broke off: ${failure.message}`
  return new Failure(failure.code, `the TLS handshake with ${at.host} ${how}`, { cause: failure })
}

const explainLookUp = (name: string, error: unknown): Failure => {
  if (error instanceof Failure) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  return new Failure('dns', `the name ${name} has no address (${code})`, { cause: error })
}

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`

/** Undefined where it takes longer. */
const timely = async <T>(promise: Promise<T>, ms: number): Promise<T | undefined> => {
  const late = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => late.resolve(undefined), ms)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

const readBody = async (
  { body }: OutboundResponse,
  { host, deadlineMs }: { host: string; deadlineMs: number },
): Promise<Buffer> => {
  const late = new Failure('timeout', `${host}: the answer was not whole in time`)
  const timer = setTimeout(() => body.destroy(late), deadlineMs)
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      chunks.push(Buffer.from(chunk))
      size += chunks.at(-1)?.length ?? 0
      if (size > MOST_BYTES) break
    }
    return Buffer.concat(chunks)
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure('unreachable', `${host}: the answer broke off`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

const toAnswer = (
  { status, headers }: OutboundResponse,
  { body, method, sentAtMs }: { body: Buffer; method: string; sentAtMs: number },
): PassageAnswer => {
  const requestId = headers['x-github-request-id']
  const contentType = headers['content-type']
  return {
    status,
    sentAtMs,
    receivedAtMs: Date.now(),
    ...(typeof requestId === 'string' && { requestId }),
    ...(headers.date !== undefined && { date: headers.date }),
    ...(contentType !== undefined && { contentType }),
    isWhole: method === 'HEAD' || !contentType?.startsWith('application/json') || isJson(body),
  }
}

const isJson = (body: Buffer): boolean => {
  try {
    JSON.parse(body.toString())
    return true
  } catch {
    return false
  }
}

const describeChain = (leaf: DetailedPeerCertificate, ca: string | undefined): { issuer: string; root?: Root } => {
  const issuer = nameOf(leaf.issuer)
  let top = leaf
  while (top.issuerCertificate && top.issuerCertificate.fingerprint256 !== top.fingerprint256) {
    top = top.issuerCertificate
  }
  // What is vouched for by somebody unknown has no root here.
  if (JSON.stringify(top.subject) !== JSON.stringify(top.issuer)) return { issuer }
  const body = top.raw.toString('base64')
  const kind = holds(blocksOf(ca), body)
    ? 'configured'
    : holds(getCACertificates('bundled'), body)
      ? 'public'
      : 'system'
  return {
    issuer,
    root: { name: nameOf(top.subject), kind, validToMs: new X509Certificate(top.raw).validToDate.getTime() },
  }
}

const nameOf = (name: { CN?: string | string[]; O?: string | string[] }): string =>
  String([name.CN ?? name.O ?? 'nobody'].flat()[0])

const blocksOf = (pem: string | undefined): readonly string[] =>
  pem?.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? []

const holds = (pems: readonly string[], body: string): boolean =>
  pems.some(pem => pem.replaceAll(/-----[A-Z ]+-----|\s/g, '') === body)
