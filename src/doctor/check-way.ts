// Judges the way out: rows for names, proxy, TLS and hosts, from how far a request to each host came.

import { fails, failed, type Layer, ok, skipped, warning } from './check-rules.ts'
import { type HostToAllow, isPublicHost } from './check-hosts.ts'
import { Failure } from '../protocol/errors.ts'
import type { Passage, Root, Stage } from '../protocol/passage.ts'
import type { CheckRow } from '../protocol/wire-check.ts'

export type Trip = { readonly to: HostToAllow; readonly passage: Passage }

export type Way = {
  readonly rows: readonly CheckRow[]
  /** Why nothing can be asked of GitHub's API, where that is so. */
  readonly closedBy?: string
}

const DAY_MS = 86_400_000
const ENDS_SOON_MS = 14 * DAY_MS

export const judgeWay = (trips: readonly Trip[], nowMs: number): Way => {
  const atProxy = proxyFault(trips)
  const ends = trips.map(trip => ({ trip, end: endOf(trip, atProxy) }))
  const rows = [
    ...dnsRows(ends),
    proxyRow(trips, { fault: atProxy, blockedBy: ends.every(({ end }) => end?.layer === 'dns') ? 'dns' : undefined }),
    ...ends.map(({ trip, end }) => tlsRow(trip, end, nowMs)),
    ...ends.map(({ trip, end }) => hostRow(trip, end)),
  ]
  const api = ends.find(({ trip }) => trip.to.neededBy === 'daemon')
  if (!api?.end) return { rows }
  const { layer } = api.end
  return { rows, closedBy: fails(layer, layer === 'proxy' || layer === 'dns' ? undefined : api.trip.to.host) }
}

/** Where a trip ended, and the layer that is to blame. */
type End = { readonly layer: Stage; readonly failure: Failure; readonly stage: Stage }

/** A proxy that lets others pass does its work: what it refuses to one is that host's row. */
const endOf = ({ to, passage }: Trip, atProxy: Failure | undefined): End | undefined => {
  const { failure: ending, answer } = passage
  if (ending) {
    const { stage, failure } = ending
    return { stage, failure, layer: stage === 'proxy' && !atProxy ? 'host' : stage }
  }
  const failure = answer && judgeAnswer(to, passage)
  return failure && { stage: 'host', layer: 'host', failure }
}

const judgeAnswer = ({ host, neededBy }: HostToAllow, { answer, tls }: Passage): Failure | undefined => {
  if (!answer) return undefined
  const { status, requestId, contentType, isWhole } = answer
  const what = contentType === undefined ? '' : ` (${contentType.split(';')[0]})`
  // Of the API alone it is known that each of its answers has one; for the others a public authority vouches just as well.
  const isVouchedFor = neededBy === 'others' && tls?.root?.kind === 'public'
  if (requestId === undefined && !isVouchedFor) {
    return new Failure('portal', `${host} answered with ${status}${what} and without GitHub's request id`)
  }
  if (status >= 500)
    return new Failure(
      'github-outage',
      `${host} answered with ${status}${what} (request ${requestId ?? 'without an id'})`,
    )
  if (!isWhole) return new Failure('github-unexpected', `${host} answered with JSON that is cut or changed on the way`)
  return undefined
}

/** What stops all that go by way of the proxy. */
const proxyFault = (trips: readonly Trip[]): Failure | undefined => {
  const proxied = trips.filter(({ passage }) => passage.proxy !== undefined && passage.failure?.stage !== 'dns')
  const faults = proxied.flatMap(({ passage: { failure } }) => (failure?.stage === 'proxy' ? [failure.failure] : []))
  const [first] = faults
  return first && faults.length === proxied.length ? first : undefined
}

type Ended = readonly { readonly trip: Trip; readonly end: End | undefined }[]

const dnsRows = (ends: Ended): CheckRow[] => {
  const named = ends.filter(({ trip }) => trip.passage.name !== undefined)
  const names = new Set(named.map(({ trip }) => trip.passage.name ?? ''))
  if (names.size === 0) {
    const direct = ends.every(({ trip }) => trip.passage.proxy === undefined)
    return [
      skipped({ layer: 'dns' }, direct ? 'the hosts are addresses' : 'the proxy is an address, and looks the hosts up'),
    ]
  }
  return [...names].map(subject => {
    const concerned = named.filter(({ trip }) => trip.passage.name === subject)
    const { trip, end } = concerned[0] ?? {}
    const of = { layer: 'dns', subject, tookMs: trip?.passage.lookUp?.tookMs ?? trip?.passage.tookMs ?? 0 } as const
    if (end?.stage === 'dns') {
      const next =
        trip?.passage.proxy === undefined
          ? 'Check the DNS of this machine (/etc/resolv.conf), or configure [proxy]: a proxy looks the names up itself.'
          : 'Check [proxy] url, and the DNS of this machine (/etc/resolv.conf).'
      return severity(
        concerned.map(one => one.trip),
        failed(of, end.failure, next),
      )
    }
    const addresses = trip?.passage.lookUp?.addresses ?? []
    const whose = trip?.passage.proxy === undefined ? '' : 'The proxy: '
    return ok(of, `${whose}${subject} is ${listed(addresses)}.`)
  })
}

const proxyRow = (
  trips: readonly Trip[],
  { fault, blockedBy }: { fault: Failure | undefined; blockedBy: Layer | undefined },
): CheckRow => {
  const proxied = trips.filter(({ passage }) => passage.proxy !== undefined)
  const subject = proxied[0]?.passage.proxy
  const tookMs = Math.max(0, ...proxied.map(({ passage }) => passage.connect?.tookMs ?? passage.tookMs))
  if (subject === undefined)
    return skipped({ layer: 'proxy' }, 'no proxy is configured for these hosts; calls go out directly')
  const of = { layer: 'proxy', subject, tookMs } as const
  if (blockedBy) return skipped(of, fails(blockedBy))
  if (fault) return failed(of, fault)
  const passed = proxied.filter(({ passage }) => passage.connect !== undefined || passage.answer !== undefined)
  const user = URL.parse(subject)?.username
  const login = user ? `, as ${decodeURIComponent(user)}` : ''
  const direct = trips.length - proxied.length
  const rest = direct === 0 ? '' : `; ${direct} more ${direct === 1 ? 'is' : 'are'} excluded from it`
  return ok(of, `It opened the way to ${passed.length} of ${proxied.length} hosts${login}${rest}.`)
}

const tlsRow = ({ to, passage }: Trip, end: End | undefined, nowMs: number): CheckRow => {
  const { tls, isTls } = passage
  const of = { layer: 'tls', subject: to.host, tookMs: tls?.tookMs ?? 0 } as const
  if (!isTls) return skipped(of, 'it is called by http, which is allowed on loopback only')
  if (end?.stage === 'tls')
    return severity([{ to, passage }], failed({ ...of, tookMs: passage.tookMs }, end.failure, tlsAdvice(end, nowMs)))
  if (end && end.stage !== 'host') return skipped(of, fails(end.layer))
  if (!tls) return skipped(of, 'no connection came about')
  const { root, issuer } = tls
  if (!root || root.kind === 'public')
    return ok(of, `Issued by ${issuer}${root ? ` under ${root.name}, a public authority` : ''}.`)
  return privateRow(of, { host: to.host, issuer, root, nowMs })
}

const privateRow = (
  of: { layer: 'tls'; subject: string; tookMs: number },
  { host, issuer, root, nowMs }: { host: string; issuer: string; root: Root; nowMs: number },
): CheckRow => {
  const by = issuer === root.name ? issuer : `${issuer} under ${root.name}`
  const source = root.kind === 'configured' ? '[proxy] ca_file' : "this system's certificates"
  const seen = isPublicHost(host) ? 'TLS is inspected on the way' : 'A private authority'
  const evidence = `${seen}: issued by ${by}, which ${source} ${root.kind === 'configured' ? 'names' : 'hold'}.`
  const leftMs = root.validToMs - nowMs
  if (leftMs < ENDS_SOON_MS) {
    const days = Math.max(0, Math.floor(leftMs / DAY_MS))
    return warning(
      of,
      `${evidence} It ends in ${days} day${days === 1 ? '' : 's'}.`,
      `Renew it, and put it into ${source}.`,
    )
  }
  if (root.kind === 'system' && isPublicHost(host)) {
    return warning(
      of,
      evidence,
      'If that is meant, name the authority in [proxy] ca_file; if not, find out who reads along.',
    )
  }
  return ok(of, evidence)
}

const tlsAdvice = ({ failure }: End, nowMs: number): string =>
  /expired|not yet valid/i.test(failure.message)
    ? `Is the clock right? It says ${new Date(nowMs).toISOString()}. ${failure.entry.next}`
    : failure.entry.next

const hostRow = ({ to, passage }: Trip, end: End | undefined): CheckRow => {
  const of = { layer: 'host', subject: to.host, tookMs: passage.tookMs } as const
  if (end?.layer === 'host') return severity([{ to, passage }], failed(of, end.failure))
  if (end) return skipped(of, fails(end.layer))
  const { answer } = passage
  return ok(of, `It answers with ${answer?.status ?? 'nothing'}: ${to.what}.`)
}

/** Without the hosts that only others need the daemon still does its work. */
const severity = (trips: readonly Trip[], row: CheckRow): CheckRow => {
  if (trips.some(({ to }) => to.neededBy === 'daemon')) return row
  const who = `The daemon does not need it; browsers and jobs do (${trips.map(({ to }) => to.what).join(', ')}).`
  return { ...row, verdict: 'warning', evidence: `${row.evidence} ${who}` }
}

const listed = (addresses: readonly string[]): string =>
  addresses.length > 3 ? `${addresses.slice(0, 3).join(', ')} and ${addresses.length - 3} more` : addresses.join(', ')
