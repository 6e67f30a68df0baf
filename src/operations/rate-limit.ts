// Rate limit by peer: no process, and no unit, keeps the others from their answers or uses up GitHub's quota for itself.

import { Failure } from '../domain/errors.ts'
import type { Peer } from '../domain/policy.ts'
import type { Clock } from '../platform/clock.ts'

export type RateLimit = {
  /**
   * For each request on token.sock. Throws `rate-limited` where the peer has used up its share while others ask as well: what
   * nobody else wants it may have.
   */
  takeAnswer(peer: Peer): void
  /** For each request that GitHub may have to be asked for. Throws `rate-limited`. */
  takeMint(peer: Peer): void
}

type Allowance = { readonly perSecond: number; readonly burst: number }

/** A job that asks once a second for each of 500 repositories is within it. */
export const ANSWERS: Allowance = { perSecond: 500, burst: 2_000 }
/** GitHub gives an installation 5,000 requests an hour, for everything. */
export const MINTS: Allowance = { perSecond: 1, burst: 600 }
/** Others ask as long as the last of them did so within this time. */
const CONTENDED_MS = 1_000
const MAX_PEERS = 4_096

type Bucket = { readonly key: string; readonly answers: Level; readonly mints: Level; dropped: boolean }
type Level = { left: number; atMs: number }

export const createRateLimit = (deps: { clock: Pick<Clock, 'monotonic'> }): RateLimit => {
  const { clock } = deps
  const buckets = new Map<string, Bucket>()
  /** A connection's peer is one object: its key is put together once. */
  const known = new WeakMap<Peer, Bucket>()
  let latest: { key: string; atMs: number } | undefined
  /** When somebody else than `latest` asked last. */
  let otherAtMs = Number.NEGATIVE_INFINITY

  const bucketOf = (peer: Peer): Bucket => {
    const found = known.get(peer)
    if (found && !found.dropped) return found
    const key = `${peer.uid}\n${peer.unit ?? ''}`
    const bucket = buckets.get(key) ?? open(key)
    known.set(peer, bucket)
    return bucket
  }
  const open = (key: string): Bucket => {
    const nowMs = clock.monotonic()
    if (buckets.size >= MAX_PEERS) {
      // Whoever asked longest ago has most of his share back.
      const [oldest] = buckets.values()
      if (oldest) {
        oldest.dropped = true
        buckets.delete(oldest.key)
      }
    }
    const bucket = {
      key,
      answers: { left: ANSWERS.burst, atMs: nowMs },
      mints: { left: MINTS.burst, atMs: nowMs },
      dropped: false,
    }
    buckets.set(key, bucket)
    return bucket
  }
  const isContended = (key: string, nowMs: number): boolean => {
    if (latest?.key !== key) {
      otherAtMs = latest?.atMs ?? otherAtMs
      latest = { key, atMs: nowMs }
    } else latest.atMs = nowMs
    return nowMs - otherAtMs < CONTENDED_MS
  }

  return {
    takeAnswer(peer) {
      const { key, answers } = bucketOf(peer)
      const nowMs = clock.monotonic()
      const contended = isContended(key, nowMs)
      if (!take(answers, ANSWERS, nowMs) && contended) throw refusal('requests', answers, ANSWERS)
    },
    takeMint(peer) {
      const { mints } = bucketOf(peer)
      if (!take(mints, MINTS, clock.monotonic())) throw refusal('requests for new tokens', mints, MINTS)
    },
  }
}

const take = (level: Level, { perSecond, burst }: Allowance, nowMs: number): boolean => {
  level.left = Math.min(burst, level.left + ((nowMs - level.atMs) / 1000) * perSecond)
  level.atMs = nowMs
  if (level.left < 1) return false
  level.left -= 1
  return true
}

const refusal = (what: string, { left }: Level, { perSecond, burst }: Allowance): Failure =>
  new Failure('rate-limited', `more than ${burst} ${what} at once, or ${perSecond} a second, of this user and unit`, {
    retryAfterSeconds: Math.max(1, Math.ceil((1 - left) / perSecond)),
  })
