// How many answers without an end a holder may have: events, the audit log as it goes on, a check row by row. All count alike.

import { Failure } from '../../protocol/errors.ts'
import { holderOf } from '../peers/holder.ts'
import type { Caller } from '../tokens/token-issuer.ts'

export const STREAMS_OF_HOLDER = { token: 16, admin: 64 } as const
const MAX_STREAMS = 1_024

/** Takes a place and gives what leaves it, which is idempotent. Throws `too-many-streams`. */
export type TakeStreamPlace = (caller: Caller) => () => void

/** For all streams of one socket. */
export const createStreamPlaces = (): TakeStreamPlace => {
  const counts = new Map<string, number>()
  let all = 0
  return ({ attested, socket }) => {
    const { name } = holderOf(attested.peer)
    const own = counts.get(name) ?? 0
    const allowed = STREAMS_OF_HOLDER[socket]
    if (own >= allowed || all >= MAX_STREAMS)
      throw new Failure('too-many-streams', `at most ${allowed} of this user and unit at once`, {
        retryAfterSeconds: 60,
      })
    counts.set(name, own + 1)
    all += 1
    let isLeft = false
    return () => {
      if (isLeft) return
      isLeft = true
      all -= 1
      const left = (counts.get(name) ?? 1) - 1
      if (left > 0) counts.set(name, left)
      else counts.delete(name)
    }
  }
}
