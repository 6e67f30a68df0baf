// Whose turn it is among etcd's members: the one that answered last, then the others, within one deadline.

import { Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'

/** `deadline` is in milliseconds since the epoch, as grpc takes it. */
export type Call<Client, T> = (client: Client, options: { deadline: number }) => Promise<T>

export type Member<Client> = {
  run<T>(operation: Call<Client, T>, deadline: number): Promise<T>
  stream<T>(open: (client: Client) => Promise<T>): Promise<T>
  /** The token of etcd's user is asked for anew. */
  forget(): void
  close(): void
}

export type RoundDeps<Client> = {
  readonly members: readonly Member<Client>[]
  /** Whether another member, or another time, may answer better. */
  readonly isPassing: (error: Error) => boolean
  readonly clock: Clock
  readonly log: Log
  readonly deadlineMs: number
}

export type Round<Client> = {
  call<T>(operation: Call<Client, T>): Promise<T>
  /** To the next member, another with each call. */
  stream<T>(open: (client: Client) => Promise<T>): Promise<T>
  forget(): void
  isReachable(): boolean
  onReachable(callback: (reachable: boolean) => void): void
  /** Since the last answer. */
  silentMs(): number
  close(): void
}

/** While members elect their leader. */
const PAUSE_MS = 100

export const createRound = <Client>({
  members,
  isPassing,
  clock,
  log,
  deadlineMs,
}: RoundDeps<Client>): Round<Client> => {
  const listeners: ((reachable: boolean) => void)[] = []
  let turn = 0
  let streams = 0
  let reachable = false
  let answeredAt = Number.NEGATIVE_INFINITY
  let closed = false

  const memberAt = (index: number): Member<Client> => {
    const member = members[index % members.length]
    if (closed || !member) throw new Failure('cluster-unreachable', 'the way to etcd is closed')
    return member
  }

  const reached = (now: boolean): void => {
    if (now) answeredAt = clock.monotonic()
    if (now === reachable || closed) return
    reachable = now
    log.info(now ? 'etcd is within reach' : 'etcd is out of reach')
    for (const listener of listeners) listener(now)
  }

  return {
    async call(operation) {
      const until = clock.monotonic() + deadlineMs
      for (let tries = 1; ; tries++) {
        const member = memberAt(turn)
        const share = (until - clock.monotonic()) / Math.max(1, members.length - tries + 1)
        try {
          const result = await member.run(operation, clock.now() + share)
          reached(true)
          return result
        } catch (thrown) {
          const error = toError(thrown)
          if (!isPassing(error)) {
            reached(true)
            throw error
          }
          turn = (members.indexOf(member) + 1) % members.length
          const left = until - clock.monotonic()
          // One try more than there are members: a stream that breaks off may have taken the connection of a call along.
          if (tries <= members.length && left > 0) continue
          // A member that answers may have a leader in a moment; one that does not would not.
          if (!error.message.includes('etcdserver:') || left <= PAUSE_MS || closed) {
            reached(false)
            throw error
          }
          await clock.sleep(PAUSE_MS)
        }
      }
    },
    async stream(open) {
      return memberAt(streams++).stream(open)
    },
    forget() {
      for (const member of members) member.forget()
    },
    isReachable: () => reachable,
    onReachable: callback => void listeners.push(callback),
    silentMs: () => clock.monotonic() - answeredAt,
    close() {
      closed = true
      reachable = false
      for (const member of members) member.close()
    },
  }
}

export const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)))

/** etcd3 closes all connections to a member when a stream ends with an error, and so does a cancelled one that was not ended before. */
export const endStream = (stream: { end(): void; cancel(): void }): void => {
  stream.end()
  stream.cancel()
}
