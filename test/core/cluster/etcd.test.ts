import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import test, { type ExecutionContext } from 'ava'
import { createEtcd, type EtcdOptions } from '../../../src/core/cluster/etcd.ts'
import type { Change, Etcd } from '../../../src/core/cluster/etcd.ts'
import { decode, encode, METHODS, type Method } from '../../../src/core/cluster/etcd-messages.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createClock } from '../../../src/service/clock.ts'
import { createAuthority } from '../../support/certificates.ts'
import { startEtcd } from '../../support/etcd.ts'
import { createFakeLog } from '../../support/fakes.ts'

const clock = createClock()
const three = await startEtcd({ size: 3, tls: true })
test.after.always(() => three.close())

type Options = Partial<EtcdOptions> & { readonly endpoints: readonly string[] }

const open = async (t: ExecutionContext, options: Options): Promise<Etcd> => {
  const etcd = await createEtcd({
    name: `test-${randomBytes(4).toString('hex')}`,
    clock,
    log: createFakeLog(),
    deadlineMs: 4_000,
    heartbeatMs: 250,
    ...options,
  })
  t.teardown(() => etcd.close())
  return etcd
}

const openThree = (t: ExecutionContext, options: Partial<EtcdOptions> = {}): Promise<Etcd> =>
  open(t, { endpoints: three.endpoints, ...(three.tls && { tls: three.tls }), ...options })

const put = (key: string, value: string, lease?: string) => ({
  kind: 'put' as const,
  key,
  value: Buffer.from(value),
  ...(lease !== undefined && { lease }),
})

/** What a watch tells, and a way to wait for it. */
const follow = (etcd: Etcd, prefix: string, fromRevision: bigint) => {
  const seen: string[] = []
  let resyncs = 0
  let look = (): void => undefined
  const told = ({ kind, ...change }: Change): string =>
    'entry' in change ? `${kind} ${change.entry.key}=${change.entry.value.toString()}` : `${kind} ${change.key}`
  const watch = etcd.watch(prefix, {
    fromRevision,
    onChange(changes) {
      seen.push(changes.map(told).join(', '))
      look()
    },
    onResync() {
      resyncs += 1
      look()
    },
  })
  const until = async (ready: () => boolean): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    look = () => ready() && resolve()
    look()
    await promise
  }
  return { seen, watch, until, resyncs: () => resyncs }
}

const failure = async (t: ExecutionContext, asked: Promise<unknown>): Promise<Failure> => {
  const error = await t.throwsAsync(asked)
  t.true(error instanceof Failure)
  return error as Failure
}

test.serial('a transaction is done if all of its conditions hold, else not at all', async t => {
  const etcd = await openThree(t)
  t.is(await etcd.get('a'), undefined)
  const absent = { key: 'a', createRevision: 0n }
  const first = await etcd.commit([absent], [put('a', '1'), put('b', '1')])
  t.true(first.committed)
  const entry = await etcd.get('a')
  t.is(entry?.value.toString(), '1')
  t.is(entry?.key, 'a')
  t.is(entry?.modRevision, first.revision)
  t.is(entry?.createRevision, first.revision)
  t.false('lease' in (entry ?? {}))

  t.false((await etcd.commit([absent], [put('a', '2')])).committed)
  const current = { key: 'a', modRevision: first.revision }
  const mixed = [current, { key: 'b', modRevision: first.revision + 1n }]
  t.false((await etcd.commit(mixed, [put('a', '2'), { kind: 'delete', key: 'b' }])).committed)
  t.is((await etcd.get('a'))?.value.toString(), '1')
  const second = await etcd.commit([current], [put('a', '2'), { kind: 'delete', key: 'b' }])
  t.true(second.committed)
  const { entries, revision } = await etcd.list('')
  t.is(revision, second.revision)
  t.deepEqual(
    entries.map(each => [each.key, each.value.toString(), each.createRevision, each.modRevision]),
    [['a', '2', first.revision, second.revision]],
  )
})

/** More keys than are asked for at once: from `t/00000` to `t/01099`. */
const fill = async (etcd: Etcd): Promise<void> => {
  for (let i = 0; i < 1_100; i += 100) {
    const keys = Array.from({ length: 100 }, (_, j) => `t/${String(i + j).padStart(5, '0')}`)
    await etcd.commit(
      [],
      keys.map(key => put(key, key)),
    )
  }
}

test.serial('a list is of one prefix, of one cluster, sorted, and longer than a page', async t => {
  const [etcd, other] = [await openThree(t), await openThree(t)]
  await fill(etcd)
  await etcd.commit([], [put('u', '')])
  await other.commit([], [put('t/other', '')])
  const { entries } = await etcd.list('t/')
  t.is(entries.length, 1_100)
  t.deepEqual(
    entries.map(entry => entry.key),
    entries.map(entry => entry.key).toSorted(),
  )
  t.is((await other.list('')).entries.length, 1)
})

test.serial('a watch tells each revision once and in order, from the one that it was given', async t => {
  const etcd = await openThree(t)
  const first = await etcd.commit([], [put('w/a', '1')])
  await etcd.commit([], [put('x', 'not watched')])
  await etcd.commit([], [put('w/a', '2'), put('w/b', '1')])
  const told = follow(etcd, 'w/', first.revision)
  await told.until(() => told.seen.length === 2)
  await etcd.commit([], [{ kind: 'delete', key: 'w/a' }])
  await told.until(() => told.seen.length === 3)
  t.deepEqual(told.seen, ['put w/a=1', 'put w/a=2, put w/b=1', 'delete w/a'])
  told.watch.close()
  await etcd.commit([], [put('w/a', '3')])
  await clock.sleep(100)
  t.is(told.seen.length, 3)
  t.is(told.resyncs(), 0)
})

for (const way of ['kill', 'pause'] as const) {
  test.serial(`calls, watch and lease go on when a member is lost, one after the other: ${way}`, async t => {
    const etcd = await openThree(t)
    const lease = await etcd.lease(2)
    let lost = 0
    lease.onLost(() => (lost += 1))
    const told = follow(etcd, '', (await etcd.commit([], [put('mine', '', lease.id)])).revision + 1n)
    const expected: string[] = []
    let last = 0n
    for (const [i, member] of three.members.entries()) {
      if (way === 'kill') await member.kill()
      else member.pause()
      for (const step of ['out', 'still']) {
        // The others may be electing a leader: what was not done in time is done again, and by its condition once.
        const { committed, revision } = await etcd.commit([{ key: 'k', modRevision: last }], [put('k', `${i} ${step}`)])
        t.true(committed)
        last = revision
        expected.push(`put k=${i} ${step}`)
        await told.until(() => told.seen.length === expected.length)
      }
      if (way === 'kill') await member.start()
      else member.resume()
      await three.settled()
    }
    t.deepEqual(told.seen, expected)
    t.true(lease.isHeld())
    t.is(lost, 0)
    t.not(await etcd.get('mine'), undefined)
    await lease.revoke()
    t.is(await etcd.get('mine'), undefined)
    t.is(lost, 0)
  })
}

test.serial('a commit whose answer was lost counts once', async t => {
  const etcd = await openThree(t, { deadlineMs: 3_000 })
  await etcd.commit([], [put('count', '0')])
  for (let i = 1; i <= 3; i++) {
    const entry = await etcd.get('count')
    const leader = three.members[await three.leader()]
    // It stops in the middle of whatever it does with this.
    const asked = etcd.commit([{ key: 'count', modRevision: entry?.modRevision ?? 0n }], [put('count', `${i}`)])
    leader?.pause()
    const { committed } = await asked
    t.true(committed)
    leader?.resume()
    t.is((await etcd.get('count'))?.value.toString(), `${i}`)
    await three.settled()
  }
})

/** A way to an endpoint on which answers can be held back, for good or for a while: what is asked arrives. */
const oneWay = async (t: ExecutionContext, endpoint: string) => {
  let held: (() => void)[] | undefined
  let look = (_length: number): void => undefined
  const server = createServer(near => {
    const far = connect(Number(new URL(endpoint).port), '127.0.0.1')
    near.pipe(far)
    far.on('data', chunk => {
      const pass = (): void => void near.write(chunk)
      if (held) held.push(pass)
      else pass()
      look(chunk.length)
    })
    for (const [one, other] of [[near, far] as const, [far, near] as const]) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
    t.teardown(() => near.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    mute: () => void (held = []),
    /** Resolves when at least so many bytes of answers are held. */
    hold(bytes: number): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>()
      let left = bytes
      look = length => ((left -= length) <= 0 ? resolve() : undefined)
      held = []
      return promise
    },
    release() {
      for (const pass of held ?? []) pass()
      held = undefined
    },
  }
}

/** A client whose answers can be held back on its first way, or its only one, and another client beside it. */
const openOneWay = async (t: ExecutionContext, ways: 'only' | 'first') => {
  const one = await startEtcd()
  t.teardown(() => one.close())
  const [endpoint = ''] = one.endpoints
  const way = await oneWay(t, endpoint)
  const endpoints = ways === 'only' ? [way.endpoint] : [way.endpoint, endpoint]
  const etcd = await open(t, { endpoints, name: 'late', deadlineMs: 2_000, heartbeatMs: 60_000 })
  return { way, etcd, other: await open(t, { endpoints: one.endpoints, name: 'late' }) }
}

test.serial('a list longer than a page is of one revision, and what came after it is told from there on', async t => {
  const { way, etcd, other } = await openOneWay(t, 'only')
  await fill(other)
  // Half of the first page: etcd has made all of it.
  const isMade = way.hold(30_000)
  const listed = etcd.list('t/')
  await isMade
  await other.commit([], [put('t/00000', 'anew'), { kind: 'delete', key: 't/01099' }])
  way.release()
  const { entries, revision } = await listed
  t.is(entries.length, 1_100)
  t.is(entries[0]?.value.toString(), 't/00000')
  const told = follow(other, 't/', revision + 1n)
  await other.commit([], [put('t/last', '')])
  await told.until(() => told.seen.at(-1) === 'put t/last=')
  t.deepEqual(told.seen, ['put t/00000=anew, delete t/01099', 'put t/last='])
})

test.serial('a commit whose answer was lost tells the revision of its writes, whatever came after them', async t => {
  const { way, etcd, other } = await openOneWay(t, 'first')
  const { revision: before } = await etcd.commit([], [put('a', '1')])
  const told = follow(other, '', before + 1n)
  way.mute()
  const asked = etcd.commit([{ key: 'lock', createRevision: 0n }], [put('lock', 'mine'), put('with', 'it')])
  await told.until(() => told.seen.length === 1)
  await other.commit([], [put('a', '2')])
  await other.commit([], [put('a', '3')])
  t.deepEqual(await asked, { committed: true, revision: before + 1n })
  const fence = { key: 'lock', createRevision: before + 1n }
  t.true((await etcd.commit([fence], [put('a', '4')])).committed, 'a fence of it holds')
})

test.serial(
  'with all members gone each call ends at its deadline, and everything goes on when they are back',
  async t => {
    const etcd = await openThree(t, { deadlineMs: 1_000 })
    const reach: boolean[] = []
    await etcd.commit([], [put('a', '1')])
    t.true(etcd.isReachable())
    etcd.onReachable(now => reach.push(now))
    const told = follow(etcd, '', (await etcd.list('')).revision + 1n)
    const lease = await etcd.lease(1)
    const lost = Promise.withResolvers<number>()
    const heldAt = clock.monotonic()
    lease.onLost(() => lost.resolve(clock.monotonic()))

    for (const member of three.members) member.pause()
    const began = clock.monotonic()
    const { code } = await failure(t, etcd.get('a'))
    t.is(code, 'cluster-unreachable')
    t.true(clock.monotonic() - began < 2_000)
    t.true((await lost.promise) - heldAt < 2_000, 'the lease is lost by the clock alone')
    t.false(lease.isHeld())
    t.false(etcd.isReachable())

    for (const member of three.members) await member.kill()
    const refused = clock.monotonic()
    t.is((await failure(t, etcd.get('a'))).code, 'cluster-unreachable')
    t.true(clock.monotonic() - refused < 1_500)
    await Promise.all(three.members.map(member => member.start()))
    await t.notThrowsAsync(etcd.get('a').catch(() => etcd.get('a')))
    await etcd.commit([], [put('a', '2')])
    await told.until(() => told.seen.length === 1)
    t.deepEqual(told.seen, ['put a=2'])
    t.deepEqual(reach, [false, true])
  },
)

test.serial('whether etcd is within reach is found out by itself, with no call of others', async t => {
  const etcd = await openThree(t, { deadlineMs: 500, heartbeatMs: 100 })
  const next = () => new Promise<boolean>(resolve => etcd.onReachable(resolve))
  t.true(await next())
  for (const member of three.members) member.pause()
  t.false(await next())
  for (const member of three.members) member.resume()
  t.true(await next())
  await three.settled()
})

/** A member whose disk hangs: it answers keepalives, and each other call never. */
const startHanging = async (t: ExecutionContext) => {
  const described = (method: Method, stream: boolean): grpc.MethodDefinition<object, object> => ({
    path: METHODS[method].path,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: value => encode(METHODS[method].request, { ...value }),
    requestDeserialize: bytes => decode(METHODS[method].request, bytes),
    responseSerialize: value => encode(METHODS[method].reply, { ...value }),
    responseDeserialize: bytes => decode(METHODS[method].reply, bytes),
  })
  let isHanging = false
  const ranges: grpc.handleUnaryCall<object, object> = (_, answer) => isHanging || answer(null, {})
  const server = new grpc.Server()
  server.addService(
    {
      range: described('range', false),
      leaseGrant: described('leaseGrant', false),
      leaseKeepAlive: described('leaseKeepAlive', true),
    },
    {
      range: ranges,
      leaseGrant: ((_, answer) => answer(null, { id: 7n, ttl: 1n })) satisfies grpc.handleUnaryCall<object, object>,
      leaseKeepAlive: (stream: grpc.ServerDuplexStream<object, object>) => {
        stream.on('data', () => stream.write({ id: 7n, ttl: 1n }))
        stream.on('end', () => stream.end())
      },
    },
  )
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  t.teardown(() => server.forceShutdown())
  return { endpoint: `http://127.0.0.1:${port}`, hang: () => void (isHanging = true) }
}

test.serial(
  'a member that answers keepalives and nothing else is out of reach, and the lease there is held',
  async t => {
    const member = await startHanging(t)
    const etcd = await open(t, { endpoints: [member.endpoint], deadlineMs: 500, heartbeatMs: 250 })
    const next = () => new Promise<boolean>(resolve => etcd.onReachable(resolve))
    t.true(await next())
    const lease = await etcd.lease(1)
    member.hang()
    t.false(await next())
    await clock.sleep(1_500)
    t.true(lease.isHeld())
    t.false(etcd.isReachable())
  },
)

test.serial('a lease that etcd took away is lost at once, and nothing more is written with it', async t => {
  const etcd = await openThree(t)
  const lease = await etcd.lease(5)
  t.true((await etcd.commit([], [put('mine', '', lease.id)])).committed)
  t.is((await etcd.get('mine'))?.lease, lease.id)
  const lost = Promise.withResolvers<void>()
  lease.onLost(lost.resolve)
  await three.ctl('lease', 'revoke', BigInt(lease.id).toString(16))
  t.false((await etcd.commit([], [put('mine', 'again', lease.id)])).committed)
  await lost.promise
  t.false(lease.isHeld())
  t.is(await etcd.get('mine'), undefined)
  const after = Promise.withResolvers<void>()
  lease.onLost(after.resolve)
  await after.promise
})

test.serial('a watch that lies before a compaction asks for a new list', async t => {
  const etcd = await openThree(t)
  const { revision } = await etcd.commit([], [put('a', '1')])
  const last = await etcd.commit([], [put('a', '2')])
  await three.ctl('compact', String(last.revision))
  const told = follow(etcd, '', revision)
  await told.until(() => told.resyncs() === 1)
  t.deepEqual(told.seen, [])
  await etcd.commit([], [put('a', '3')])
  const listed = await etcd.list('')
  t.is(listed.entries[0]?.value.toString(), '3')
  const anew = follow(etcd, '', listed.revision + 1n)
  await etcd.commit([], [put('a', '4')])
  await anew.until(() => anew.seen.length === 1)
  t.deepEqual(anew.seen, ['put a=4'])
  t.deepEqual(told.seen, [], 'the one before is over')
})

test.serial('a watch on an etcd that was restored from a backup asks for a new list', async t => {
  const etcd = await openThree(t)
  await etcd.commit([], [put('a', '1')])
  const backup = await three.save()
  const { revision } = await etcd.commit([], [put('a', '2')])
  const told = follow(etcd, '', revision + 1n)
  await etcd.commit([], [put('a', '3')])
  await told.until(() => told.seen.length === 1)
  await three.restore(backup)
  await told.until(() => told.resyncs() === 1)
  const listed = await etcd.list('')
  t.is(listed.entries[0]?.value.toString(), '1')
  t.true(listed.revision < revision)
})

test.serial('a certificate that is not trusted, or none, is refused and said so', async t => {
  const { endpoints, tls } = three
  const ca = tls?.ca ?? ''
  const foreign = createAuthority('another')
  t.teardown(() => foreign.remove())
  const wrong = await openThree(t, { tls: { ca: foreign.ca, ...foreign.issue('client') } })
  const error = await failure(t, wrong.get('a'))
  t.is(error.code, 'cluster-refused')
  t.regex(error.message, /certificate/)

  const stranger = await openThree(t, { tls: { ...foreign.issue('client'), ca } })
  await failure(t, stranger.get('a'))
  const clear = await open(t, { endpoints: endpoints.map(each => each.replace('https', 'http')) })
  await failure(t, clear.get('a'))
})

test.serial('a user of etcd: password, role, and a token that was forgotten', async t => {
  // Tokens end after a second without use.
  const one = await startEtcd({ words: ['--auth-token-ttl=1'] })
  t.teardown(() => one.close())
  for (const words of [
    'user add root:topsecret',
    'user grant-role root root',
    'role add appliance',
    'role grant-permission appliance readwrite --prefix=true ghconnect/mine/',
    'user add appliance:swordfish',
    'user grant-role appliance appliance',
    'auth enable',
  ]) {
    await one.ctl(...words.split(' '))
  }
  const auth = { user: 'appliance', password: new Secret('swordfish') }
  const etcd = await open(t, { endpoints: one.endpoints, name: 'mine', auth, heartbeatMs: 10_000 })
  const { committed, revision } = await etcd.commit([], [put('a', '1')])
  t.true(committed)
  const told = follow(etcd, '', revision + 1n)
  const lease = await etcd.lease(2)
  t.true((await etcd.commit([], [put('b', '1', lease.id)])).committed)
  await told.until(() => told.seen.length === 1)

  // The member forgets all tokens.
  await one.members[0]?.kill()
  await one.members[0]?.start()
  t.is((await etcd.get('a'))?.value.toString(), '1')
  await etcd.commit([], [put('a', '2')])
  await told.until(() => told.seen.length === 2)
  // By itself it ends as well.
  await clock.sleep(2_500)
  t.true((await etcd.commit([], [put('a', '3')])).committed)
  await told.until(() => told.seen.length === 3)
  t.true(lease.isHeld())

  const beyond = await open(t, { endpoints: one.endpoints, name: 'theirs', auth })
  const denied = await failure(t, beyond.commit([], [put('a', '1')]))
  t.is(denied.code, 'cluster-refused')
  t.regex(denied.message, /permission denied/)
  t.is((await failure(t, beyond.list(''))).code, 'cluster-refused')
  const wrong = await open(t, {
    endpoints: one.endpoints,
    name: 'mine',
    auth: { ...auth, password: new Secret('sword-of-fish') },
  })
  const refused = await failure(t, wrong.get('a'))
  t.is(refused.code, 'cluster-refused')
  t.regex(refused.message, /invalid user ID or password/)
  t.notRegex(refused.message, /of-fish/)
})

test.serial('a user of etcd counts by password, not by the name in the certificate', async t => {
  const one = await startEtcd({ tls: true })
  t.teardown(() => one.close())
  for (const words of [
    'user add root:topsecret',
    'user grant-role root root',
    'role add appliance',
    'role grant-permission appliance readwrite --prefix=true ghconnect/mine/',
    'user add appliance:swordfish',
    'user grant-role appliance appliance',
    // The name in the certificate, without any role.
    'user add client:unused',
    'auth enable',
  ]) {
    await one.ctl(...words.split(' '))
  }
  const of = { endpoints: one.endpoints, name: 'mine', ...(one.tls && { tls: one.tls }) }
  const etcd = await open(t, { ...of, auth: { user: 'appliance', password: new Secret('swordfish') } })
  const { committed, revision } = await etcd.commit([], [put('a', '1')])
  t.true(committed)
  const told = follow(etcd, '', revision + 1n)
  const lease = await etcd.lease(1)
  t.true((await etcd.commit([], [put('b', '1', lease.id)])).committed)
  await told.until(() => told.seen.length === 1)
  await clock.sleep(1_500)
  t.true(lease.isHeld())
  t.is((await etcd.list('')).entries.length, 2)
  const byName = await open(t, of)
  t.is((await failure(t, byName.get('a'))).code, 'cluster-refused')
})

test.serial('the proxy of the environment is not on the way', async t => {
  process.env['HTTPS_PROXY'] = process.env['grpc_proxy'] = 'http://127.0.0.1:9'
  t.teardown(() => {
    delete process.env['HTTPS_PROXY']
    delete process.env['grpc_proxy']
  })
  const etcd = await openThree(t)
  t.true((await etcd.commit([], [put('a', '1')])).committed)
})

test.serial('what is closed does nothing more', async t => {
  const etcd = await openThree(t)
  const told = follow(etcd, '', (await etcd.commit([], [put('a', '1')])).revision + 1n)
  const lease = await etcd.lease(2)
  etcd.close()
  t.is((await failure(t, etcd.get('a'))).code, 'cluster-unreachable')
  t.false(etcd.isReachable())
  t.false(lease.isHeld())
  const other = await openThree(t)
  await other.commit([], [put('a', '2')])
  t.deepEqual(told.seen, [])
})

test.serial('a lease that is given back takes no call along', async t => {
  const one = await startEtcd({ tls: true })
  t.teardown(() => one.close())
  for (let i = 0; i < 20; i++) {
    const etcd = await open(t, { endpoints: one.endpoints, name: `turn-${i}`, ...(one.tls && { tls: one.tls }) })
    const reach: boolean[] = []
    const lease = await etcd.lease(5)
    await etcd.commit([], [put('mine', '', lease.id)])
    const told = follow(etcd, '', (await etcd.list('')).revision + 1n)
    etcd.onReachable(now => reach.push(now))
    // The streams are there by then; where one ends, what is asked at the same time must not end with it.
    await clock.sleep(30)
    told.watch.close()
    const [, found] = await Promise.all([lease.revoke(), etcd.get('other')])
    t.is(found, undefined)
    t.is(await etcd.get('mine'), undefined, 'it is given back at once')
    t.deepEqual(reach, [])
  }
})
