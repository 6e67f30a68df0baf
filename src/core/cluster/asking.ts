// Asking the leader: a leased question, a word that it is at it, and a sealed answer, each taken away by whoever needs it no longer.

import { randomBytes } from 'node:crypto'
import type { Answer, Ask } from '../store/generations.ts'
import { asFailure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Condition, Etcd, Lease } from './etcd.ts'
import { type Codecs, KEYS } from './values.ts'

type FinalAnswer = Exclude<Answer, { kind: 'working' }>

export type Asking = {
  /** The leader's answer; `undefined`: there is none in time. Throws `cluster-unreachable`. */
  ask(want: Ask['want']): Promise<FinalAnswer | undefined>
  /** Without an answer. Throws `cluster-unreachable`. */
  tell(want: Ask['want']): Promise<void>
  /** As the leader; whoever leads no more answers nothing. */
  answer(ask: Ask, answer: Answer): Promise<void>
  /** Asks that need no answer end with their being done. Never throws. */
  done(ask: Ask): Promise<void>
  /** What the watch tells. */
  hear(id: string, answer: Answer): void
  /** Whoever asked has heard enough. Never throws. */
  forgetAnswer(id: string): Promise<void>
}

export const createAsking = (deps: {
  etcd: Etcd
  codecs: Codecs
  node: string
  lease: () => Lease | undefined
  fence: () => Condition | undefined
  times: { readonly hearMs: number; readonly answerMs: number }
  clock: Clock
  log: Log
}): Asking => {
  const { etcd, codecs, node, times, clock, log } = deps
  const waiting = new Map<string, (answer: Answer) => void>()

  const leased = (): { lease?: string } => {
    const lease = deps.lease()
    return lease ? { lease: lease.id } : {}
  }

  const forget = async (keys: readonly string[]): Promise<void> => {
    try {
      await etcd.commit(
        [],
        keys.map(key => ({ kind: 'delete', key })),
      )
    } catch (error) {
      log.debug('what was said ends with its lease', { error: asFailure(error) })
    }
  }

  const post = async (id: string, want: Ask['want']): Promise<void> => {
    const key = KEYS.asks + id
    const value = codecs.ask.write(key, { id, from: node, atMs: clock.now(), want })
    await etcd.commit([], [{ kind: 'put', key, value, ...leased() }])
  }

  return {
    async ask(want) {
      const id = makeId()
      const { promise, resolve } = Promise.withResolvers<FinalAnswer | undefined>()
      let timer = clock.after(times.hearMs, () => resolve(undefined))
      // Before the question is there: the answer may be quicker than etcd's word that it was taken.
      waiting.set(id, answer => {
        timer.cancel()
        if (answer.kind === 'working') timer = clock.after(times.answerMs, () => resolve(undefined))
        else resolve(answer)
      })
      try {
        await post(id, want)
        return await promise
      } finally {
        timer.cancel()
        waiting.delete(id)
        void forget([KEYS.asks + id, KEYS.answers + id])
      }
    },
    tell: want => post(makeId(), want),
    async answer({ id }, answer) {
      const key = KEYS.answers + id
      const fence = deps.fence()
      if (fence)
        await etcd.commit([fence], [{ kind: 'put', key, value: codecs.answer.write(key, answer), ...leased() }])
    },
    done: ({ id }) => forget([KEYS.asks + id]),
    hear: (id, answer) => waiting.get(id)?.(answer),
    forgetAnswer: id => forget([KEYS.answers + id]),
  }
}

const makeId = (): string => randomBytes(9).toString('base64url')
