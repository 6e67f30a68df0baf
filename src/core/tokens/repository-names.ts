// The repositories of an installation by id and name, as GitHub lists them: for requests by id, and to name the one that a refusal means.

import type { Installation } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE, type Peer } from '../../protocol/profile.ts'
import { foldName, type Scope } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import { backoffMs } from './mint-limits.ts'
import type { Tokens } from './tokens.ts'

type Listing = {
  readonly names: Promise<ReadonlyMap<number, string>>
  size: number
  /** By the monotonic clock. */
  untilMs: number
  failures: number
}

/** Who may ask for tokens is not to make calls to GitHub at will: a list of one page is asked for once a minute, a longer one less often. */
const LISTED_MS = 60_000
const PAGE_MS = 6_000
const PAGE = 100
/** Of all installations; the newest list stays, however long. */
const MOST_NAMES = 100_000
/** Of ids that were looked up one by one; a few hundred bytes each. */
const MOST_FOUND = 10_000
/** A refusal is for a person. */
const MOST_TOLD = 20

export const createRepositoryNames = (deps: {
  tokens: Pick<Tokens, 'obtain'>
  link: Pick<AppLink, 'listRepositories' | 'findRepository'>
  rateLimit: Pick<RateLimit, 'takeMint'>
  clock: Pick<Clock, 'monotonic'>
}) => {
  const { tokens, link, clock } = deps
  const listings = new Map<number, Listing>()
  const found = new Map<string, { name: Promise<string | undefined>; atMs: number }>()

  const readToken = async (installation: number): Promise<Secret> => {
    const scope = { installation, permissions: { metadata: 'read' } } as const
    return (await tokens.obtain({ profile: ADMIN_PROFILE, scope })).token
  }

  const fetchNames = async (installation: number): Promise<ReadonlyMap<number, string>> => {
    const { items } = await link.listRepositories(await readToken(installation))
    return new Map(items.map(({ id, name }) => [id, name]))
  }

  /** A token shows what anybody may read, too: a repository of another account's is none of this installation's. */
  const fetchName = async ({ id: installation, account }: Installation, id: number): Promise<string | undefined> => {
    const there = await link.findRepository(await readToken(installation), { installation, id })
    return there && foldName(there.owner) === foldName(account.login) ? there.name : undefined
  }

  const begin = (installation: number, failures: number): Listing => {
    const names = fetchNames(installation)
    const listing: Listing = { names, size: 0, untilMs: Number.POSITIVE_INFINITY, failures }
    void settle(listing, clock.monotonic())
    return listing
  }

  const settle = async (listing: Listing, atMs: number): Promise<void> => {
    try {
      const { size } = await listing.names
      listing.failures = 0
      listing.size = size
      listing.untilMs = atMs + Math.max(LISTED_MS, Math.ceil(size / PAGE) * PAGE_MS)
      forgetOldest(listing)
    } catch (error) {
      listing.failures += 1
      listing.untilMs = clock.monotonic() + backoffMs(asFailure(error), listing.failures)
    }
  }

  const forgetOldest = (kept: Listing): void => {
    let held = listings.values().reduce((sum, { size }) => sum + size, 0)
    for (const [installation, listing] of listings) {
      if (held <= MOST_NAMES || listing === kept) continue
      listings.delete(installation)
      held -= listing.size
    }
  }

  /** Names by id, at most as old as the list costs. Throws `rate-limited`, and what GitHub, or the way there, answers. */
  const list = (installation: number, by?: Peer): Promise<ReadonlyMap<number, string>> => {
    const known = listings.get(installation)
    if (known && known.untilMs > clock.monotonic()) return known.names
    if (by) deps.rateLimit.takeMint(by)
    const listing = begin(installation, known?.failures ?? 0)
    listings.delete(installation)
    listings.set(installation, listing)
    return listing.names
  }

  const findMissing = async ({ installation, repositories = [] }: Scope, by?: Peer): Promise<readonly string[]> => {
    if (repositories.length === 1) return repositories
    try {
      const there = new Set([...(await list(installation, by)).values()].map(foldName))
      return repositories.filter(name => !there.has(foldName(name)))
    } catch {
      // The refusal itself is what the caller has to hear of.
      return []
    }
  }

  return {
    list,
    /** Its name where the installation has it, by one call; remembered for a minute. Throws like `list`. */
    find(installation: Installation, id: number, by?: Peer): Promise<string | undefined> {
      const key = `${installation.id}/${id}`
      const known = found.get(key)
      if (known && clock.monotonic() - known.atMs < LISTED_MS) return known.name
      if (by) deps.rateLimit.takeMint(by)
      const entry = { name: fetchName(installation, id), atMs: clock.monotonic() }
      entry.name.catch(() => found.get(key) === entry && found.delete(key))
      found.delete(key)
      found.set(key, entry)
      const [oldest] = found.keys()
      if (found.size > MOST_FOUND && oldest !== undefined) found.delete(oldest)
      return entry.name
    },
    /** GitHub does not say which repository it refused: the same failure with the name, or with those that were asked for. Never throws. */
    async explain(refusal: Failure, scope: Scope, by?: Peer): Promise<Failure> {
      const missing = await findMissing(scope, by)
      const which = missing.length > 0 ? listed(missing) : `one of ${listed(scope.repositories ?? [])}`
      const detail = `not accessible to the installation: ${which}; ${refusal.message}`
      return new Failure(refusal.code, detail, { cause: refusal })
    },
  }
}

const listed = (names: readonly string[]): string =>
  names.length <= MOST_TOLD
    ? names.join(', ')
    : `${names.slice(0, MOST_TOLD).join(', ')} and ${names.length - MOST_TOLD} more`
