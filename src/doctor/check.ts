// The doctor: all layers between this machine and a token looked at side by side, a row each, within five seconds whatever hangs.

import { failed, fails, OF_GITHUB, OF_NETWORK, skipAll, skipped, verdictOf } from './check-rules.ts'
import { orderRows } from '../protocol/wire-check.ts'
import { clockRow } from './check-clock.ts'
import { hostsToAllow } from './check-hosts.ts'
import { judgeWay, type Trip } from './check-way.ts'
import { Failure } from '../protocol/errors.ts'
import { failureOfState } from '../protocol/state-failure.ts'
import type { Profile } from '../protocol/profile.ts'
import { isoTime } from '../protocol/wire.ts'
import type { CheckReport, CheckRow } from '../protocol/wire-check.ts'
import type { Clock } from '../service/clock.ts'
import type { Outbound } from '../core/outbound/outbound.ts'
import { askGitHub, type Questions } from './ask-github.ts'
import { checkLocally, type LocalDeps } from './check-local.ts'
import type { Patient } from './ask-github.ts'
import { within } from '../service/within.ts'

export type CheckDeps = Omit<LocalDeps, 'nowMs' | 'monotonic'> & {
  readonly clock: Pick<Clock, 'now' | 'monotonic' | 'sleep'>
  standing(): { readonly state: string; readonly meaning: string; readonly next: string }
  /** Why no call may leave this machine, where none may. */
  silence(): string | undefined
  readonly examine: Outbound['examine']
  addresses(): { readonly url: string; readonly apiUrl: string }
  profiles(): readonly Profile[]
  readonly userAgent: string
  /** Or why nothing can be asked as the App. */
  patient(): Patient | string
  /** Where it is a node of a cluster. Has a deadline of its own below the doctor's. */
  readonly cluster?: () => Promise<CheckRow>
}

export type Doctor = {
  /** `tell` is called with each row as it is known; a later row of the same layer and subject takes the place of the earlier one. */
  check(tell?: (row: CheckRow) => void): Promise<CheckReport>
}

/** Of the way out, and of everything: below the five seconds that a person is promised. */
const WAY_MS = 4_000
const ALL_MS = 4_500

export const createDoctor = (deps: CheckDeps): Doctor => {
  /** Who asks while one is under way is told of that one: a page and a terminal that watch cost no more than either. */
  let current: { rows: CheckRow[]; listeners: Set<(row: CheckRow) => void>; report: Promise<CheckReport> } | undefined

  const begin = (): NonNullable<typeof current> => {
    const rows: CheckRow[] = []
    const listeners = new Set<(row: CheckRow) => void>()
    const tell = (row: CheckRow): void => {
      rows.push(row)
      for (const listener of listeners) listener(row)
    }
    const report = examineAll(deps, tell).finally(() => (current = undefined))
    return { rows, listeners, report }
  }

  return {
    check(tell) {
      current ??= begin()
      const { rows, listeners, report } = current
      if (!tell) return report
      for (const row of rows) tell(row)
      listeners.add(tell)
      return report.finally(() => listeners.delete(tell))
    },
  }
}

const examineAll = async (deps: CheckDeps, tell: (row: CheckRow) => void): Promise<CheckReport> => {
  const { clock } = deps
  const checkedAt = isoTime(clock.now())
  const beganMs = clock.monotonic()
  const rows: CheckRow[] = []
  const tellAll = (more: readonly CheckRow[]): void => {
    for (const row of more) {
      rows.push(row)
      tell(row)
    }
  }
  const examineLocal = async (): Promise<void> =>
    tellAll(checkLocally({ ...deps, nowMs: () => clock.now(), monotonic: () => clock.monotonic() }))
  // The look at names and hosts begins first: what is local holds the thread for a moment.
  await Promise.all([
    examineNetwork(deps, { beganMs, tell: tellAll }),
    examineLocal(),
    examineCluster(deps, beganMs).then(row => tellAll([row])),
  ])
  const standing = deps.standing()
  // During and after a disable nothing is wrong; in any other state without tokens something is, even if no layer shows it.
  const failure = /^disconnect(ed|ing)$/.test(standing.state) ? undefined : failureOfState(standing)
  if (failure && verdictOf(rows) !== 'failed') tellAll([failed({ layer: 'app' }, failure, standing.next)])
  const ordered = orderRows(rows)
  return {
    verdict: verdictOf(ordered),
    state: standing.state,
    checked_at: checkedAt,
    took_ms: Math.round(clock.monotonic() - beganMs),
    rows: ordered,
  }
}

const restRows = (untilMs: number): CheckRow[] => {
  const failure = new Failure(
    'quota',
    `GitHub wants no calls of the App until ${isoTime(untilMs)}, as its rate limit said`,
  )
  const next = 'It goes on by itself then; `ghconnect refresh` asks now.'
  return [
    failed({ layer: 'quota' }, failure, next),
    ...skipAll(
      OF_GITHUB.filter(layer => layer !== 'quota'),
      fails('quota'),
    ),
  ]
}

const examineCluster = async (deps: CheckDeps, beganMs: number): Promise<CheckRow> => {
  const of = { layer: 'cluster' } as const
  if (!deps.cluster) return skipped(of, 'this is a single node')
  const asked = await within(deps.cluster(), { clock: deps.clock, untilMs: beganMs + ALL_MS, what: 'the cluster' })
  if (!asked.failure) return asked.value
  return failed({ ...of, tookMs: asked.tookMs }, asked.failure)
}

const examineNetwork = async (
  deps: CheckDeps,
  { beganMs, tell }: { beganMs: number; tell: (rows: readonly CheckRow[]) => void },
): Promise<void> => {
  const quiet = deps.silence()
  if (quiet !== undefined) return tell(skipAll([...OF_NETWORK, ...OF_GITHUB], quiet))
  const { clock } = deps
  const untilMs = beganMs + ALL_MS
  const hosts = hostsToAllow(deps.addresses())
  const [api] = hosts
  const host = api?.host ?? ''
  const patient = deps.patient()
  // GitHub is asked as soon as there is an address to go to: not before, as a look-up that hangs would hold more threads with each question.
  let questions: Questions | undefined
  const ask = (): void => {
    if (typeof patient === 'string' || patient.findRest() !== undefined) return
    questions ??= askGitHub({ patient, profiles: deps.profiles(), clock, untilMs, host })
  }
  const trips = await Promise.all(
    hosts.map(async (to): Promise<Trip> => {
      const { url, method } = to
      const onLookUp = to === api ? ask : () => {}
      const passage = deps.examine({ url, method, deadlineMs: WAY_MS, userAgent: deps.userAgent, onLookUp })
      const asked = await within(passage, { clock, untilMs, what: to.host })
      if (!asked.failure) return { to, passage: asked.value }
      const failure = new Failure('timeout', asked.failure.message)
      return {
        to,
        passage: {
          host: to.host,
          isTls: true,
          proxy: undefined,
          tookMs: asked.tookMs,
          failure: { stage: 'host', failure },
        },
      }
    }),
  )
  const way = judgeWay(trips, clock.now())
  tell(way.rows)
  const [first] = trips
  tell([clockRow(first?.passage.answer, way.closedBy ?? 'GitHub told no time')])
  const why = way.closedBy ?? (typeof patient === 'string' ? patient : undefined)
  if (why !== undefined || typeof patient === 'string') return tell(skipAll(OF_GITHUB, why ?? fails('host')))
  const restUntilMs = patient.findRest()
  if (restUntilMs !== undefined) return tell(restRows(restUntilMs))
  if (!questions) return tell(skipAll(OF_GITHUB, fails('host')))
  await questions.judge({ proxy: first?.passage.proxy, from: first?.passage.connect?.from }, tell)
}
