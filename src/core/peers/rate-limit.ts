// Rate limits by holder: nobody keeps the others from their answers or uses up GitHub's quota alone.

import { type Allowance, fill, fullLevel, type Level, owe, take } from '../../service/limits.ts'
import { Failure } from '../../protocol/errors.ts'
import { holderOf } from './holder.ts'
import type { Peer } from '../../protocol/profile.ts'
import type { Clock } from '../../service/clock.ts'

export type RateLimit = ReturnType<typeof createRateLimit>

/** A job that asks once a second for each of 500 repositories is within it. */
export const ANSWERS: Allowance = { perSecond: 500, burst: 2_000 }
/** A connection costs as much as several requests. A machine that starts a hundred processes a second for one service does little else. */
export const CONNECTIONS: Allowance = { perSecond: 100, burst: 2_000 }
/** All units of one uid together. */
export const OF_UID = 2
/** GitHub gives an installation 5,000 requests an hour, for everything: a uid has no more for having several units. */
export const MINTS: Allowance = { perSecond: 1, burst: 600 }
/** Bytes of streaming bodies. Each piece is a buffer outside the heap: at full speed V8 collects the whole heap several times a second. */
export const BYTES: Allowance = { perSecond: 2 * 2 ** 20, burst: 64 * 2 ** 20 }
export const PROBES: Allowance = { perSecond: 20, burst: 100 }
/** Others ask as long as the last of them did so within this time. */
const CONTENDED_MS = 1_000
const MAX_ACCOUNTS = 4_096
/** A refused process is looked at again after this time; until then its further connections are refused by its pid alone. */
const REFUSED_MS = 250
const MAX_REFUSED = 1_024

const LEVELS = ['answers', 'connections', 'mints', 'bytes'] as const
type Account = Readonly<Record<(typeof LEVELS)[number], Level>> & { readonly name: string; dropped: boolean }
/** Its own, and that of its uid where units of it share one. */
type Accounts = { readonly own: Account; readonly ofUid: Account | undefined }

export const createRateLimit = ({ clock }: { clock: Pick<Clock, 'monotonic'> }) => {
  const accounts = new Map<string, Account>()
  /** A connection's peer is one object: its accounts are looked up once. */
  const known = new WeakMap<Peer, Accounts>()
  /** By what may be had at once: of a holder, and of a uid. */
  const refusedConnections = new Map<number, Failure>()
  const refusedProcesses = new Map<number, { refused: Failure; uid: number; atMs: number }>()
  let refusedAtMs = Number.NEGATIVE_INFINITY
  const probes = fullLevel(PROBES, clock.monotonic())
  let latest: { name: string; atMs: number } | undefined
  /** When another holder than `latest` asked last. */
  let otherAtMs = Number.NEGATIVE_INFINITY

  const accountsOf = (peer: Peer): Accounts => {
    const found = known.get(peer)
    if (found && !found.own.dropped && !found.ofUid?.dropped) return found
    const { name, uid } = holderOf(peer)
    const ofUid = uid === undefined ? undefined : accountOf(`all of uid ${uid}`, OF_UID)
    const made = { own: accountOf(name, 1, ofUid), ofUid }
    known.set(peer, made)
    return made
  }
  const ofNobody = (): Accounts => ({ own: accountOf('unknown', 1), ofUid: undefined })
  const accountOf = (name: string, shares: number, kept?: Account): Account => {
    const found = accounts.get(name)
    if (found) return found
    const nowMs = clock.monotonic()
    if (accounts.size >= MAX_ACCOUNTS) {
      // A holder that has its share back loses nothing by being forgotten.
      const dropped = fullestOf(accounts.values(), kept, nowMs)
      if (dropped) {
        dropped.dropped = true
        accounts.delete(dropped.name)
      }
    }
    const account = {
      name,
      answers: fullLevel(times(shares, ANSWERS), nowMs),
      connections: fullLevel(times(shares, CONNECTIONS), nowMs),
      mints: fullLevel(MINTS, nowMs),
      bytes: fullLevel(times(shares, BYTES), nowMs),
      dropped: false,
    }
    accounts.set(name, account)
    return account
  }
  const isContended = (name: string, nowMs: number): boolean => {
    if (latest?.name !== name) {
      otherAtMs = latest?.atMs ?? otherAtMs
      latest = { name, atMs: nowMs }
    } else latest.atMs = nowMs
    return nowMs - otherAtMs < CONTENDED_MS
  }

  /** The level that has none left while others ask, too: nobody is held to its share of what no other wants. */
  const takeShared = ({ own, ofUid }: Accounts, what: 'answers' | 'connections', cost?: number): Level | undefined => {
    const nowMs = clock.monotonic()
    const contended = isContended(own.name, nowMs)
    const empty = take(own[what], ofUid?.[what], nowMs, cost)
    return contended ? empty : undefined
  }

  const remember = ({ pid, uid }: Peer, refused: Failure): void => {
    refusedAtMs = clock.monotonic()
    refusedProcesses.delete(pid)
    const [oldest] = refusedProcesses.size < MAX_REFUSED ? [] : refusedProcesses.keys()
    if (oldest !== undefined) refusedProcesses.delete(oldest)
    refusedProcesses.set(pid, { refused, uid, atMs: refusedAtMs })
  }

  return {
    /**
     * For each request on token.sock. Throws `rate-limited` where the holder has used up its share while others ask as well: it may
     * use any capacity that others leave idle. `cost`: 1 for a token in the cache.
     */
    takeAnswer(peer: Peer, cost?: number): void {
      const empty = takeShared(accountsOf(peer), 'answers', cost)
      if (empty) throw refusal('requests', empty)
    },
    /**
     * For each connection to token.sock, like `takeAnswer`: `rate-limited` where it is refused, made once and not for each. Processes that
     * ended before they were attested have a share together.
     */
    takeConnection(peer: Peer | undefined): Failure | undefined {
      const empty = takeShared(peer ? accountsOf(peer) : ofNobody(), 'connections')
      if (!empty) return undefined
      const { burst } = empty.allowance
      const refused = refusedConnections.get(burst) ?? refusal('connections', empty)
      refusedConnections.set(burst, refused)
      // 0: a process of another pid namespace, and one of many. Where the uid's share is used up, its other units may have one of their own.
      if (peer && peer.pid > 0 && empty === accountsOf(peer).own.connections) remember(peer, refused)
      return refused
    },
    /**
     * Where a connection of this process was refused a moment ago, and its holder's share is used up. The pid may be that of another process
     * of this uid since: it is refused, too, for the rest of that moment. `of` is called only where somebody was refused.
     */
    findRefusal(of: () => Pick<Peer, 'pid' | 'uid'>): Failure | undefined {
      const nowMs = clock.monotonic()
      if (nowMs - refusedAtMs >= REFUSED_MS) return undefined
      const { pid, uid } = of()
      const found = refusedProcesses.get(pid)
      return found?.uid === uid && nowMs - found.atMs < REFUSED_MS ? found.refused : undefined
    },
    /** For each request that GitHub may have to be asked for. Throws `rate-limited`. */
    takeMint(peer: Peer): void {
      const { own, ofUid } = accountsOf(peer)
      const empty = take(own.mints, ofUid?.mints, clock.monotonic())
      if (empty) throw refusal('requests for new tokens', empty)
    },
    /** For each piece of a gateway body, in both directions. Returns the milliseconds to wait before reading the next: 0 while no other holder asks. */
    takeBytes(peer: Peer, bytes: number): number {
      const { own, ofUid } = accountsOf(peer)
      const nowMs = clock.monotonic()
      if (!isContended(own.name, nowMs)) return 0
      return Math.max(owe(own.bytes, nowMs, bytes), ofUid ? owe(ofUid.bytes, nowMs, bytes) : 0)
    },
    /** For a look at the daemon's health by the service manager. False where this share, which all of them have together, is used up. */
    takeProbe: (): boolean => take(probes, undefined, clock.monotonic()) === undefined,
  }
}

/** The one that has used the least of what it may ask for; the oldest of several. */
const fullestOf = (accounts: Iterable<Account>, kept: Account | undefined, nowMs: number): Account | undefined => {
  let fullest: Account | undefined
  let least = Number.POSITIVE_INFINITY
  for (const account of accounts) {
    if (account === kept) continue
    const used = Math.max(...LEVELS.map(level => usedOf(account[level], nowMs)))
    if (used >= least) continue
    fullest = account
    least = used
    if (used === 0) break
  }
  return fullest
}

const times = (shares: number, { perSecond, burst }: Allowance): Allowance => ({
  perSecond: shares * perSecond,
  burst: shares * burst,
})

const usedOf = (level: Level, nowMs: number): number => {
  fill(level, nowMs)
  return 1 - level.left / level.allowance.burst
}

const refusal = (what: string, { left, allowance: { perSecond, burst } }: Level): Failure =>
  new Failure('rate-limited', `more than ${burst} ${what} at once, or ${perSecond} a second, of this user and unit`, {
    retryAfterSeconds: Math.max(1, Math.ceil((1 - left) / perSecond)),
  })
