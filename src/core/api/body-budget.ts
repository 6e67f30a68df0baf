// How much memory the bodies of requests may hold, by the bytes that really came: per holder, and in all.

import { type Holder, holderOf } from '../peers/holder.ts'
import type { Peer } from '../../protocol/profile.ts'

export type BudgetLimits = { readonly all: number; readonly ofHolder: number }

/** The body of one request. */
export type BodyAccount = {
  /** False: there is no room for this piece, and nothing was taken. */
  take(bytes: number): boolean
  /** The request is over, and its body is not held any more. Idempotent. */
  release(): void
}
export type BodyBudget = (peer: Peer) => BodyAccount

/** JSON is refused where it has no room, the gateway then streams, and a bundle waits for the one before it: none takes the others' room. */
export type BodyBudgets = {
  readonly json: BodyBudget
  readonly replay: BodyBudget
  readonly streamed: BodyBudget
  readonly large: BodyBudget
}

const MIB = 2 ** 20
const LIMITS = {
  json: { all: 8 * MIB, ofHolder: 2 * MIB },
  replay: { all: 8 * MIB, ofHolder: 2 * MIB },
  streamed: { all: 8 * MIB, ofHolder: 2 * MIB },
  large: { all: 32 * MIB, ofHolder: 32 * MIB },
} as const
/** What a small piece costs besides its bytes: a body may come in pieces of one byte. */
export const PIECE_BYTES = 256
const SMALL_BYTES = 1_024
/** What a body that streams has in buffers on its way. */
export const STREAMED_BYTES = 131_072
/** Every holder has room for this much, whatever others hold, its first and last piece small: token requests are smaller. */
export const ASSURED_BYTES = 16_384 + 2 * PIECE_BYTES

export const createBodyBudgets = (limits: Readonly<Record<keyof BodyBudgets, BudgetLimits>> = LIMITS): BodyBudgets => ({
  json: createBodyBudget(limits.json),
  replay: createBodyBudget(limits.replay),
  streamed: createBodyBudget(limits.streamed),
  large: createBodyBudget(limits.large),
})

export const createBodyBudget = (limits: BudgetLimits): BodyBudget => {
  const held = new Map<Holder['name'], number>()
  let all = 0
  return peer => {
    const { name } = holderOf(peer)
    let taken = 0
    return {
      take(bytes) {
        const cost = bytes < SMALL_BYTES ? bytes + PIECE_BYTES : bytes
        const own = (held.get(name) ?? 0) + cost
        if (own > ASSURED_BYTES && (own > limits.ofHolder || all + cost > limits.all)) return false
        held.set(name, own)
        all += cost
        taken += cost
        return true
      },
      release() {
        const left = (held.get(name) ?? 0) - taken
        if (left > 0) held.set(name, left)
        else held.delete(name)
        all -= taken
        taken = 0
      },
    }
  }
}
