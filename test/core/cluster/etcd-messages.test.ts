// What is asked of etcd, and what is made of its answers: as bytes, and as plain values.

import test from 'ava'
import { createKeys } from '../../../src/core/cluster/etcd.ts'
import {
  decode,
  encode,
  type KeyValue,
  type Method,
  METHODS,
  type Reply,
  type Request,
} from '../../../src/core/cluster/etcd-messages.ts'

const keys = createKeys('prod')
const encodeRequest = <M extends Method>(method: M, request: Request<M>) => encode(METHODS[method].request, request)

const kvOf = (key: string, value: string, more: Partial<KeyValue> = {}): KeyValue => ({
  key: Buffer.from(`ghconnect/prod/${key}`),
  value: Buffer.from(value),
  createRevision: 3n,
  modRevision: 9007199254740993n,
  lease: 0n,
  ...more,
})
const put = (key: string, value: string, lease?: string) => ({
  kind: 'put' as const,
  key,
  value: Buffer.from(value),
  ...(lease !== undefined && { lease }),
})
const gone = (key: string) => ({ kind: 'delete' as const, key })

test('keys live below the name of their cluster, and a range ends where another prefix begins', t => {
  t.is(keys.keyOf('tokens/1').toString(), 'ghconnect/prod/tokens/1')
  const { key, rangeEnd: end } = keys.rangeOf('tokens/')
  t.deepEqual([key.toString(), end.toString()], ['ghconnect/prod/tokens/', 'ghconnect/prod/tokens0'])
})

test('an entry is read with its revisions, however large, and with a lease where it has one', t => {
  t.deepEqual(keys.entryOf(kvOf('leader', 'x')), {
    key: 'leader',
    value: Buffer.from('x'),
    createRevision: 3n,
    modRevision: 9007199254740993n,
  })
  t.is(keys.entryOf(kvOf('leader', 'x', { lease: 77n })).lease, '77')
})

test('a change is a put with its entry or a delete with its revision', t => {
  t.deepEqual(keys.changeOf({ type: 0n, kv: kvOf('a', '1') }), { kind: 'put', entry: keys.entryOf(kvOf('a', '1')) })
  const deleted = { kind: 'delete', key: 'a', modRevision: 9007199254740993n } as const
  t.deepEqual(keys.changeOf({ type: 1n, kv: kvOf('a', '') }), deleted)
})

test('a transaction compares the revisions of its conditions, and asks what is there only when it is sent again', t => {
  const conditions = [
    { key: 'a', modRevision: 5n },
    { key: 'b', createRevision: 0n },
  ]
  const writes = [put('a', '1', '77'), put('c', '2'), gone('b')]
  const first = keys.transactionOf(conditions, writes, false)
  t.deepEqual(first, {
    compare: [
      { key: keys.keyOf('a'), result: 0n, target: 2n, modRevision: 5n },
      { key: keys.keyOf('b'), result: 0n, target: 1n, createRevision: 0n },
    ],
    success: [
      { put: { key: keys.keyOf('a'), value: Buffer.from('1'), lease: 77n } },
      { put: { key: keys.keyOf('c'), value: Buffer.from('2') } },
      { deleteRange: { key: keys.keyOf('b') } },
    ],
    failure: [],
  })
  t.deepEqual(
    keys.transactionOf(conditions, writes, true).failure,
    ['a', 'c', 'b'].map(key => ({ range: { key: keys.keyOf(key) } })),
  )
})

test('a refused transaction counts as done where all that it writes is there, to the byte, and only then', t => {
  const header = { clusterId: 1n, revision: 40n, raftTerm: 1n }
  const answerOf = (found: readonly (KeyValue | undefined)[], succeeded = false): Reply<'txn'> => ({
    succeeded,
    header,
    responses: found.map(kv => ({ range: { header, kvs: kv ? [kv] : [], more: false } })),
  })
  const writes = [gone('former'), put('a', '1'), put('b', '2')]
  const there = [undefined, kvOf('a', '1', { modRevision: 31n }), kvOf('b', '2', { modRevision: 31n })]
  t.deepEqual(keys.committedOf(answerOf(there), writes), { committed: true, revision: 31n }, 'of the writes themselves')
  for (const [what, found] of [
    ['another value', there.with(1, kvOf('a', 'other'))],
    ['one that is not there', there.with(2, undefined)],
    ['one that should be gone', there.with(0, kvOf('former', 'x'))],
    ['nothing that was asked for', []],
  ] as const)
    t.deepEqual(keys.committedOf(answerOf(found), writes), { committed: false, revision: 40n }, what)
  t.deepEqual(
    keys.committedOf(answerOf([undefined]), [gone('a')]),
    { committed: false, revision: 40n },
    'that a key is absent tells nothing of who took it away',
  )
  t.deepEqual(keys.committedOf(answerOf([], true), writes), { committed: true, revision: 40n })
})

/** As protobufjs writes them by etcd's own description. */
const TXN =
  '0a10080010021a01613081808080808080100a09080010011a01622800120a12080a0161120131184d12051a030a01621a050a030a0161'
const TXN_REPLY =
  '0a1108b298eaf1948386fccd0110011828200210001a1c0a1a12160a01611003181f20052a013130e0cdd18b98f7e4a66920011a021200'
const WATCH_REPLY =
  '0a060805180920031004180120012807320a736f20697420736179735a09080112050a016118085a0c120a0a0162100818082a0178'

test('a request has the bytes that etcd reads, with a zero where one is said, and without what is left out', t => {
  const key = Buffer.from('a')
  const hexOf = (...[method, request]: Parameters<typeof encodeRequest>) =>
    encodeRequest(method, request).toString('hex')
  t.is(
    hexOf('txn', {
      compare: [
        { result: 0n, target: 2n, key, modRevision: 9007199254740993n },
        { result: 0n, target: 1n, key: Buffer.from('b'), createRevision: 0n },
      ],
      success: [{ put: { key, value: Buffer.from('1'), lease: 77n } }, { deleteRange: { key: Buffer.from('b') } }],
      failure: [{ range: { key } }],
    }),
    TXN,
  )
  const [from, to] = [Buffer.from('k'), Buffer.from('l')]
  t.is(hexOf('range', { key: from, rangeEnd: to, limit: 1000n, revision: 300n }), '0a016b12016c18e80720ac02')
  t.is(hexOf('watch', { create: { key: from, rangeEnd: to, startRevision: 5n } }), '0a080a016b12016c1805')
  t.is(hexOf('watch', { progress: {} }), '1a00')
})

test('an answer is read from its bytes: what is absent is nothing, what is not known is skipped', t => {
  const txn = decode(METHODS.txn.reply, Buffer.from(TXN_REPLY, 'hex'))
  const none = { clusterId: 0n, revision: 0n, raftTerm: 0n }
  const kv = { key: Buffer.from('a'), value: Buffer.from('1'), createRevision: 3n, modRevision: 31n }
  t.deepEqual(txn, {
    header: { clusterId: BigInt.asIntN(64, 14841639068965178418n), revision: 40n, raftTerm: 2n },
    succeeded: false,
    responses: [
      { range: { header: none, kvs: [{ ...kv, lease: 7587883372139276000n }], more: false } },
      { range: { header: none, kvs: [], more: false } },
    ],
  })
  const watch = decode(METHODS.watch.reply, Buffer.from(WATCH_REPLY, 'hex'))
  const blank = { value: Buffer.alloc(0), createRevision: 0n, lease: 0n }
  t.deepEqual(watch, {
    header: { clusterId: 5n, revision: 9n, raftTerm: 3n },
    created: true,
    canceled: true,
    compactRevision: 7n,
    cancelReason: 'so it says',
    events: [
      { type: 1n, kv: { ...blank, key: Buffer.from('a'), modRevision: 8n } },
      {
        type: 0n,
        kv: { ...blank, key: Buffer.from('b'), value: Buffer.from('x'), createRevision: 8n, modRevision: 8n },
      },
    ],
  })
})

test('fields of eight and of four bytes are skipped like others that are not known', t => {
  const [eight, four, known] = ['7921212121212121ff', '7d212121ff', '1005']
  const { id } = decode(METHODS.leaseKeepAlive.reply, Buffer.from(eight + four + known, 'hex'))
  t.is(id, 5n)
})

test('bytes that are no message are refused, and none is read beyond its end', t => {
  for (const hex of [
    TXN_REPLY.slice(0, -2),
    '0a05',
    '0aff',
    '1aff01',
    '0d00000000',
    '0900000000000000ff',
    '7d000000',
    '7900000000000000',
    '7b',
    '18',
    `18${'ff'.repeat(11)}`,
    '0801',
  ])
    t.throws(() => decode(METHODS.txn.reply, Buffer.from(hex, 'hex')), { instanceOf: RangeError }, hex)
})
