// Tokens in a cluster: minted by the leader, handed to all, asked of the leader by whoever lacks one.

import { isLive } from '../../protocol/connection.ts'
import { asFailure, type Code, Failure } from '../../protocol/errors.ts'
import type { Grant } from '../../protocol/profile.ts'
import { LOCAL_FAILURES, type MintOptions } from '../connection/membership.ts'
import type { StoredToken } from '../store/records.ts'
import type { Tokens } from '../tokens/tokens.ts'
import type { ClusterContext } from './link.ts'
import type { Ask, SharedToken, TokenOf } from './values.ts'

export type TokenExchange = ReturnType<typeof createTokenExchange>

/** What is the leader's own affair. */
const OF_THE_LEADER = new Set<Code>([
  'not-connected',
  'cluster-unreachable',
  'isolated',
  'locked',
  'io',
  'disk-full',
  'internal',
])
const GRANTS_AT_ONCE = 200
const OFFERS_AT_ONCE = 50
/** Asks that were taken up; one that etcd tells of again is not done again. */
const MOST_HANDLED = 10_000

export const createTokenExchange = ({
  link,
  memory,
  connectionState,
  tokens,
  log,
  now,
}: Pick<ClusterContext, 'link' | 'memory' | 'log'> & {
  connectionState: Pick<ClusterContext['connectionState'], 'read'>
  tokens: Pick<Tokens, 'find' | 'obtain' | 'renew' | 'refreshFor' | 'live' | 'receive'>
  /** GitHub's clock. */
  now: () => number
}) => {
  const handled = new Set<string>()

  const identity = (): { appId: number; generation: number; floor: number } | undefined => {
    const { connection, generation } = connectionState.read()
    return isLive(connection) ? { appId: connection.app.id, generation, floor: memory.agreed().floor } : undefined
  }

  /** Of this connection, and not of one that was before it; what is newer than the record here waits for its record. */
  const isOurs = ({ appId, generation }: TokenOf): boolean => {
    const here = identity()
    return here !== undefined && appId === here.appId && generation >= here.floor && generation <= here.generation
  }

  const isVoid = (of: TokenOf): boolean => {
    if (of.token.expiresAtMs <= now()) return true
    const here = identity()
    return here === undefined || of.appId !== here.appId || of.generation < here.floor
  }

  const share = (token: StoredToken): TokenOf | undefined => {
    const here = identity()
    return here && { appId: here.appId, generation: here.generation, token: sharedOf(token) }
  }

  const publish = async (of: TokenOf): Promise<void> => {
    const known = link.findExpiry(of.token.key)
    if (known !== undefined && known >= of.token.expiresAtMs) return
    if (await (link.leads() ? link.putTokens([of]) : link.offerToken(of))) return
    log.warn('a late write of this node was refused: it does not lead, or another one was first', {
      generation: of.generation,
    })
    link.resync()
  }

  const fallBack = (): undefined => {
    if (memory.find()?.role === 'replica') throw new Failure('replica', 'no node of the primary gave it a token')
    return undefined
  }

  const answerTo = async (ask: Ask, grant: Grant, wish: MintOptions): Promise<void> => {
    try {
      const atHand = wish.renew || wish.rejected !== undefined ? undefined : tokens.find(grant, wish)
      if (!atHand) await link.answer(ask, { kind: 'working' })
      const token = atHand ?? (await (wish.renew ? tokens.renew(grant) : tokens.obtain(grant, wish)))
      await link.answer(ask, { kind: 'token', token: sharedOf(token) })
    } catch (error) {
      const { code, message, retryAfterSeconds } = asFailure(error)
      const told = {
        kind: 'failure',
        // 0.1.0 cannot read the newer code.
        code: code === 'proxy-auth-scheme' ? 'proxy-authentication' : code,
        detail: message,
        ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
      } as const
      await link.answer(ask, told)
    }
  }

  const handle = async (ask: Ask): Promise<void> => {
    const { want } = ask
    if (want.kind === 'token') return answerTo(ask, want.grant, want.wish)
    await tokens.refreshFor(want.grants)
    await link.done(ask)
  }

  return {
    async mint(grant: Grant, wish: MintOptions): Promise<StoredToken | undefined> {
      if (!memory.find() || link.leads()) return undefined
      if (!link.inTouch() || link.leader() === undefined) return fallBack()
      const answer = await link.ask({ kind: 'token', grant, wish }).catch((error: unknown) => {
        log.debug('the leader could not be asked', { error: asFailure(error) })
        return undefined
      })
      if (answer === undefined) return fallBack()
      if (answer.kind === 'token') return { ...answer.token, slot: 'current' }
      const { code, detail, retryAfterSeconds } = answer
      if (LOCAL_FAILURES.has(code) || OF_THE_LEADER.has(code)) return fallBack()
      throw new Failure(code, detail, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
    },
    minted(token: StoredToken): void {
      const of = memory.find() && link.inTouch() ? share(token) : undefined
      if (of) publish(of).catch((error: unknown) => log.debug('a token goes out later', { error: asFailure(error) }))
    },
    wantAhead(grants: readonly Grant[]): void {
      for (let at = 0; at < grants.length; at += GRANTS_AT_ONCE) {
        link
          .tell({ kind: 'ahead', grants: grants.slice(at, at + GRANTS_AT_ONCE) })
          .catch((error: unknown) => log.debug('the leader is told with the next tick', { error: asFailure(error) }))
      }
    },
    onToken(of: TokenOf): void {
      if (isOurs(of)) tokens.receive([of.token])
    },
    /** For the leader: what a follower asks. */
    onAsk(ask: Ask): void {
      if (ask.from === link.node || handled.has(ask.id)) return
      handled.add(ask.id)
      const [oldest = ''] = handled
      if (handled.size > MOST_HANDLED) handled.delete(oldest)
      handle(ask).catch((error: unknown) => log.debug('an answer did not go out', { error: asFailure(error) }))
    },
    /** Takes over all that stands in the cluster. */
    takeAll(): void {
      tokens.receive(
        link
          .tokens()
          .filter(isOurs)
          .map(({ token }) => token),
        { quiet: true },
      )
    },
    /** Puts into the cluster what this node has and the cluster lacks; the leader also takes out what has ended. Never throws. */
    async reconcile(): Promise<void> {
      if (!memory.find() || !link.inTouch()) return
      const lacking = tokens
        .live()
        .filter(({ key, expiresAtMs }) => (link.findExpiry(key) ?? 0) < expiresAtMs)
        .map(share)
        .filter(of => of !== undefined)
      try {
        if (link.leads()) {
          await link.putTokens(newestOfEach(lacking))
          await link.sweepTokens(isVoid)
        } else for (const of of newestOfEach(lacking).slice(0, OFFERS_AT_ONCE)) await link.offerToken(of)
      } catch (error) {
        log.debug('tokens go out later', { error: asFailure(error) })
      }
    },
  }
}

const sharedOf = (stored: StoredToken): SharedToken => {
  const { slot: _, ...token } = stored
  return token
}

const newestOfEach = (all: readonly TokenOf[]): TokenOf[] => {
  const newest = new Map<string, TokenOf>()
  for (const of of all) {
    const known = newest.get(of.token.key)
    if (!known || known.token.expiresAtMs < of.token.expiresAtMs) newest.set(of.token.key, of)
  }
  return [...newest.values()]
}
