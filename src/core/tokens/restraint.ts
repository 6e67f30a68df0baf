// Restraint: whether GitHub may be asked for a token now, by what is left of its quota and by what it said last.

import { Failure } from '../../protocol/errors.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Clock } from '../../service/clock.ts'
import type { AppLink } from '../connection/app-link.ts'

export type Restraint = {
  /** Throws `quota` where a rate limit said to wait, or no more than `reserve` requests are left to the installation. */
  assertMayMint(installation: number, reserve: number): void
  /** Whether more than half of the installation's quota is left, as far as GitHub told. */
  isPlentiful(installation: number): boolean
  /** A rate limit is the installation's: all of its scopes rest. */
  note(installation: number, failure: Failure): void
  /** Rate limits are asked for anew: an administrator wants to know. */
  forgive(): void
  rests(): readonly Rest[]
}

/** `untilMs` by the wall clock. */
export type Rest = { readonly installation: number; readonly untilMs: number }

export const createRestraint = (deps: {
  link: Pick<AppLink, 'findQuota'>
  clock: Pick<Clock, 'now' | 'monotonic'>
  githubClock: Pick<GitHubClock, 'now'>
}): Restraint => {
  const { link, clock, githubClock } = deps
  /** By the monotonic clock. */
  const resting = new Map<number, { failure: Failure; untilMs: number }>()

  return {
    assertMayMint(installation, reserve) {
      const rest = resting.get(installation)
      if (rest && rest.untilMs > clock.monotonic())
        throw exhausted(rest.failure.message, rest.untilMs - clock.monotonic())
      resting.delete(installation)
      const quota = link.findQuota(installation)
      if (!quota || quota.remaining > reserve || quota.resetAtMs <= githubClock.now()) return
      throw exhausted(
        `${quota.remaining} of ${quota.limit} requests are left until the limit is reset`,
        quota.resetAtMs - githubClock.now(),
      )
    },
    isPlentiful(installation) {
      const quota = link.findQuota(installation)
      return !quota || quota.remaining * 2 > quota.limit || quota.resetAtMs <= githubClock.now()
    },
    note(installation, failure) {
      if (failure.code !== 'quota') return
      resting.set(installation, { failure, untilMs: clock.monotonic() + backoffMs(failure, 1) })
    },
    forgive: () => resting.clear(),
    rests: () =>
      [...resting]
        .map(([installation, { untilMs }]) => ({ installation, leftMs: untilMs - clock.monotonic() }))
        .filter(({ leftMs }) => leftMs > 0)
        .map(({ installation, leftMs }) => ({ installation, untilMs: clock.now() + leftMs })),
  }
}

const exhausted = (detail: string, leftMs: number): Failure =>
  new Failure('quota', detail, { retryAfterSeconds: Math.ceil(leftMs / 1000) })

/** How long a scope rests after so many failures in a row: as GitHub says, else 1 s doubling to a minute. */
export const backoffMs = (failure: Failure, failures: number): number =>
  failure.retryAfterSeconds === undefined
    ? Math.min(60_000, 1_000 * 2 ** (failures - 1))
    : failure.retryAfterSeconds * 1_000
