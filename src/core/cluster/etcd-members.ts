// The members of etcd: a connection to each, and whose turn it is. The one that answered last is asked first, then the others, within one deadline. Owns grpc-js.

import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import type * as grpc from '@grpc/grpc-js'
import { Failure } from '../../protocol/errors.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { decode, encode, type Method, METHODS, type Reply, type Request } from './etcd-messages.ts'

type Grpc = typeof grpc

export const loadGrpc = (): Promise<Grpc> => import('@grpc/grpc-js')

export type MemberOptions = {
  /** PEM. Without it the machine's own authorities are trusted for https. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string }
  readonly auth?: { readonly user: string; readonly password: Secret }
  readonly clock: Clock
  /** For a call with all its tries; also for a login, which calls with less time may wait for. */
  readonly deadlineMs: number
}

export type WatchStream = Pick<grpc.ClientDuplexStream<Request<'watch'>, Reply<'watch'>>, 'on' | 'write' | 'cancel'>

/** `deadlineMs`: since the epoch. */
export type Member = {
  call<M extends Method>(method: M, request: Request<M>, deadlineMs: number): Promise<Reply<M>>
  watch(): Promise<WatchStream>
  /** The user's token is asked for again. */
  forget(): void
  close(): void
}

type Call = { readonly token: string | undefined; readonly deadline: number }

const OPTIONS: grpc.ChannelOptions = {
  // The web proxy of the environment is for the way to GitHub.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // Else a new channel takes over a dead connection of the one before.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // etcd ends connections that are pinged more often than every 5 seconds.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_receive_message_length': 64 * 2 ** 20,
}

/** Address, credentials and options of a client for `https://HOST:PORT`. */
export const channelOf = ({ credentials }: Pick<Grpc, 'credentials'>, endpoint: string, tls: MemberOptions['tls']) => {
  const isSecure = endpoint.startsWith('https:')
  const host = new URL(endpoint).hostname.replace(/^\[(.*)\]$/, '$1')
  const byAddress = isSecure && isIP(host) !== 0
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text))
  const identity: grpc.VerifyOptions = byAddress
    ? { checkServerIdentity: (_, shown) => checkServerIdentity(host, shown) }
    : {}
  const place = endpoint.replace(/^https?:\/\//, '')
  return {
    address: /:\d+$/.test(place) ? place : `${place}:2379`,
    secured: isSecure
      ? credentials.createSsl(pem(tls?.ca), pem(tls?.key), pem(tls?.cert), identity)
      : credentials.createInsecure(),
    // Node refuses an address as the name to ask for: this name is asked for, and the certificate compared with the address.
    options: { ...OPTIONS, ...(byAddress && { 'grpc.ssl_target_name_override': 'etcd.invalid' }) },
  }
}

export const createMember = (of: Grpc, endpoint: string, { tls, auth, clock, deadlineMs }: MemberOptions): Member => {
  const { address, secured, options } = channelOf(of, endpoint, tls)
  let client: grpc.Client | undefined
  let token: Promise<string> | undefined
  let closed = false

  const connection = (): grpc.Client => {
    // A call may have waited for its login meanwhile.
    if (closed) throw closedFailure()
    return (client ??= new of.Client(address, secured, options))
  }

  const send = <M extends Method>(method: M, request: Request<M>, call: Call): Promise<Reply<M>> => {
    const { path, request: asked, reply } = METHODS[method]
    const used = connection()
    const read = (bytes: Buffer) => decode(reply, bytes) as Reply<M>
    const write = (one: Request<M>) => encode(asked, one)
    const { promise, resolve, reject } = Promise.withResolvers<Reply<M>>()
    const { deadline } = call
    if (method === 'leaseKeepAlive') {
      const stream = used.makeBidiStreamRequest(path, write, read, streamMetadata(call.token), { deadline })
      // A failed keepalive does not end the connection: it has less time than other calls, and says nothing of theirs.
      stream.on('error', reject)
      stream.on('end', () => reject(grpcError('etcd sent no answer', UNAVAILABLE)))
      stream.on('data', (value: Reply<M>) => {
        resolve(value)
        // Not earlier: a proxy of etcd ends a stream at once where its client has.
        stream.end()
      })
      stream.write(request)
      return promise
    }
    const done: grpc.requestCallback<Reply<M>> = (error, value) => {
      if (value !== undefined && !error) return resolve(value)
      // A connection that is dead or hangs is not waited for.
      if (client === used && isPassing(error)) disconnect()
      reject(error ?? new Error('etcd sent no answer'))
    }
    used.makeUnaryRequest(path, write, read, request, metadataOf(call.token), { deadline }, done)
    return promise
  }

  const metadataOf = (current: string | undefined): grpc.Metadata => {
    const metadata = new of.Metadata()
    if (current !== undefined) metadata.set('token', current)
    return metadata
  }

  /** A member that has lost the others then ends its streams, in place of saying nothing. */
  const streamMetadata = (current: string | undefined): grpc.Metadata => {
    const metadata = metadataOf(current)
    metadata.set('hasleader', 'true')
    return metadata
  }

  const login = ({ user, password }: NonNullable<typeof auth>): Promise<string> => {
    const asked = { name: user, password: password.reveal() }
    const call = { token: undefined, deadline: clock.now() + deadlineMs }
    const current = send('authenticate', asked, call).then(reply => reply.token)
    token = current
    current.catch(() => {
      if (token === current) forget()
    })
    return current
  }

  /** The user's, where there is one. Calls share a login, which goes on where one of them has no more time for it. */
  const tokenBy = async (deadline: number): Promise<string | undefined> => {
    if (!auth) return undefined
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = clock.after(deadline - clock.now(), () =>
      reject(grpcError('etcd did not answer the login in time', DEADLINE_EXCEEDED)),
    )
    try {
      return await Promise.race([token ?? login(auth), late])
    } finally {
      timer.cancel()
    }
  }

  const forget = (): void => {
    token = undefined
  }
  const disconnect = (): void => {
    client?.close()
    client = undefined
  }

  return {
    async call(method, request, deadline) {
      try {
        return await send(method, request, { token: await tokenBy(deadline), deadline })
      } catch (error) {
        // A member that was restarted knows no tokens of before.
        if (!auth || !/invalid auth token|revision of auth store is old/.test(toError(error).message)) throw error
        forget()
        return send(method, request, { token: await tokenBy(deadline), deadline })
      }
    },
    async watch() {
      const metadata = streamMetadata(await tokenBy(clock.now() + deadlineMs))
      const { path, request, reply } = METHODS.watch
      const read = (bytes: Buffer) => decode(reply, bytes) as Reply<'watch'>
      return connection().makeBidiStreamRequest(path, (one: Request<'watch'>) => encode(request, one), read, metadata)
    },
    forget,
    close() {
      closed = true
      disconnect()
    },
  }
}

const closedFailure = (): Failure => new Failure('cluster-unreachable', 'the way to etcd is closed')

/** As grpc-js makes them. */
const grpcError = (message: string, code: number): Error => Object.assign(new Error(message), { code })

const DEADLINE_EXCEEDED = 4
const UNAVAILABLE = 14

/** Canceled, unknown, deadline exceeded, resource exhausted, aborted, internal, unavailable. */
const PASSING: ReadonlySet<unknown> = new Set([1, 2, 4, 8, 10, 13, 14])

/** Whether another member, or another time, may answer better. */
export const isPassing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && PASSING.has(error.code)

/** etcd said that there is no such lease. */
export const isLeaseGone = (error: unknown): boolean => toError(error).message.includes('requested lease not found')

export const failureOf = (error: Error): Failure => {
  if (error instanceof Failure) return error
  const refused = !isPassing(error) || /certificate|\balert\b|\bSSL\b/i.test(error.message)
  // Of a certificate only the last cause is of use; the rest names addresses that the person has configured.
  const detail = error.message.replace(/^.*?Last error: /, '').replace(/ *Resolution note:.*$/, '')
  return new Failure(refused ? 'cluster-refused' : 'cluster-unreachable', `etcd: ${detail}`, { cause: error })
}

const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)))

/** While members elect their leader. */
const PAUSE_MS = 100

export type Members = ReturnType<typeof createMembers>

export const createMembers = (
  members: readonly Member[],
  { clock, log, deadlineMs }: { clock: Clock; log: Log; deadlineMs: number },
) => {
  const listeners: ((reachable: boolean) => void)[] = []
  let turn = 0
  let watches = 0
  let reachable = false
  let answeredAt = Number.NEGATIVE_INFINITY
  let closed = false

  const memberAt = (index: number): Member => {
    const member = members[index % members.length]
    if (closed || !member) throw closedFailure()
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
    /**
     * Throws `cluster-unreachable`, `cluster-refused`. Each call but a keepalive tells whether etcd is within reach: a member whose
     * disk hangs answers keepalives and nothing else, and a keepalive has less time.
     */
    async call<M extends Method>(method: M, request: () => Request<M>, mostMs = deadlineMs): Promise<Reply<M>> {
      const began = clock.monotonic()
      const until = began + mostMs
      const tells = method !== 'leaseKeepAlive'
      for (let tries = 1; ; tries++) {
        const member = memberAt(turn)
        const share = (until - clock.monotonic()) / Math.max(1, members.length - tries + 1)
        try {
          const reply = await member.call(method, request(), clock.now() + share)
          if (tells) reached(true)
          return reply
        } catch (thrown) {
          const error = toError(thrown)
          if (!isPassing(error)) {
            if (tells) reached(true)
            throw failureOf(error)
          }
          turn = (members.indexOf(member) + 1) % members.length
          const left = until - clock.monotonic()
          // One try more than there are members: a connection that is given up takes the other calls on it along.
          if (tries <= members.length && left > 0) continue
          // A member that answers may have a leader in a moment; one that does not would not.
          if (!error.message.includes('etcdserver:') || left <= PAUSE_MS || closed) {
            // Others were answered meanwhile: it is this one that was slow.
            if (tells && answeredAt <= began) reached(false)
            throw failureOf(error)
          }
          await clock.sleep(PAUSE_MS)
        }
      }
    },
    /** On the next member, another with each call. */
    watch: async (): Promise<WatchStream> => memberAt(watches++).watch(),
    count: members.length,
    forget() {
      for (const member of members) member.forget()
    },
    isReachable: () => reachable,
    onReachable: (callback: (reachable: boolean) => void): void => void listeners.push(callback),
    /** Since the last answer, keepalives left out. */
    silentMs: () => clock.monotonic() - answeredAt,
    close() {
      closed = true
      reachable = false
      for (const member of members) member.close()
    },
  }
}
