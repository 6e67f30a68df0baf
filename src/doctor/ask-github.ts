// What the doctor asks of GitHub as the App: keys, installations, and what a token of each shows; side by side.

import { fails, OF_GITHUB, skipAll } from './check-rules.ts'
import {
  judgeInstallations,
  judgeKeys,
  judgeLook,
  type KeyProof,
  type Look,
  OF_TOKEN,
  permissionRow,
} from './check-github.ts'
import type { App, Connection, Installation } from '../protocol/connection.ts'
import type { Profile } from '../protocol/profile.ts'
import type { CheckRow } from '../protocol/wire-check.ts'
import { within, type Asked } from '../service/within.ts'
import type { Vault } from './check-local.ts'
import type { Failure } from '../protocol/errors.ts'

export type Patient = {
  connection(): Connection
  /** Why no call goes out as the App, though there is one; undefined: they do. */
  whyNotCalling(): Failure | undefined
  /** By GitHub's clock, as well as it is known. */
  githubNowMs(): number
  vault(): Vault
  /** Throws what is wrong with the store's pages, or why the audit log cannot be written. */
  checkStore(): void
  /** Until when, by the wall clock, GitHub wants no calls, as a rate limit said: not the doctor's either. */
  findRest(): number | undefined
  /** Each key on its own. */
  proveKeys(): { readonly fingerprint: string; readonly proof: Promise<App> }[]
  listInstallations(): Promise<readonly Installation[]>
  /** Throws what a token of the installation meets. */
  look(of: { installation: Installation; profiles: readonly Profile[] }): Promise<Look>
}

export type GitHubDeps = {
  readonly patient: Patient
  readonly profiles: readonly Profile[]
  readonly clock: Parameters<typeof within>[1]['clock']
  /** By the monotonic clock. */
  readonly untilMs: number
  /** As the row of the API's host names it. */
  readonly host: string
}

export type Route = { readonly proxy: string | undefined; readonly from: string | undefined }

/** Asked while the way is looked at; judged once that is known to be open. */
export type Questions = {
  judge(route: Route, tell: (rows: readonly CheckRow[]) => void): Promise<void>
}

/** Refreshing ahead leaves this much to those who wait for an answer. */
const RESERVE = 100

export const askGitHub = (deps: GitHubDeps): Questions => {
  const { patient } = deps
  const keys = askKeys(deps)
  const installations = within(patient.listInstallations(), { ...deps, what: 'GitHub' })
  return {
    async judge(route, tell) {
      const judged = judgeKeys(await keys, deps.host)
      tell(judged.rows)
      const { app } = judged
      if (!app) return tell(skipAll(beyond(judged.rows), judged.closedBy ?? fails('app')))
      await judgeAsApp(deps, { app, asked: await installations, route, tell })
    },
  }
}

/** A clock that is far off is refused once: the answer teaches GitHub's, and the second question goes by it. */
const askKeys = async (deps: GitHubDeps): Promise<KeyProof[]> => {
  const ask = (): Promise<KeyProof[]> =>
    Promise.all(
      deps.patient.proveKeys().map(async ({ fingerprint, proof }) => ({
        fingerprint,
        asked: await within(proof, { ...deps, what: 'GitHub' }),
      })),
    )
  const first = await ask()
  return first.some(({ asked }) => asked.failure?.code === 'clock-skew') ? ask() : first
}

const judgeAsApp = async (
  deps: GitHubDeps,
  from: {
    app: App
    asked: Asked<readonly Installation[]>
    route: Route
    tell: (rows: readonly CheckRow[]) => void
  },
): Promise<void> => {
  const { patient, profiles, host } = deps
  const { app, route, tell } = from
  const isAwaited = patient.connection().kind === 'awaiting-installation'
  const again = from.asked.failure?.code === 'clock-skew'
  const asked = again ? await within(patient.listInstallations(), { ...deps, what: 'GitHub' }) : from.asked
  const { rows, live, closedBy } = judgeInstallations(asked, { app, profiles, host, isAwaited })
  tell(rows)
  if (closedBy !== undefined) return tell(skipAll(beyond(rows, 'key', 'app'), closedBy))
  const found = asked.failure ? [] : asked.value
  for (const { account, suspendedAtMs } of found) {
    if (suspendedAtMs !== undefined) tell(skipAll(['permissions', ...OF_TOKEN], SUSPENDED, account.login))
  }
  await Promise.all(
    live.map(async concerned => {
      tell([permissionRow(concerned, app, asked.tookMs)])
      const look: Asked<Look> = await within(patient.look(concerned), { ...deps, what: 'GitHub' })
      tell(judgeLook(concerned, look, { ...route, reserve: RESERVE, githubMs: patient.githubNowMs(), host }))
    }),
  )
}

const SUSPENDED = 'the installation is suspended'

/** The layers that have no row yet. */
const beyond = (rows: readonly CheckRow[], ...others: CheckRow['layer'][]): CheckRow['layer'][] =>
  OF_GITHUB.filter(layer => !others.includes(layer) && !rows.some(row => row.layer === layer))
