// The way to etcd: one client for each endpoint, a deadline for each call, and another member where one does not answer. Owns etcd3.

import type * as library from 'etcd3'
import type { Etcd3, IOptions, IResponseHeader } from 'etcd3'
import { Failure } from '../../protocol/errors.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { callsWith, channelOptions, type Grpc, loadGrpc, STALE_TOKEN, type Tls } from './etcd-channel.ts'
import { openLease } from './etcd-lease.ts'
import { createKeys, namespaceOf } from './etcd-requests.ts'
import { type Call, createRound, type Member, toError } from './etcd-round.ts'
import type { Entry, Etcd } from './etcd-types.ts'
import { openWatch } from './etcd-watch.ts'

export type EtcdOptions = {
  /** `https://host:2379`; of all members, or of some. */
  readonly endpoints: readonly string[]
  /** PEM. Without it the machine's own authorities are trusted for https. */
  readonly tls?: Tls
  readonly auth?: { readonly user: string; readonly password: Secret }
  /** Of the cluster: its keys live under `ghconnect/NAME/`. */
  readonly name: string
  readonly clock: Clock
  readonly log: Log
  /** For a call with all its tries. */
  readonly deadlineMs?: number
  /** How often etcd is asked for a sign of life where there was none. */
  readonly heartbeatMs?: number
}

type Library = typeof library
type Loaded = { readonly library: Library; readonly grpc: Grpc }

const DEADLINE_MS = 5_000
const HEARTBEAT_MS = 2_000
const PAGE = 1_000

/** Loads etcd3; everything else begins by itself from here. */
export const createEtcd = async (options: EtcdOptions): Promise<Etcd> => {
  const { clock, log, deadlineMs = DEADLINE_MS, heartbeatMs = HEARTBEAT_MS } = options
  const [library, grpc] = await Promise.all([import('etcd3'), loadGrpc()])
  const keys = createKeys(namespaceOf(options.name))
  const members = options.endpoints.map(endpoint => createMember({ library, grpc }, options, endpoint))
  const isPassing = (error: Error): boolean => library.isRecoverableError(error)
  const round = createRound<Etcd3>({ members, isPassing, clock, log, deadlineMs })
  const running = new Set<{ close(): void }>()
  let revision = 0n

  const ask = async <T extends { header: IResponseHeader }>(operation: Call<Etcd3, T>): Promise<T> => {
    try {
      const answer = await round.call(operation)
      revision = BigInt(answer.header.revision)
      return answer
    } catch (error) {
      throw failureOf(library, toError(error))
    }
  }

  const get = async (key: string): Promise<Entry | undefined> => {
    const { kvs } = await ask(({ kv }, deadline) => kv.range({ key: keys.keyOf(key) }, deadline))
    return kvs[0] && keys.entryOf(kvs[0])
  }

  const look = (): void => void get('').catch(() => undefined)
  const looks = clock.every(heartbeatMs, () => {
    if (round.silentMs() >= heartbeatMs) look()
  })
  look()

  return {
    get,

    async list(prefix) {
      const range = keys.rangeOf(prefix)
      const entries: Entry[] = []
      let at: string | undefined
      for (let key = range.key; ; ) {
        const request = { ...range, key, limit: PAGE, ...(at !== undefined && { revision: at }) }
        const page = await ask(({ kv }, deadline) => kv.range(request, deadline))
        at ??= page.header.revision
        entries.push(...page.kvs.map(keys.entryOf))
        const last = page.kvs.at(-1)
        if (!page.more || !last) return { entries, revision: BigInt(at) }
        key = Buffer.concat([last.key, Buffer.of(0)])
      }
    },

    async commit(conditions, writes) {
      let again = false
      try {
        const answer = await ask(({ kv }, deadline) => {
          const request = keys.transactionOf(conditions, writes, again)
          again = true
          return kv.txn(request, deadline)
        })
        return keys.committedOf(answer, writes)
      } catch (error) {
        if (!(error instanceof Failure) || !(error.cause instanceof library.EtcdLeaseInvalidError)) throw error
        return { committed: false, revision }
      }
    },

    watch(prefix, handlers) {
      const open = () => round.stream(client => client.watchClient.watch())
      const deps = { open, members: members.length, forget: round.forget, keys, clock, log, heartbeatMs }
      const watch = openWatch(deps, prefix, handlers)
      running.add(watch)
      return {
        close() {
          running.delete(watch)
          watch.close()
        },
      }
    },

    async lease(ttlSeconds) {
      const deps = {
        grant: (TTL: number) => ask(({ leaseClient }, deadline) => leaseClient.leaseGrant({ TTL }, deadline)),
        revoke: (ID: string) => ask(({ leaseClient }, deadline) => leaseClient.leaseRevoke({ ID }, deadline)),
        open: () => round.stream(client => client.leaseClient.leaseKeepAlive()),
        clock,
        log,
      }
      const lease = await openLease(deps, ttlSeconds, () => running.delete(lease))
      running.add(lease)
      return lease
    },

    onReachable: round.onReachable,
    isReachable: round.isReachable,

    close() {
      looks.cancel()
      for (const each of running) each.close()
      round.close()
    },
  }
}

const createMember = (loaded: Loaded, options: EtcdOptions, endpoint: string): Member<Etcd3> => {
  const { auth, clock, tls, deadlineMs = DEADLINE_MS } = options
  const { library, grpc } = loaded
  let token: Promise<string> | undefined
  let tokenNow: string | undefined

  const client = new library.Etcd3({
    hosts: endpoint,
    grpcOptions: channelOptions(grpc, endpoint, tls),
    faultHandling: { host: () => once, global: once },
    defaultCallOptions: ({ isStream, method }) => ({
      deadline: isStream ? Number.POSITIVE_INFINITY : clock.now() + deadlineMs,
      interceptors: [callsWith(grpc, { isStream, token: () => (method === 'authenticate' ? undefined : tokenNow) })],
    }),
  })

  const authenticate = async (user: { user: string; password: Secret }, deadline: number): Promise<string> => {
    const request = { name: user.user, password: user.password.reveal() }
    return (tokenNow = (await client.auth.authenticate(request, { deadline })).token)
  }

  const forget = (): void => {
    token = undefined
  }

  const known = async (deadline: number): Promise<void> => {
    if (!auth) return
    token ??= authenticate(auth, deadline)
    const current = token
    await current.catch((error: unknown) => {
      if (token === current) forget()
      throw error
    })
  }

  return {
    async run(operation, deadline) {
      await known(deadline)
      try {
        return await operation(client, { deadline })
      } catch (error) {
        if (!auth || !toError(error).message.includes(STALE_TOKEN)) throw error
        forget()
        await known(deadline)
        return operation(client, { deadline })
      }
    },
    async stream(open) {
      await known(clock.now() + deadlineMs)
      return open(client)
    },
    forget,
    close: () => client.close(),
  }
}

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>

/** A call is made once: the other tries, at other members and within one deadline, are made here. */
const once: Policy = {
  get _altReturn(): never {
    throw new Error('there is no other result')
  },
  onSuccess: () => ({ dispose: () => undefined }),
  onFailure: () => ({ dispose: () => undefined }),
  execute: async (call, signal = new AbortController().signal) => call({ signal }),
}

const failureOf = (library: Library, error: Error): Failure => {
  if (error instanceof Failure) return error
  const refused = !library.isRecoverableError(error) || /certificate|\balert\b|\bSSL\b/i.test(error.message)
  // Of a certificate only the last cause is of use; the rest names addresses that the person has configured.
  const detail = error.message.replace(/^.*?Last error: /, '').replace(/ *Resolution note:.*$/, '')
  return new Failure(refused ? 'cluster-refused' : 'cluster-unreachable', `etcd: ${detail}`, { cause: error })
}
