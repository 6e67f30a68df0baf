// What a route is: method, path, sockets, and the schemas that check it and describe it.

import type { z } from 'zod'
import { Failure } from '../../protocol/errors.ts'
import type { Peer, Policy } from '../../protocol/profile.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { PublicStatus, StateAnswer, Status } from '../../protocol/wire.ts'
import type { CheckReport, CheckRow } from '../../protocol/wire-check.ts'
import type { Operations } from '../operations.ts'
import type { Restored, RestoreWish } from '../snapshot/snapshots.ts'
import type { Caller } from '../tokens/token-issuer.ts'

export type SocketName = Caller['socket']

/** What a handler is given: parsed input, who calls, and the operations (which throw while the store is closed). */
export type Call<Body, Query> = {
  readonly body: Body
  readonly query: Query
  readonly caller: Caller
  readonly operations: () => Operations
  readonly backend: Backend
}

/** What the routes need besides the operations: it answers while the store is closed, too. */
export type Backend = {
  /** GitHub's pages, and its git. */
  githubUrl(): string
  apiUrl(): string
  /** The user that the daemon runs as: it could read the store without asking. */
  readonly ownUid: number
  policy(): Policy
  status(caller: Caller): Status | PublicStatus
  /** Reads the configuration again; gives its file. Throws `configuration`, and the old one stays. */
  reload(): string
  /** Splits what was pasted into code and state; throws `invalid-request`. */
  readRedirect(text: string): { code: string; state?: string }
  /** The identities of an age identity file; throws `invalid-request`. */
  readIdentities(text: string): Promise<readonly Secret[]>
  /** A one-time link to the settings page. */
  issueLink(peer: Peer): { url: string; expiresAtMs: number }
  /** Also over a store that cannot be opened. */
  restore(bundle: Uint8Array, wish: RestoreWish): Promise<Restored>
  /** Looks at all layers; also while the store is closed. */
  check(tell?: (row: CheckRow) => void): Promise<CheckReport>
  /** Opens what is locked: a store whose key was lost, or a sealed bundle that waits. */
  unlock(identities: readonly Secret[]): Promise<void>
}

/** The same route for a caller who accepts another type than JSON. */
export type TextForm = {
  readonly type: string
  /** `type`: of the body. Undefined: 204. */
  handle(
    call: Omit<Call<unknown, unknown>, 'body' | 'query'> & { text: string; type: string },
  ): Promise<string | undefined>
}

export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly sockets: readonly SocketName[]
  readonly summary: string
  readonly status: number
  /** More than the 64 KiB of other requests. */
  readonly maxBodyBytes?: number
  /** The handler may answer with the same object again, and never changes one that it gave. */
  readonly repeats?: boolean
  /** On admin.sock whatever is no GET is noted in the audit log with who asks, unless it says that it changes nothing. */
  readonly changesNothing?: boolean
  /** The answer is bytes, not JSON. They are nobody else's: their memory is given back once they are sent. */
  readonly binary?: boolean
  readonly textForm?: TextForm
  /** What each event holds, where a caller who accepts `text/event-stream` is answered by events. */
  readonly event?: z.ZodType
  readonly body?: z.ZodType
  readonly query?: z.ZodType
  readonly answer: z.ZodType
  handle(call: Call<unknown, unknown>): unknown
}

type Spec<B extends z.ZodType, Q extends z.ZodType> = Omit<Route, 'body' | 'query' | 'handle' | 'status'> & {
  readonly status?: number
  readonly body?: B
  readonly query?: Q
  handle(call: Call<z.infer<B>, z.infer<Q>>): unknown
}

export const route = <B extends z.ZodType = z.ZodUndefined, Q extends z.ZodType = z.ZodUndefined>(
  spec: Spec<B, Q>,
): Route => ({
  status: 200,
  ...spec,
  handle: call => spec.handle(call as Call<z.infer<B>, z.infer<Q>>),
})

export const stateOf = ({ status }: Operations): StateAnswer => {
  const { state, meaning, next } = status.standing()
  return { state, meaning, next }
}

/** Throws `not-permitted`: a route of the other socket is told apart from one that does not exist. */
export const refuseOtherSocket = (path: string): never => {
  throw new Failure('not-permitted', `${path} is served on admin.sock only`)
}
