// The doctor's judgement: what was seen of the machine, the way out, GitHub and the cluster turned into rows. Pure.

import type { LastExport } from '../core/store/records.ts'
import { type App, appSettingsUrl, type Installation } from '../protocol/connection.ts'
import { CATALOGUE, Failure } from '../protocol/errors.ts'
import type { Passage, PassageAnswer, Root, Stage } from '../protocol/passage.ts'
import { findInstallation, type Profile } from '../protocol/profile.ts'
import { describePermissions, type Permissions, permissionsCover } from '../protocol/scope.ts'
import type { CheckRow } from '../protocol/wire-check.ts'
import { type ClusterStatus, isoTime } from '../protocol/wire.ts'
import type { Asked } from '../service/limits.ts'
import { fails, failed, type Layer, layerOf, OF_GITHUB, ok, skipAll, skipped, warning } from './findings.ts'
import type { Concerned, HostToAllow, KeyProof, Look, Probe, StoreFacts, Trip } from './probe.ts'

const DAY_MS = 86_400_000
const STALE_EXPORT_MS = 7 * DAY_MS
const ENDS_SOON_MS = 14 * DAY_MS
/** The daemon uses the difference, so that it is no failure; other programs do not. */
const CLOCK_WARNING_S = 30

/** `store`: the evidence that it is whole, or what is wrong with it. `facts`: undefined while it is closed. */
export const judgeMachine = (
  configuration: Parameters<typeof configurationRow>[0],
  store: Asked<string>,
  { facts, nowMs }: { facts: StoreFacts | undefined; nowMs: number },
): CheckRow[] => {
  const beyond = facts
    ? [recoveryRow(facts), backupRow(facts, nowMs)]
    : skipAll(['recovery-key', 'backup'], 'the store is closed')
  return [configurationRow(configuration), storeRow(store), ...beyond]
}

const configurationRow = ({
  file,
  profiles,
  refused,
  doubts,
}: ReturnType<Probe['configuration']> & {
  readonly profiles: number
}): CheckRow => {
  const of = { layer: 'configuration' } as const
  if (refused !== undefined) {
    const said = `the settings of before are in force, as the file was refused: ${refused}`
    const next = 'Correct it, then `systemctl reload ghconnectd`: with this file the daemon would not start again.'
    return failed(of, new Failure('configuration', said), next)
  }
  const said = `${file}: ${many(profiles, 'profile')}`
  const [doubt] = doubts
  if (!doubt) return ok(of, `${said}.`)
  const more = doubts.length > 1 ? `, and ${doubts.length - 1} more` : ''
  return warning(of, `${said}. ${doubt.said}${more}.`, doubt.next)
}

const storeRow = ({ tookMs, ...asked }: Asked<string>): CheckRow => {
  const of = { layer: 'store', tookMs } as const
  if (!asked.failure) return ok(of, asked.value)
  // Of one who asks without the daemon, and without its rights.
  return asked.failure.code === 'not-permitted' ? skipped(of, asked.failure.message) : failed(of, asked.failure)
}

const recoveryRow = ({ isLive, recipients, isWrapped }: StoreFacts): CheckRow => {
  const of = { layer: 'recovery-key' } as const
  if (!isLive && recipients.length === 0) return skipped(of, 'there is no App to lose')
  if (recipients.length === 0) {
    const evidence = 'None exists: snapshots are unencrypted, and losing the store key means losing the connection.'
    return warning(of, evidence, 'Run `ghconnect recovery-key create` and keep what it prints away from this machine.')
  }
  if (!isWrapped) {
    const evidence = 'The database key is not encrypted to the recovery keys yet.'
    return warning(of, evidence, 'It is written at the next start; see the journal for what stood in the way.')
  }
  return ok(of, `${recipients.length} open${recipients.length === 1 ? 's' : ''} snapshots and store.`)
}

const backupRow = ({ isLive, isFollower, generation, lastExport }: StoreFacts, nowMs: number): CheckRow => {
  const of = { layer: 'backup' } as const
  if (!isLive) return skipped(of, 'there is no App to lose')
  const next = "Run `ghconnect snapshot export`, or find out why the scheduled backup isn't running."
  const last = readLastExport(lastExport)
  const isFresh = last && last.generation === generation && nowMs - last.atMs < STALE_EXPORT_MS
  if (isFollower && !isFresh) return skipped(of, 'no fresh export was made here, and another node of the cluster leads')
  if (!last) return warning(of, 'This daemon never exported a snapshot.', next)
  const age = nowMs - last.atMs
  const days = Math.floor(age / DAY_MS)
  const ago = days < 1 ? 'less than a day ago' : days === 1 ? 'a day ago' : `${days} days ago`
  const when = `${isoTime(last.atMs).slice(0, 16)}Z (${ago})`
  if (last.generation !== generation) {
    const evidence = `The last export, of ${when}, is of generation ${last.generation}; this is ${generation}, with other keys.`
    return warning(of, evidence, next)
  }
  return age >= STALE_EXPORT_MS
    ? warning(of, `The last export is of ${when}.`, next)
    : ok(of, `The last export is of ${when}.`)
}

const readLastExport = (fact: unknown): LastExport | undefined => {
  if (typeof fact !== 'object' || fact === null || !('atMs' in fact) || !('generation' in fact)) return undefined
  const { atMs, generation } = fact
  return typeof atMs === 'number' && typeof generation === 'number' ? { atMs, generation } : undefined
}

/** By the `Date` of an answer that is GitHub's own; `why` there is none to judge by. */
export const clockRow = (answer: PassageAnswer | undefined, why: string): CheckRow => {
  const of = { layer: 'clock' } as const
  const githubMs = answer?.requestId === undefined ? Number.NaN : Date.parse(answer.date ?? '')
  if (!answer || Number.isNaN(githubMs)) return skipped(of, why)
  const { sentAtMs, receivedAtMs } = answer
  // An HTTP date has whole seconds, and stands for the middle of one.
  const hereMs = (sentAtMs + receivedAtMs) / 2
  const behind = Math.round((githubMs + 500 - hereMs) / 1000)
  const apart = Math.abs(behind)
  if (apart < 2) return ok(of, "It agrees with GitHub's.")
  const said = `This machine's clock is ${apart} s ${behind > 0 ? 'behind' : 'ahead of'} GitHub's`
  if (apart < CLOCK_WARNING_S) return ok(of, `${said}.`)
  const times = `it says ${new Date(hereMs).toISOString()}, GitHub ${new Date(githubMs).toISOString()}`
  return warning(of, `${said}: ${times}.`, CATALOGUE['clock-skew'].next)
}

/** Rows for names, proxy, TLS and hosts, from how far a request to each host came. `closedBy`: why nothing can be asked of GitHub's API. */
export const judgeWay = (
  trips: readonly Trip[],
  nowMs: number,
): { readonly rows: readonly CheckRow[]; readonly closedBy?: string } => {
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

/** Where a private authority has no business but to read along. */
export const isPublicHost = (host: string): boolean => /(?:^|\.)(?:github\.com|ghe\.com)(?::\d+)?$/.test(host)

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

/** Rows of key and App. `closedBy`: why nothing more can be asked. */
export const judgeKeys = (
  proofs: readonly KeyProof[],
  host: string,
): { rows: CheckRow[]; app?: App; closedBy?: string } => {
  const working = proofs.find(({ asked }) => !asked.failure)
  if (working && !working.asked.failure) {
    const app = working.asked.value
    return { app, rows: [...proofs.map(proof => keyRow(proof, working)), appRow(app, working.asked.tookMs)] }
  }
  const [first] = proofs
  if (!first?.asked.failure) return { rows: skipAll(OF_GITHUB, 'no key is stored'), closedBy: 'no key is stored' }
  const closedBy = fails(layerOf(first.asked.failure.code))
  if (layerOf(first.asked.failure.code) === 'key') {
    const rows = proofs.flatMap(({ fingerprint: subject, asked: { failure, tookMs } }) =>
      failure ? [failed({ layer: 'key', subject, tookMs }, failure)] : [],
    )
    return { rows: [...rows, skipped({ layer: 'app' }, closedBy)], closedBy }
  }
  return { rows: blame(first.asked, ['key', 'app'], { host }), closedBy }
}

/** The failure at its layer; of `layers`, which were to be seen by the same question, the others are skipped. */
const blame = (
  { failure, tookMs }: { readonly failure: Failure; readonly tookMs: number },
  layers: readonly Layer[],
  { host, subject, next }: { host: string; subject?: string; next?: string | undefined },
): CheckRow[] => {
  const layer = layerOf(failure.code)
  const others = layers.filter(other => other !== layer)
  const row = failed({ layer, subject: layer === 'host' ? host : subject, tookMs }, failure, next)
  return [row, ...skipAll(others, fails(layer), subject)]
}

const keyRow = ({ fingerprint: subject, asked }: KeyProof, working: KeyProof): CheckRow => {
  const of = { layer: 'key', subject, tookMs: asked.tookMs } as const
  if (!asked.failure) return ok(of, 'GitHub accepts this key.')
  if (layerOf(asked.failure.code) !== 'key') return skipped(of, fails(layerOf(asked.failure.code)))
  const evidence = `${asked.failure.message}; ${working.fingerprint} signs in its place.`
  return warning(of, evidence, 'Take it out with `ghconnect keys retire`, once the other one is proven.')
}

const appRow = (app: App, tookMs: number): CheckRow =>
  ok({ layer: 'app', subject: app.slug, tookMs }, `GitHub knows it: ${app.name} of ${app.owner.login}, id ${app.id}.`)

/** The row of each installation; of those that profiles name, too, where the App is not. */
export const judgeInstallations = (
  asked: Asked<readonly Installation[]>,
  context: { app: App; profiles: readonly Profile[]; host: string; isAwaited: boolean },
): { rows: CheckRow[]; live: Concerned[]; closedBy?: string } => {
  const { app, profiles } = context
  if (asked.failure) {
    return { rows: blame(asked, ['installation'], context), live: [], closedBy: fails(layerOf(asked.failure.code)) }
  }
  const found = asked.value
  const install = `Install it: ${app.htmlUrl}/installations/new`
  if (found.length === 0) {
    const of = { layer: 'installation', tookMs: asked.tookMs } as const
    const said = context.isAwaited ? 'the App is not installed yet' : 'GitHub lists no installation of the App'
    const row = failed(of, new Failure('installation-not-found', said), install)
    return { rows: [row], live: [], closedBy: 'the App is not installed' }
  }
  const concerned = found.map(installation => ({
    installation,
    profiles: profiles.filter(({ installation: wanted }) => findInstallation(found, wanted) === installation),
  }))
  const rows = concerned.map(({ installation }) => installationRow(installation, asked.tookMs))
  const astray = profiles.filter(({ installation: wanted }) => !findInstallation(found, wanted))
  return {
    rows: [
      ...rows,
      ...astray.map(profile =>
        astrayRow(profile, { install, tookMs: asked.tookMs, isAll: astray.length === profiles.length }),
      ),
    ],
    live: concerned.filter(({ installation }) => installation.suspendedAtMs === undefined),
  }
}

const installationRow = ({ account, id, suspendedAtMs, repositorySelection }: Installation, tookMs: number) => {
  const of = { layer: 'installation', subject: account.login, tookMs } as const
  if (suspendedAtMs === undefined) {
    const whole = repositorySelection === 'all' ? 'all repositories' : 'selected repositories'
    return ok(of, `Installation ${id} on ${whole}.`)
  }
  const since = isoTime(suspendedAtMs)
  const next = `Let an owner of ${account.login} unsuspend it in the account's settings.`
  return failed(of, new Failure('suspended', `installation ${id} is suspended since ${since}`), next)
}

const astrayRow = (
  profile: Profile,
  { install, tookMs, isAll }: { install: string; tookMs: number; isAll: boolean },
): CheckRow => {
  const { name, installation } = profile
  const of = {
    layer: 'installation',
    subject: installation === undefined ? name : String(installation),
    tookMs,
  } as const
  if (installation === undefined) {
    const evidence = `Profile ${name} names no installation, and there are several.`
    return warning(of, evidence, 'Name one with `installation` in the profile.')
  }
  const evidence = `Profile ${name} names ${installation}, where the App is not installed.`
  // With no other profile, no local process gets a token.
  return isAll ? failed(of, new Failure('installation-not-found', evidence), install) : warning(of, evidence, install)
}

/** What profiles ask for beyond what the installation was granted. */
export const permissionRow = ({ installation, profiles }: Concerned, app: App, tookMs: number): CheckRow => {
  const { account, permissions, htmlUrl } = installation
  const of = { layer: 'permissions', subject: account.login, tookMs } as const
  const asked = profiles.filter(profile => profile.permissions !== undefined)
  const lacking = asked.flatMap(({ name, permissions: wanted = {} }) => {
    const missing = Object.entries(wanted).filter(([key, access]) => !permissionsCover(permissions, { [key]: access }))
    return missing.length === 0 ? [] : [{ name, missing: Object.fromEntries(missing) satisfies Permissions }]
  })
  if (lacking.length === 0) {
    const what = asked.length === 0 ? 'no profile asks for any by name' : `${many(asked.length, 'profile')} within them`
    return ok(of, `Granted: ${describePermissions(permissions)}; ${what}.`)
  }
  const said = lacking.map(({ name, missing }) => `profile ${name} asks for ${describePermissions(missing)}`).join('; ')
  const isPending = lacking.every(({ missing }) => permissionsCover(app.permissions, missing))
  const approve = `let an owner of ${account.login} approve it under ${htmlUrl}`
  const next = isPending
    ? `The App asks for it already: ${approve}`
    : `Add it to the App under ${appSettingsUrl(app)}/permissions, then ${approve}`
  return failed(of, new Failure('permission-not-granted', `${said}, which is not granted`), next)
}

/** The layers that a token shows. */
export const OF_TOKEN: readonly Layer[] = ['egress', 'repositories', 'quota']

/** Rows of egress, repositories and quota, from a look with a token of the installation. */
export const judgeLook = (
  { installation, profiles }: Concerned,
  asked: Asked<Look>,
  context: { proxy: string | undefined; from: string | undefined; reserve: number; githubMs: number; host: string },
): CheckRow[] => {
  const subject = installation.account.login
  const { tookMs } = asked
  if (asked.failure) {
    const isBlocked = layerOf(asked.failure.code) === 'egress'
    const next = isBlocked ? egressAdvice(subject, context.proxy) : undefined
    return blame(asked, OF_TOKEN, { host: context.host, subject, next })
  }
  const look = asked.value
  const left = context.proxy ?? context.from
  return [
    ok(
      { layer: 'egress', subject, tookMs },
      `No IP allow list is in the way of ${left ?? 'this machine'}; GitHub's API does not tell which address it sees.`,
    ),
    repositoryRow(look, { subject, profiles, tookMs }),
    quotaRow(look, { subject, reserve: context.reserve, githubMs: context.githubMs }),
  ]
}

const egressAdvice = (account: string, proxy: string | undefined): string =>
  proxy === undefined
    ? `Add the address from which this machine's calls reach GitHub to the IP allow list of ${account}; behind a NAT that is the NAT's.`
    : `Add the address from which the proxy ${proxy} calls GitHub to the IP allow list of ${account}.`

const repositoryRow = (
  { total, missing, unasked }: Look,
  { subject, profiles, tookMs }: { subject: string; profiles: readonly Profile[]; tookMs: number },
): CheckRow => {
  const of = { layer: 'repositories', subject, tookMs } as const
  if (missing.length > 0) {
    const whose = profiles.filter(({ repositories }) => repositories?.some(name => missing.includes(name)))
    const said = `profile ${whose.map(({ name }) => name).join(', ')}: not among the ${many(total, 'repository')} of the installation: ${missing.join(', ')}`
    const next = 'Add it to the installation, or take it out of the profile: a token for it is refused.'
    return failed(of, new Failure('repository-not-accessible', said), next)
  }
  const rest = unasked === 0 ? '' : `; ${unasked} more named ones were not looked up`
  return ok(of, `${many(total, 'repository')}, and those that profiles name are among them${rest}.`)
}

const quotaRow = (
  { quota }: Look,
  { subject, reserve, githubMs }: { subject: string; reserve: number; githubMs: number },
): CheckRow => {
  const of = { layer: 'quota', subject } as const
  if (!quota) return skipped(of, 'GitHub said nothing of it')
  const { limit, remaining, resetAtMs } = quota
  const minutes = Math.max(0, Math.ceil((resetAtMs - githubMs) / 60_000))
  const said = `${remaining} of ${limit} requests are left, until it is reset in ${many(minutes, 'minute')}`
  if (remaining > reserve) return ok(of, `${said}.`)
  const next = 'Find out who uses the tokens so much; what is in use is served until it ends.'
  if (remaining === 0) return failed(of, new Failure('quota', `${said}; no token can be minted before that`), next)
  return warning(of, `${said}; below ${reserve} no token is refreshed ahead.`, next)
}

const many = (count: number, noun: string): string =>
  `${count} ${count === 1 ? noun : noun.endsWith('y') ? `${noun.slice(0, -1)}ies` : `${noun}s`}`

/** The node's place in its cluster, or why there is nothing to ask. */
export const clusterRow = (asked: Asked<ClusterStatus | string>): CheckRow => {
  if (asked.failure) return failed({ layer: 'cluster', tookMs: asked.tookMs }, asked.failure)
  if (typeof asked.value === 'string') return skipped({ layer: 'cluster' }, asked.value)
  const status = asked.value
  const { cluster, node, role, leader, members, sequence, cluster_sequence: known = sequence } = status
  const of = { layer: 'cluster', subject: cluster } as const
  if (!status.joined) return skipped(of, `${node} has not joined it; \`ghconnect cluster join\` does`)
  if (!status.in_touch) {
    const since = status.last_contact_at === undefined ? 'yet' : `since ${status.last_contact_at}`
    const why = status.trouble === undefined ? '' : `: ${status.trouble}`
    return failed(of, new Failure('cluster-unreachable', `this node (${node}) has not heard of it ${since}${why}`))
  }
  if (status.trouble !== undefined)
    return failed(
      of,
      new Failure('cluster-behind', `this node (${node}) lags behind it: ${status.trouble}`),
      'Do what is said there; it is tried again by itself.',
    )
  const said = `This node (${node}) is ${role === 'leader' ? 'its leader' : `a ${role}`}, one of ${members.length}, and holds record ${sequence} of ${known}`
  if (leader === undefined) {
    const next = 'Wait a few seconds; if none comes, see `ghconnect cluster status` and the journals of its nodes.'
    return warning(of, `${said}; no node leads.`, next)
  }
  return ok(of, `${said}${role === 'leader' ? '' : `; ${leader} leads`}.`)
}
