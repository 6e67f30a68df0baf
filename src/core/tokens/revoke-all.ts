// Revokes every live token at GitHub, as after a leak. The connection stays, and a token that is asked for is minted again.

import { type Connection, isLive } from '../../protocol/connection.ts'
import { asFailure, type Code, Failure } from '../../protocol/errors.ts'
import { Secret } from '../../protocol/secret.ts'
import { isoTime, type RevokeAnswer } from '../../protocol/wire.ts'
import { inParallel } from '../../service/limits.ts'
import { LOCAL_FAILURES } from '../connection/membership.ts'
import type { TokenDeps } from './minting.ts'
import type { Tokens } from './tokens.ts'

type Revocable = { readonly token: Secret; readonly expiresAtMs: number }

export type RevokeAll = ReturnType<typeof createRevokeAll>

/** Outlives a change of the store: a token is revoked by itself, without the App's key. */
const UNREVOKED = 'tokens.unrevoked'
const CONCURRENT_CALLS = 8
const ANSWER_MS = 60_000
const TOLD_EACH = 50
/** After one of these the next token would fare no better. */
const OF_ALL = new Set<Code>([
  ...LOCAL_FAILURES,
  'github-outage',
  'quota',
  'quarantined',
  'replica',
  'cluster-unreachable',
])

export const createRevokeAll = (deps: TokenDeps & { tokens: Pick<Tokens, 'live' | 'drop'> }) => {
  const { store, connectionState, tokens, audit, events, clock, log } = deps
  const tokensOfCluster = (): readonly Revocable[] => deps.membership?.()?.tokensTo(lastVoid) ?? []
  const left = new Map<string, Revocable>(readStored(store.facts.find(UNREVOKED)).map(one => [one.token.reveal(), one]))
  let failures = new Map<Code, { failure: Failure; tokens: number }>()
  let last: Promise<void> = Promise.resolve()
  let revoked = 0
  /** The newest generation of tokens that are void. */
  let lastVoid = -1

  const save = (): void =>
    store.facts.put(
      UNREVOKED,
      [...left.values()].map(({ token, expiresAtMs }) => ({ token: token.reveal(), expiresAtMs })),
    )

  const saveIfPossible = (): void => {
    try {
      save()
    } catch (error) {
      log.error('which tokens are still to be revoked could not be stored', { error: asFailure(error) })
    }
  }

  const add = (more: readonly Revocable[]): boolean => {
    const before = left.size
    for (const one of more) if (one.expiresAtMs > deps.githubClock.now()) left.set(one.token.reveal(), one)
    if (left.size === before) return false
    save()
    return true
  }

  const revokeOne = async (one: Revocable): Promise<void> => {
    if ([...failures.keys()].some(code => OF_ALL.has(code))) return
    if (one.expiresAtMs > deps.githubClock.now()) {
      try {
        await deps.link.revoke(one.token)
        revoked += 1
      } catch (error) {
        const failure = asFailure(error)
        failures.set(failure.code, { failure, tokens: (failures.get(failure.code)?.tokens ?? 0) + 1 })
        return
      }
    }
    left.delete(one.token.reveal())
    if (left.size % TOLD_EACH > 0) return
    save()
    const detail = `${revoked} revoked, ${left.size} to go`
    events.emit({ event: 'step', state: connectionState.read().connection.kind, detail })
  }

  const tryEach = async (): Promise<void> => {
    failures = new Map()
    if (left.size === 0) return
    try {
      await inParallel([...left.values()], CONCURRENT_CALLS, revokeOne)
    } catch (error) {
      log.error('which tokens are still to be revoked could not be stored', { error: asFailure(error) })
    }
    saveIfPossible()
    for (const { failure, tokens: many } of failures.values())
      log.warn('tokens could not be revoked yet', { tokens: many, error: failure })
  }

  const pass = (): Promise<void> => (last = last.then(tryEach))

  const voidAll = async (): Promise<void> => {
    const { connection, generation } = connectionState.read()
    if (!isLive(connection) || connection.kind === 'disconnecting' || connection.kind === 'quarantined') {
      connectionState.requireServing()
      throw new Failure('not-connected', 'there are no tokens')
    }
    lastVoid = generation
    const held = [...tokens.live(), ...tokensOfCluster()]
    audit.record({
      event: 'tokens.revoke',
      detail: `all of ${connection.account.login}: ${held.length} and what is under way`,
    })
    const before = [...left]
    try {
      add(held)
      // Tokens belong to an enablement: those of another one are void, also where they are being minted, and on nodes that hear of it late.
      const enabledAtMs = Math.max(clock.now(), connection.enabledAtMs + 1)
      connectionState.transition({ ...connection, enabledAtMs }, { newGeneration: true })
    } catch (error) {
      // They are served on, so none of them is revoked.
      left.clear()
      for (const [token, one] of before) left.set(token, one)
      saveIfPossible()
      throw error
    }
    tokens.drop()
    events.emit({ event: 'change', state: connection.kind, detail: 'all tokens are void' })
  }

  const finish = async (): Promise<void> => {
    await pass()
    // Of nodes that heard of it meanwhile.
    if (add(tokensOfCluster())) await pass()
  }

  const answer = (): RevokeAnswer => {
    const endsAtMs = endOf(left.values())
    const failed = [...failures.values()].map(({ failure: { code, message: detail }, tokens: many }) => ({
      code,
      detail,
      tokens: many,
    }))
    return {
      revoked,
      remaining: left.size,
      failed,
      ...(endsAtMs !== undefined && { remaining_end_at: isoTime(endsAtMs) }),
    }
  }

  return {
    /**
     * No previous token is served from the first moment on, on any node. Resolves when GitHub was asked to revoke each, or after a
     * minute; what remains is tried again with each heartbeat. Throws `not-connected`, `quarantined`, `audit-unavailable`, and in a
     * cluster what keeps this node from a change; then nothing was changed, but for `cluster-conflict`.
     */
    async begin(): Promise<RevokeAnswer> {
      await last
      revoked = 0
      const [voided] = await Promise.allSettled([connectionState.exclusively(voidAll)])
      // In a cluster the change may have lost against another one: what is void here is revoked all the same.
      if (voided.status === 'rejected' && left.size === 0) throw voided.reason
      const waited = new AbortController()
      await Promise.race([finish(), clock.sleep(ANSWER_MS, waited.signal)])
      waited.abort()
      const told = answer()
      audit.owe({ event: 'tokens.revoked', detail: `${told.revoked}, ${told.remaining} remain` })
      if (voided.status === 'rejected') throw voided.reason
      return told
    },
    /** Goes on with what remains. Never throws. */
    async resume(): Promise<void> {
      if (left.size === 0) return
      try {
        if (!isLive(connectionState.read().connection)) {
          left.clear()
          return save()
        }
        // Killed in between: they are in the store still.
        if (tokens.live().some(({ token }) => left.has(token.reveal()))) tokens.drop()
      } catch (error) {
        return log.error('tokens that were revoked could not be removed', { error: asFailure(error) })
      }
      await pass()
    },
    /** Another node revoked all of `known`: what this node alone holds is revoked by it, and none is served any longer. */
    join(known: readonly Revocable[]): void {
      const theirs = new Set(known.map(({ token }) => token.reveal()))
      try {
        add(tokens.live().filter(({ token }) => !theirs.has(token.reveal())))
      } finally {
        tokens.drop()
      }
      void pass()
    },
    /** What GitHub did not revoke yet, for a warning. */
    findRemaining() {
      const endsAtMs = endOf([...left.values()].filter(one => one.expiresAtMs > deps.githubClock.now()))
      const [first] = failures.values()
      return endsAtMs === undefined ? undefined : { tokens: left.size, endsAtMs, failure: first?.failure }
    },
  }
}

/** Whether the second is the first with all of its tokens revoked: an enable or an import begins a new state, too. */
export const isRevocation = (before: Connection, after: Connection): boolean =>
  isLive(before) &&
  isLive(after) &&
  before.app.id === after.app.id &&
  before.sinceMs === after.sinceMs &&
  before.enabledAtMs < after.enabledAtMs

const endOf = (tokens: Iterable<Revocable>): number | undefined => {
  let end: number | undefined
  for (const { expiresAtMs } of tokens) end = Math.max(end ?? 0, expiresAtMs)
  return end
}

/** Written by this program alone. */
const readStored = (found: unknown): Revocable[] =>
  Array.isArray(found)
    ? found.flatMap((one: { token?: unknown; expiresAtMs?: unknown } | null) =>
        typeof one?.token === 'string' && typeof one.expiresAtMs === 'number'
          ? [{ token: new Secret(one.token), expiresAtMs: one.expiresAtMs }]
          : [],
      )
    : []
