// The members of etcd: which address by which means, what goes with a call, whose turn it is, and what counts as within reach.

import { EventEmitter } from 'node:events'
import test from 'ava'
import * as grpc from '@grpc/grpc-js'
import {
  channelOf,
  createMember,
  createMembers,
  type Member,
  type MemberOptions,
} from '../../../src/core/cluster/etcd-members.ts'
import { decode, encode, METHODS } from '../../../src/core/cluster/etcd-messages.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createFakeClock, createFakeLog, failureOf } from '../../support/fakes.ts'

const DEADLINE_MS = 6_000

/** What grpc-js throws. */
const grpcError = (message: string, code: number = grpc.status.UNAVAILABLE): Error =>
  Object.assign(new Error(message), { code })

/** What a member does with a call: undefined answers with its number. */
type Doing = Error | 'hangs' | undefined

const setUp = (size: number) => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const calls: { readonly member: number; readonly leftMs: number }[] = []
  const watches: number[] = []
  const forgotten: number[] = []
  const closed: number[] = []
  const doing: Doing[] = Array.from({ length: size }, () => undefined)
  const members = Array.from(
    { length: size },
    (_, at): Member => ({
      async call(_method, _request, deadlineMs) {
        calls.push({ member: at, leftMs: deadlineMs - clock.now() })
        const what = doing[at]
        if (what === 'hangs') await clock.sleep(deadlineMs - clock.now())
        if (what !== undefined) throw what === 'hangs' ? grpcError('deadline', grpc.status.DEADLINE_EXCEEDED) : what
        return at as never
      },
      async watch() {
        watches.push(at)
        return at as never
      },
      forget: () => void forgotten.push(at),
      close: () => void closed.push(at),
    }),
  )
  const round = createMembers(members, { clock, log, deadlineMs: DEADLINE_MS })
  const reach: boolean[] = []
  round.onReachable(now => reach.push(now))
  const call = async (mostMs?: number): Promise<number> => Number(await round.call('range', () => ({}), mostMs))
  const keepAlive = async (): Promise<number> => Number(await round.call('leaseKeepAlive', () => ({}), 3_000))
  return { clock, log, round, doing, calls, watches, forgotten, closed, reach, call, keepAlive }
}

const asked = ({ calls }: ReturnType<typeof setUp>): number[] => calls.map(({ member }) => member)

test('the member that answered last is asked first, and the next one where it fails', async t => {
  const scene = setUp(3)
  const { round, doing, call, reach, log } = scene
  t.false(round.isReachable())
  t.is(round.silentMs(), Number.POSITIVE_INFINITY)
  t.is(await call(), 0)
  doing[0] = doing[1] = grpcError('connection refused')
  t.is(await call(), 2)
  doing[0] = undefined
  t.is(await call(), 2, 'it is not left while it answers')
  t.deepEqual(asked(scene), [0, 0, 1, 2, 2])
  t.true(round.isReachable())
  t.deepEqual(reach, [true])
  t.deepEqual(
    log.lines.map(({ message }) => message),
    ['etcd is within reach'],
  )
})

test('members that hang share the time of one call', async t => {
  const scene = setUp(3)
  const { clock, doing, call, calls } = scene
  doing[0] = doing[1] = 'hangs'
  const began = clock.monotonic()
  const answered = call()
  await clock.advance(DEADLINE_MS)
  t.is(await answered, 2)
  t.true(calls.every(({ leftMs }) => leftMs <= DEADLINE_MS / 2))
  doing[2] = 'hangs'
  const failed = t.throwsAsync(call())
  await clock.advance(DEADLINE_MS)
  await failed
  t.true(clock.monotonic() - began <= 2 * DEADLINE_MS)
})

test('where nobody answers, each is tried and one once more, and etcd is out of reach until one does', async t => {
  const scene = setUp(2)
  const { round, doing, call, reach, log, clock } = scene
  await call()
  await clock.advance(500)
  t.is(round.silentMs(), 500)
  doing[0] = doing[1] = grpcError('connection refused')
  await t.throwsAsync(call(), { message: 'etcd: connection refused' })
  t.deepEqual(asked(scene), [0, 0, 1, 0])
  t.false(round.isReachable())
  t.is(round.silentMs(), 500, 'a failure is no answer')
  await t.throwsAsync(call())
  doing[0] = doing[1] = undefined
  await call()
  t.deepEqual(reach, [true, false, true], 'each change is told once')
  t.deepEqual(
    log.lines.map(({ message }) => message),
    ['etcd is within reach', 'etcd is out of reach', 'etcd is within reach'],
  )
})

test('a call that no member answers in time says nothing of etcd where another one was answered meanwhile', async t => {
  const scene = setUp(1)
  const { clock, doing, call, reach } = scene
  await call()
  doing[0] = 'hangs'
  const failed = t.throwsAsync(call(2_000))
  await clock.advance(1_000)
  doing[0] = undefined
  await call()
  doing[0] = 'hangs'
  await clock.advance(1_000)
  doing[0] = new Error('never asked again')
  await failed
  t.deepEqual(reach, [true])
})

test('a keepalive says nothing of whether etcd is within reach, answered, refused or failed', async t => {
  const { round, doing, call, keepAlive, reach, clock } = setUp(1)
  await keepAlive()
  t.is(round.silentMs(), Number.POSITIVE_INFINITY)
  doing[0] = grpcError('permission denied', grpc.status.PERMISSION_DENIED)
  await t.throwsAsync(keepAlive())
  t.deepEqual([round.isReachable(), round.silentMs()], [false, Number.POSITIVE_INFINITY])
  doing[0] = undefined
  await call()
  await clock.advance(500)
  await keepAlive()
  t.is(round.silentMs(), 500)
  doing[0] = 'hangs'
  const failed = t.throwsAsync(keepAlive())
  await clock.advance(3_000)
  await failed
  t.deepEqual(reach, [true], 'it has less time than the calls that say so')
})

test('a member that answers keepalives and nothing else is out of reach', async t => {
  const { doing, call, keepAlive, reach, clock } = setUp(1)
  await call()
  doing[0] = 'hangs'
  const failed = t.throwsAsync(call())
  await clock.advance(DEADLINE_MS / 2)
  doing[0] = undefined
  await keepAlive()
  doing[0] = 'hangs'
  await clock.advance(DEADLINE_MS / 2)
  await failed
  t.deepEqual(reach, [true, false])
})

test('members that have no leader for now are asked until the deadline, a moment apart', async t => {
  const scene = setUp(2)
  const { clock, doing, call } = scene
  doing[0] = doing[1] = grpcError('etcdserver: no leader')
  const answered = call()
  await clock.advance(1_000)
  t.true(scene.calls.length > 3 && scene.calls.length < 15, `${scene.calls.length} calls`)
  doing[0] = doing[1] = undefined
  await clock.advance(100)
  t.true([0, 1].includes(await answered))
  doing[0] = doing[1] = grpcError('etcdserver: no leader')
  const failed = t.throwsAsync(call())
  await clock.advance(DEADLINE_MS)
  await failed
  t.false(scene.round.isReachable())
})

test('a refusal is an answer: nobody else is asked, and etcd is within reach', async t => {
  const scene = setUp(2)
  const { round, doing, call, clock } = scene
  doing[0] = grpcError('permission denied', grpc.status.PERMISSION_DENIED)
  t.is((await failureOf(call())).code, 'cluster-refused')
  t.deepEqual(asked(scene), [0])
  t.true(round.isReachable())
  await clock.advance(10)
  t.is(round.silentMs(), 10)
})

test('each watch goes to another member, and all forget and close together', async t => {
  const scene = setUp(3)
  const { round, watches, forgotten, closed, call, reach } = scene
  for (let times = 0; times < 4; times++) t.is(Number(await round.watch()), times % 3)
  t.deepEqual(watches, [0, 1, 2, 0])
  round.forget()
  t.deepEqual(forgotten, [0, 1, 2])
  await call()
  round.close()
  t.deepEqual(closed, [0, 1, 2])
  t.false(round.isReachable())
  t.is((await failureOf(call())).code, 'cluster-unreachable')
  t.is((await failureOf(round.watch())).code, 'cluster-unreachable')
  t.deepEqual(reach, [true], 'nobody is told after the end')
})

test('a call that is given less time shares that among the members', async t => {
  const scene = setUp(3)
  const { clock, doing, call, calls } = scene
  doing[0] = doing[1] = 'hangs'
  const answered = call(3_000)
  await clock.advance(2_000)
  t.is(await answered, 2)
  t.deepEqual(
    calls.map(({ leftMs }) => leftMs),
    [1_000, 1_000, 1_000],
  )
})

/** What a client is made of for an endpoint. */
const channelFor = (endpoint: string, tls?: MemberOptions['tls']) => {
  const secured: unknown[] = []
  const credentials = {
    createSsl: (...given: unknown[]) => {
      secured.push(...given.slice(0, 3).map(each => (Buffer.isBuffer(each) ? each.toString() : each)))
      secured.push(given[3])
    },
    createInsecure: () => void secured.push('in clear'),
  } as unknown as (typeof grpc)['credentials']
  return { ...channelOf({ credentials }, endpoint, tls), given: secured }
}

test('a channel is secured as its endpoint says, with the port of etcd where none is given', t => {
  const tls = { ca: 'authority', cert: 'certificate', key: 'private key' }
  const byName = channelFor('https://etcd-1.example.com', tls)
  t.is(byName.address, 'etcd-1.example.com:2379')
  t.deepEqual(byName.given, ['authority', 'private key', 'certificate', {}])
  t.false('grpc.ssl_target_name_override' in byName.options)
  const clear = channelFor('http://etcd-1.example.com:4000')
  t.deepEqual([clear.address, clear.given], ['etcd-1.example.com:4000', ['in clear']])
  t.deepEqual(channelFor('https://etcd-1.example.com:443').address, 'etcd-1.example.com:443')
  t.deepEqual(channelFor('https://etcd-1.example.com').given, [null, null, null, {}])
})

test('the certificate of a member that is named by its address is compared with that address', t => {
  for (const host of ['192.0.2.7', '[2001:db8::7]']) {
    const { options, given, address } = channelFor(`https://${host}:2379`)
    t.is(address, `${host}:2379`)
    t.truthy(options['grpc.ssl_target_name_override'])
    const { checkServerIdentity: check } = given[3] as {
      checkServerIdentity: (name: string, shown: object) => unknown
    }
    const shown = (name: string) => ({ subject: { CN: 'x' }, subjectaltname: `IP Address:${name}` })
    t.is(check('etcd.invalid', shown(host.replaceAll(/[[\]]/g, ''))), undefined)
    t.true(check('etcd.invalid', shown('192.0.2.8')) instanceof Error)
  }
  t.false('grpc.ssl_target_name_override' in channelFor('http://192.0.2.7:2379').options)
})

test('a connection leaves the proxy of the environment aside, is pinged as etcd allows, and takes a page of large values', t => {
  const { options } = channelFor('http://etcd:2379')
  t.is(options['grpc.enable_http_proxy'], 0)
  t.is(options['grpc.use_local_subchannel_pool'], 1)
  const pingMs = Number(options['grpc.keepalive_time_ms'])
  t.true(pingMs >= 5_000 && pingMs <= 30_000)
  t.true(Number(options['grpc.max_receive_message_length']) >= 32 * 2 ** 20)
  t.true(Number(options['grpc.max_reconnect_backoff_ms']) <= 2_000)
})

/** A member whose connections are fakes: what is sent on each, and what comes of it. `holdLogins` leaves those to the test. */
const memberOf = (auth?: MemberOptions['auth'], { holdLogins = false } = {}) => {
  const clock = createFakeClock()
  const sent: { readonly connection: number; readonly what: string; readonly metadata: unknown }[] = []
  const fails: (Error | undefined)[] = []
  const closed: number[] = []
  const streams: string[] = []
  const logins: { readonly leftMs: number; readonly end: (error?: Error) => void }[] = []
  let connections = 0
  let tokens = 0
  class Client {
    readonly at = ++connections
    makeUnaryRequest(
      path: string,
      write: (request: unknown) => Buffer,
      read: (bytes: Buffer) => unknown,
      request: unknown,
      metadata: grpc.Metadata,
      { deadline }: { deadline: number },
      done: (error: Error | null, reply?: unknown) => void,
    ) {
      const what = path.split('/').at(-1) ?? ''
      const login = what === 'Authenticate' ? decode(METHODS.authenticate.request, write(request)) : {}
      sent.push({ connection: this.at, what, metadata: { ...metadata.getMap(), ...login } })
      if (what !== 'Authenticate') {
        const failure = fails.shift()
        return failure ? done(failure) : done(null, read(Buffer.alloc(0)))
      }
      const end = (error?: Error) =>
        error ? done(error) : done(null, read(encode(METHODS.authenticate.reply, { token: `token ${++tokens}` })))
      if (holdLogins) logins.push({ leftMs: deadline - clock.now(), end })
      else end()
    }
    /** One that was ended is not answered any more, as by a proxy of etcd. */
    makeBidiStreamRequest(path: string, _: unknown, read: (bytes: Buffer) => unknown, metadata: grpc.Metadata) {
      const what = path.split('/').at(-1) ?? ''
      sent.push({ connection: this.at, what, metadata: metadata.getMap() })
      const stream = new EventEmitter()
      const answer = () => {
        const failure = streams.at(-1) === 'end' ? grpcError('', grpc.status.CANCELLED) : fails.shift()
        if (failure) stream.emit('error', failure)
        else {
          streams.push('data')
          stream.emit('data', read(Buffer.alloc(0)))
          stream.emit('end')
        }
      }
      return Object.assign(stream, {
        write() {
          streams.push('write')
          queueMicrotask(answer)
        },
        end: () => streams.push('end'),
      })
    }
    close() {
      closed.push(this.at)
    }
  }
  const fake = { credentials: grpc.credentials, Metadata: grpc.Metadata, Client } as unknown as typeof grpc
  const options = { clock, deadlineMs: DEADLINE_MS, ...(auth && { auth }) }
  const member = createMember(fake, 'http://127.0.0.1:1', options)
  return { member, clock, sent, fails, closed, streams, logins, connections: () => connections }
}
const USER = { user: 'appliance', password: new Secret('swordfish') }
const GONE = 'etcdserver: requested lease not found'

test('a call takes the token of the user along where there is one, and a watch or keepalive asks for a member with a leader', async t => {
  const plain = memberOf()
  await plain.member.call('range', {}, 0)
  await plain.member.watch()
  await plain.member.call('leaseKeepAlive', {}, 0)
  t.deepEqual(
    plain.sent.map(({ what, metadata }) => [what, metadata]),
    [
      ['Range', {}],
      ['Watch', { hasleader: 'true' }],
      ['LeaseKeepAlive', { hasleader: 'true' }],
    ],
  )
  const { member, sent } = memberOf(USER)
  await member.call('range', {}, 0)
  await member.watch()
  await member.call('leaseKeepAlive', {}, 0)
  t.deepEqual(
    sent.map(({ what, metadata }) => [what, metadata]),
    [
      ['Authenticate', { name: 'appliance', password: 'swordfish' }],
      ['Range', { token: 'token 1' }],
      ['Watch', { token: 'token 1', hasleader: 'true' }],
      ['LeaseKeepAlive', { token: 'token 1', hasleader: 'true' }],
    ],
  )
})

test('a token that a member has forgotten is asked for again, once a call, whichever of the two texts it says', async t => {
  for (const details of ['etcdserver: invalid auth token', 'etcdserver: revision of auth store is old']) {
    const { member, sent, fails } = memberOf(USER)
    fails.push(grpcError(details, grpc.status.UNAUTHENTICATED))
    await member.call('range', {}, 0)
    t.deepEqual(
      sent.map(({ what }) => what),
      ['Authenticate', 'Range', 'Authenticate', 'Range'],
    )
    fails.push(grpcError(details, grpc.status.UNAUTHENTICATED), grpcError(details, grpc.status.UNAUTHENTICATED))
    await t.throwsAsync(member.call('range', {}, 0), { message: details })
    t.is(sent.length, 7)
  }
})

test('a connection on which a call failed is left for a new one, but not where etcd answered, nor for a keepalive, which has less time', async t => {
  const { member, sent, fails, closed } = memberOf()
  const late = grpcError('deadline', grpc.status.DEADLINE_EXCEEDED)
  fails.push(grpcError(GONE, grpc.status.NOT_FOUND), late, late)
  await t.throwsAsync(member.call('leaseRevoke', {}, 0), { message: GONE })
  await t.throwsAsync(member.call('leaseKeepAlive', {}, 0))
  await t.throwsAsync(member.call('range', {}, 0))
  await member.call('range', {}, 0)
  t.deepEqual(
    sent.map(({ connection }) => connection),
    [1, 1, 1, 2],
  )
  member.close()
  t.deepEqual(closed, [1, 2])
})

test('a keepalive ends its stream once it was answered: a proxy of etcd answers none that was ended before', async t => {
  const { member, streams } = memberOf()
  await member.call('leaseKeepAlive', { id: 7n }, 0)
  t.deepEqual(streams, ['write', 'data', 'end'])
})

test('calls share a login, which has the time of a call of its own: one with less gives up alone', async t => {
  const { member, clock, sent, closed, logins } = memberOf(USER, { holdLogins: true })
  const isOver = clock.now() + 1_000
  const beat = t.throwsAsync(member.call('leaseKeepAlive', {}, isOver))
  const ranged = member.call('range', {}, clock.now() + DEADLINE_MS)
  await clock.advance(1_000)
  t.is(((await beat) as Error & { code?: number }).code, grpc.status.DEADLINE_EXCEEDED)
  t.deepEqual(
    logins.map(({ leftMs }) => leftMs),
    [DEADLINE_MS],
  )
  logins[0]?.end()
  await ranged
  t.deepEqual(
    sent.map(({ what }) => what),
    ['Authenticate', 'Range'],
  )
  t.deepEqual(closed, [])
  t.is(clock.waiting(), 0)
})

test('a login that failed is tried again by the next call', async t => {
  const { member, sent, logins } = memberOf(USER, { holdLogins: true })
  const failed = t.throwsAsync(member.call('range', {}, 0), { message: 'wrong password' })
  logins[0]?.end(grpcError('wrong password', grpc.status.INVALID_ARGUMENT))
  await failed
  const ranged = member.call('range', {}, 0)
  logins[1]?.end()
  await ranged
  t.deepEqual(
    sent.map(({ what }) => what),
    ['Authenticate', 'Authenticate', 'Range'],
  )
})

test('a call or watch that waited for a login when the member was closed is not made', async t => {
  const { member, sent, closed, logins, connections } = memberOf(USER, { holdLogins: true })
  const waiting = [member.call('txn', {}, 0), member.watch()].map(failureOf)
  member.close()
  logins[0]?.end()
  for (const { code } of await Promise.all(waiting)) t.is(code, 'cluster-unreachable')
  t.is((await failureOf(member.call('range', {}, 0))).code, 'cluster-unreachable')
  t.deepEqual(
    sent.map(({ what }) => what),
    ['Authenticate'],
  )
  t.deepEqual([connections(), closed], [1, [1]])
})
