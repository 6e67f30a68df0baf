// Judges what GitHub said to the App: rows for key, App, installations, permissions, repositories and quota.

import { fails, failed, type Layer, layerOf, OF_GITHUB, ok, skipAll, skipped, warning } from './check-rules.ts'
import type { Asked } from '../service/within.ts'
import { type App, appSettingsUrl, type Installation } from '../protocol/connection.ts'
import { Failure } from '../protocol/errors.ts'
import { findInstallation, type Profile } from '../protocol/profile.ts'
import { describePermissions, type Permissions, permissionsCover } from '../protocol/scope.ts'
import { isoTime } from '../protocol/wire.ts'
import type { CheckRow } from '../protocol/wire-check.ts'

export type KeyProof = { readonly fingerprint: string; readonly asked: Asked<App> }

/** What a token of the installation showed. `remaining` and its like: where GitHub's headers said so. */
export type Look = {
  readonly total: number
  /** Named by profiles, and unknown to GitHub. */
  readonly missing: readonly string[]
  /** Named by profiles beyond what was looked up. */
  readonly unasked: number
  readonly quota?: { readonly limit: number; readonly remaining: number; readonly resetAtMs: number }
}

type Concerned = { readonly installation: Installation; readonly profiles: readonly Profile[] }

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
  const { failure, tookMs } = first.asked
  const layer = layerOf(failure.code)
  const closedBy = fails(layer)
  if (layer === 'key') {
    const rows = proofs.flatMap(({ fingerprint, asked }) =>
      asked.failure ? [failed({ layer, subject: fingerprint, tookMs: asked.tookMs }, asked.failure)] : [],
    )
    return { rows: [...rows, skipped({ layer: 'app' }, closedBy)], closedBy }
  }
  const row = failed({ layer, ...(layer === 'host' && { subject: host }), tookMs }, failure)
  const rest = (['key', 'app'] as const).filter(other => other !== layer)
  return { rows: [row, ...skipAll(rest, closedBy)], closedBy }
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
  const { app, profiles, host } = context
  if (asked.failure) {
    const layer = layerOf(asked.failure.code)
    const row = failed({ layer, ...(layer === 'host' && { subject: host }), tookMs: asked.tookMs }, asked.failure)
    const rows = [row, ...(layer === 'installation' ? [] : [skipped({ layer: 'installation' }, fails(layer))])]
    return { rows, live: [], closedBy: fails(layer) }
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
    const layer = layerOf(asked.failure.code)
    const next = layer === 'egress' ? egressAdvice(subject, context.proxy) : undefined
    const of = { layer, subject: layer === 'host' ? context.host : subject, tookMs }
    const row = failed(of, asked.failure, next)
    return [
      row,
      ...skipAll(
        OF_TOKEN.filter(other => other !== layer),
        fails(layer),
        subject,
      ),
    ]
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
