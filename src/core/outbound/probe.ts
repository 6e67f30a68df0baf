// Looks at the way out step by step: one request over a fresh connection under the settings in force, and how far it came.

import { X509Certificate } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type DetailedPeerCertificate, getCACertificates } from 'node:tls'
import { Failure, asFailure } from '../../protocol/errors.ts'
import type { Passage, PassageAnswer, Root, Stage } from '../../protocol/passage.ts'
import type { Clock } from '../../service/clock.ts'
import { type Progress, progressOf } from './errors.ts'
import { readWhole } from './fetch.ts'
import type { Route } from './pool.ts'
import type { OutboundRequest, OutboundResponse } from './request.ts'

export type Examination = {
  readonly url: string
  readonly method: 'GET' | 'HEAD'
  /** For all steps together. */
  readonly deadlineMs: number
  readonly userAgent: string
  /** The name that stands in the way was found, or there is none to find. */
  readonly onLookUp?: () => void
}

/** Never throws. */
export type Probe = (examination: Examination) => Promise<Passage>

/** More is not read: what is asked for is short. */
const MOST_BYTES = 65_536

type ProbeDeps = {
  readonly send: (request: OutboundRequest) => Promise<OutboundResponse>
  readonly clock: Clock
  readonly route: () => Route
}

export const createProbe = (deps: ProbeDeps): Probe => {
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
  return examination => pass(deps, examination, find)
}

type Steps = { -readonly [Key in keyof Passage]: Passage[Key] }

const pass = async (
  { send, clock, route }: ProbeDeps,
  { url: text, method, deadlineMs, userAgent, onLookUp }: Examination,
  find: (name: string) => Promise<readonly string[]>,
): Promise<Passage> => {
  const beganMs = clock.monotonic()
  const sinceMs = (fromMs: number): number => Math.round(clock.monotonic() - fromMs)
  const left = (): number => Math.max(1, deadlineMs - (clock.monotonic() - beganMs))
  const url = new URL(text)
  const { proxyFor, ca } = route()
  const proxy = proxyFor(url)
  const steps: Steps = { host: url.host, isTls: url.protocol === 'https:', proxy: proxy?.toString(), tookMs: 0 }
  const end = (ending: Partial<Steps> = {}): Passage => ({ ...steps, ...ending, tookMs: sinceMs(beganMs) })

  const name = (proxy?.host ?? url.hostname).replace(/^\[|\]$/g, '')
  if (isIP(name) === 0) {
    steps.name = name
    try {
      const addresses = await timely(clock, find(name), left())
      if (!addresses) throw new Failure('dns', `the look-up of ${name} had no answer in ${seconds(deadlineMs)}`)
      steps.lookUp = { addresses, tookMs: sinceMs(beganMs) }
    } catch (error) {
      return end({ failure: { stage: 'dns', failure: explainLookUp(name, error) } })
    }
  }
  onLookUp?.()

  const progress = progressOf(url, proxy)
  const sentAtMs = clock.now()
  const connectsAtMs = clock.monotonic()
  const note = (): void => {
    const { connectedAtMs, securedAtMs, from, chain } = progress
    if (connectedAtMs !== undefined) {
      steps.connect = { tookMs: Math.round(connectedAtMs - connectsAtMs), ...(from !== undefined && { from }) }
    }
    const seen = chain && describeChain(chain, ca)
    if (seen && connectedAtMs !== undefined) {
      steps.tls = { ...seen, tookMs: Math.round((securedAtMs ?? clock.monotonic()) - connectedAtMs) }
    }
  }
  try {
    const headers = { 'user-agent': userAgent, accept: 'application/json' }
    const response = await send({ method, url: text, headers, deadlineMs: left(), progress })
    const late = 'the answer was not whole in time'
    const limits = { clock, host: url.host, deadlineMs: left(), late, maxBytes: MOST_BYTES, isCut: true }
    const body = await readWhole(response.body, limits)
    note()
    return end({ answer: toAnswer(response, { body, method, sentAtMs, receivedAtMs: clock.now() }) })
  } catch (error) {
    note()
    const failure = asFailure(error)
    const stage = stageOf(failure, { progress, isTls: steps.isTls })
    return end({ failure: { stage, failure: explainHang(failure, { stage, host: url.host, deadlineMs }) } })
  }
}

const stageOf = ({ code }: Failure, { progress, isTls }: { progress: Progress; isTls: boolean }): Stage => {
  if (code === 'dns') return 'dns'
  if (code.startsWith('proxy-')) return 'proxy'
  if (progress.securedAtMs !== undefined) return 'host'
  // A page in place of a tunnel is the proxy's.
  if (code === 'portal' && progress.hasPage) return 'proxy'
  if (code === 'tls') return 'tls'
  // Without a tunnel the proxy said that it did not get there; with one, it is the handshake that broke off.
  return isTls && progress.connectedAtMs !== undefined ? 'tls' : 'host'
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
const timely = async <T>(clock: Clock, promise: Promise<T>, ms: number): Promise<T | undefined> => {
  const answered = new AbortController()
  try {
    return await Promise.race([promise, clock.sleep(ms, answered.signal).then(() => undefined)])
  } finally {
    answered.abort()
  }
}

const toAnswer = (
  { status, headers }: OutboundResponse,
  { body, method, ...times }: { body: Buffer; method: string; sentAtMs: number; receivedAtMs: number },
): PassageAnswer => {
  const requestId = headers['x-github-request-id']
  const contentType = headers['content-type']
  return {
    status,
    ...times,
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
