// The doctor: all layers between this machine and a token examined side by side, a row each, within five seconds whatever hangs.

import { asFailure, Failure } from '../protocol/errors.ts'
import { failureOfState } from '../protocol/connection.ts'
import { isoTime } from '../protocol/wire.ts'
import { type CheckReport, type CheckRow, orderRows } from '../protocol/wire-check.ts'
import { type Asked, within } from '../service/limits.ts'
import { failed, fails, type Layer, OF_GITHUB, OF_NETWORK, skipAll, verdictOf } from './findings.ts'
import {
  clockRow,
  clusterRow,
  judgeInstallations,
  judgeKeys,
  judgeLook,
  judgeMachine,
  judgeWay,
  OF_TOKEN,
  permissionRow,
} from './judge.ts'
import { type AppProbe, hostsToAllow, type KeyProof, type Probe, type Trip } from './probe.ts'

/** Of the way out, and of everything: below the five seconds that a person is promised. */
const WAY_MS = 4_000
const ALL_MS = 4_500
/** Refreshing ahead leaves this much to those who wait for an answer. */
const RESERVE = 100

const QUIET_STATES: ReadonlySet<string> = new Set(['disconnected', 'disconnecting', 'daemon-absent'])

type Tell = (rows: readonly CheckRow[]) => void

export type Doctor = ReturnType<typeof createDoctor>

export const createDoctor = (probe: Probe) => {
  /** Who asks while one is under way is told of that one: a page and a terminal that watch cost no more than either. */
  let current: { rows: CheckRow[]; listeners: Set<(row: CheckRow) => void>; report: Promise<CheckReport> } | undefined

  const begin = (): NonNullable<typeof current> => {
    const rows: CheckRow[] = []
    const listeners = new Set<(row: CheckRow) => void>()
    const tell = (more: readonly CheckRow[]): void => {
      for (const row of more) {
        rows.push(row)
        for (const listener of listeners) listener(row)
      }
    }
    const report = examineAll(probe, { rows, tell }).finally(() => (current = undefined))
    return { rows, listeners, report }
  }

  return {
    /** `tell` is called with each row as it is known; a later row of the same layer and subject takes the place of the earlier one. */
    check(tell?: (row: CheckRow) => void): Promise<CheckReport> {
      current ??= begin()
      const { rows, listeners, report } = current
      if (!tell) return report
      for (const row of rows) tell(row)
      listeners.add(tell)
      return report.finally(() => listeners.delete(tell))
    },
  }
}

/** `rows`: all that was told. */
const examineAll = async (
  probe: Probe,
  { rows, tell }: { rows: readonly CheckRow[]; tell: Tell },
): Promise<CheckReport> => {
  const { clock } = probe
  const checkedAt = isoTime(clock.now())
  const beganMs = clock.monotonic()
  const untilMs = beganMs + ALL_MS
  // The look at names and hosts begins first: what is local holds the thread for a moment.
  await Promise.all([
    examineNetwork(probe, untilMs, tell),
    (async () => tell(examineMachine(probe)))(),
    within(probe.cluster(), { clock, untilMs, what: 'the cluster' }).then(asked => tell([clusterRow(asked)])),
  ])
  const standing = probe.standing()
  // During and after a disable nothing is wrong; in any other state without tokens something is, even if no layer shows it. An absent daemon
  // is the verdict of the whole report, and of no layer.
  const failure = QUIET_STATES.has(standing.state) ? undefined : failureOfState(standing)
  if (failure && verdictOf(rows) !== 'failed') tell([failed({ layer: 'app' }, failure, standing.next)])
  const ordered = orderRows(rows)
  return {
    verdict: verdictOf(ordered),
    state: standing.state,
    checked_at: checkedAt,
    took_ms: Math.round(clock.monotonic() - beganMs),
    rows: ordered,
  }
}

/** What is seen without leaving the machine. */
export const examineMachine = (
  probe: Pick<Probe, 'profiles' | 'configuration' | 'examineStore' | 'findStore'> & {
    readonly clock: Pick<Probe['clock'], 'now' | 'monotonic'>
  },
): CheckRow[] => {
  const { clock } = probe
  const beganMs = clock.monotonic()
  const tookMs = (): number => clock.monotonic() - beganMs
  let asked: Asked<string>
  try {
    const value = probe.examineStore()
    asked = { value, tookMs: tookMs() }
  } catch (error) {
    asked = { failure: asFailure(error), tookMs: tookMs() }
  }
  const configuration = { ...probe.configuration(), profiles: probe.profiles().length }
  return judgeMachine(configuration, asked, { facts: probe.findStore(), nowMs: clock.now() })
}

const examineNetwork = async (probe: Probe, untilMs: number, tell: Tell): Promise<void> => {
  const quiet = probe.whyNotCalling()
  if (quiet !== undefined) return tell(skipAll([...OF_NETWORK, ...OF_GITHUB], quiet))
  const { clock } = probe
  const hosts = hostsToAllow(probe.addresses())
  const [api] = hosts
  const app = probe.app()
  // GitHub is asked as soon as there is an address to go to: not before, as a look-up that hangs would hold more threads with each question.
  let questions: ReturnType<typeof askGitHub> | undefined
  const ask = (): void => {
    if (typeof app === 'string' || app.findRest() !== undefined) return
    questions ??= askGitHub(app, { probe, untilMs, host: api?.host ?? '' })
  }
  const trips = await Promise.all(
    hosts.map(async (to): Promise<Trip> => {
      const { host, url, method } = to
      const onLookUp = to === api ? ask : () => {}
      const passage = probe.examine({ url, method, deadlineMs: WAY_MS, userAgent: probe.userAgent, onLookUp })
      const asked = await within(passage, { clock, untilMs, what: host })
      if (!asked.failure) return { to, passage: asked.value }
      const failure = new Failure('timeout', asked.failure.message)
      const { tookMs } = asked
      return { to, passage: { host, isTls: true, proxy: undefined, tookMs, failure: { stage: 'host', failure } } }
    }),
  )
  const way = judgeWay(trips, clock.now())
  tell(way.rows)
  const passage = trips[0]?.passage
  tell([clockRow(passage?.answer, way.closedBy ?? 'GitHub told no time')])
  if (way.closedBy !== undefined) return tell(skipAll(OF_GITHUB, way.closedBy))
  if (typeof app === 'string') return tell(skipAll(OF_GITHUB, app))
  const restUntilMs = app.findRest()
  if (restUntilMs !== undefined) return tell(restRows(restUntilMs))
  if (!questions) return tell(skipAll(OF_GITHUB, fails('host')))
  await questions({ proxy: passage?.proxy, from: passage?.connect?.from }, tell)
}

const restRows = (untilMs: number): CheckRow[] => {
  const said = `GitHub wants no calls of the App until ${isoTime(untilMs)}, as its rate limit said`
  const next = 'It goes on by itself then; `ghconnect refresh` asks now.'
  const others = OF_GITHUB.filter(layer => layer !== 'quota')
  return [failed({ layer: 'quota' }, new Failure('quota', said), next), ...skipAll(others, fails('quota'))]
}

/** As the App, while the way is examined: keys, installations, and what a token of each shows. What is returned judges them once the way is known to be open. */
const askGitHub = (app: AppProbe, { probe, untilMs, host }: { probe: Probe; untilMs: number; host: string }) => {
  const ask = <T>(question: Promise<T>): Promise<Asked<T>> =>
    within(question, { clock: probe.clock, untilMs, what: 'GitHub' })
  const proveKeys = async (): Promise<KeyProof[]> =>
    Promise.all(app.proveKeys().map(async ({ fingerprint, proof }) => ({ fingerprint, asked: await ask(proof) })))
  const isSkewed = ({ failure }: Asked<unknown>): boolean => failure?.code === 'clock-skew'
  // A clock that is far off is refused once: the answer teaches GitHub's, and the second question goes by it.
  const keys = proveKeys().then(proofs => (proofs.some(({ asked }) => isSkewed(asked)) ? proveKeys() : proofs))
  // Where the way is shut nobody waits for them.
  keys.catch(() => undefined)
  const installations = ask(app.listInstallations())

  return async (route: { proxy: string | undefined; from: string | undefined }, tell: Tell): Promise<void> => {
    const proven = judgeKeys(await keys, host)
    tell(proven.rows)
    if (!proven.app) return tell(skipAll(beyond(proven.rows), proven.closedBy ?? fails('app')))
    const listed = await installations
    const asked = isSkewed(listed) ? await ask(app.listInstallations()) : listed
    const context = { app: proven.app, profiles: probe.profiles(), host, isAwaited: app.isAwaited() }
    const { rows, live, closedBy } = judgeInstallations(asked, context)
    tell(rows)
    if (closedBy !== undefined) return tell(skipAll(beyond(rows, 'key', 'app'), closedBy))
    for (const { account, suspendedAtMs } of asked.failure ? [] : asked.value) {
      if (suspendedAtMs !== undefined)
        tell(skipAll(['permissions', ...OF_TOKEN], 'the installation is suspended', account.login))
    }
    await Promise.all(
      live.map(async concerned => {
        tell([permissionRow(concerned, context.app, asked.tookMs)])
        const look = await ask(app.look(concerned))
        tell(judgeLook(concerned, look, { ...route, reserve: RESERVE, githubMs: app.githubNowMs(), host }))
      }),
    )
  }
}

/** The layers that have no row yet. */
const beyond = (rows: readonly CheckRow[], ...others: Layer[]): Layer[] =>
  OF_GITHUB.filter(layer => !others.includes(layer) && !rows.some(row => row.layer === layer))
