// What holds mints back: few under way at once, shared among holders; GitHub's quota and its rate limits; and a wait after a failure.

import { Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { GitHubClock } from '../github/clock.ts'
import { createHolderTurns } from '../peers/holder.ts'

/** GitHub accepts 100 requests at once. */
const AT_ONCE = 64
/** Of one holder, so that three others find room whatever it does. */
const OF_ONE_AT_ONCE = 16
/** A request to GitHub and its answer keep this process busy for a millisecond: a holder begins few of them in a row. */
const COST = 16

type Line = { running: number; readonly waiting: (() => void)[] }

/** Runs `work` when it is the holder's turn: first come within a holder, one holder after another. */
export const createMintTurns = () => {
  /** Who waits longest is first. */
  const lines = new Map<string, Line>()
  let running = 0
  const turns = createHolderTurns()

  const start = (holder: string, line: Line): void => {
    line.running += 1
    running += 1
    lines.delete(holder)
    lines.set(holder, line)
  }

  const next = (): void => {
    if (running >= AT_ONCE) return
    for (const [holder, line] of lines) {
      const go = line.running < OF_ONE_AT_ONCE ? line.waiting.shift() : undefined
      if (!go) continue
      start(holder, line)
      go()
      return
    }
  }

  return async <T>(holder: string, work: () => Promise<T>): Promise<T> => {
    const line = lines.get(holder) ?? { running: 0, waiting: [] }
    if (running < AT_ONCE && line.running < OF_ONE_AT_ONCE) start(holder, line)
    else {
      lines.set(holder, line)
      await new Promise<void>(go => void line.waiting.push(go))
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    turns.take(holder, () => void work().then(resolve, reject), COST)
    try {
      return await promise
    } finally {
      line.running -= 1
      running -= 1
      if (line.running === 0 && line.waiting.length === 0) lines.delete(holder)
      next()
    }
  }
}

/** A rate limit is the installation's: none of its scopes is minted until then, by the wall clock. */
export type QuotaWait = { readonly installation: number; readonly untilMs: number }
export type MintQuota = ReturnType<typeof createMintQuota>

export const createMintQuota = (deps: {
  link: Pick<AppLink, 'findQuota'>
  clock: Pick<Clock, 'now' | 'monotonic'>
  githubClock: Pick<GitHubClock, 'now'>
}) => {
  const { link, clock, githubClock } = deps
  /** By the monotonic clock. */
  const waiting = new Map<number, { failure: Failure; untilMs: number }>()

  return {
    /** Throws `quota` where a rate limit said to wait, or no more than `reserve` requests are left to the installation. */
    assertMayMint(installation: number, reserve: number): void {
      const wait = waiting.get(installation)
      if (wait && wait.untilMs > clock.monotonic())
        throw exhausted(wait.failure.message, wait.untilMs - clock.monotonic())
      waiting.delete(installation)
      const quota = link.findQuota(installation)
      if (!quota || quota.remaining > reserve || quota.resetAtMs <= githubClock.now()) return
      throw exhausted(
        `${quota.remaining} of ${quota.limit} requests are left until the limit is reset`,
        quota.resetAtMs - githubClock.now(),
      )
    },
    /** Whether more than half of the installation's quota is left, as far as GitHub told. */
    isPlentiful(installation: number): boolean {
      const quota = link.findQuota(installation)
      return !quota || quota.remaining * 2 > quota.limit || quota.resetAtMs <= githubClock.now()
    },
    note(installation: number, failure: Failure): void {
      if (failure.code !== 'quota') return
      waiting.set(installation, { failure, untilMs: clock.monotonic() + backoffMs(failure, 1) })
    },
    /** An administrator wants to know: GitHub is asked whether its limits still hold. */
    forgive: (): void => waiting.clear(),
    waits: (): readonly QuotaWait[] =>
      [...waiting]
        .map(([installation, { untilMs }]) => ({ installation, leftMs: untilMs - clock.monotonic() }))
        .filter(({ leftMs }) => leftMs > 0)
        .map(({ installation, leftMs }) => ({ installation, untilMs: clock.now() + leftMs })),
  }
}

const exhausted = (detail: string, leftMs: number): Failure =>
  new Failure('quota', detail, { retryAfterSeconds: Math.ceil(leftMs / 1000) })

/** How long a scope waits after so many failures in a row: as GitHub says, else 1 s doubling to a minute. */
export const backoffMs = (failure: Failure, failures: number): number =>
  failure.retryAfterSeconds === undefined
    ? Math.min(60_000, 1_000 * 2 ** (failures - 1))
    : failure.retryAfterSeconds * 1_000
