// What is asked of etcd, and what is made of its answers, as plain values.

import test from 'ava'
import { createKeys, type KeyValue, namespaceOf } from '../../../src/core/cluster/etcd-requests.ts'

const keys = createKeys(namespaceOf('prod'))

const kvOf = (key: string, value: string, more: Partial<KeyValue> = {}): KeyValue => ({
  key: Buffer.from(`ghconnect/prod/${key}`),
  value: Buffer.from(value),
  create_revision: '3',
  mod_revision: '9007199254740993',
  lease: '0',
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
  const { key, range_end: end } = keys.rangeOf('tokens/')
  t.deepEqual([key.toString(), end.toString()], ['ghconnect/prod/tokens/', 'ghconnect/prod/tokens0'])
})

test('an entry is read with its revisions, however large, and with a lease where it has one', t => {
  t.deepEqual(keys.entryOf(kvOf('leader', 'x')), {
    key: 'leader',
    value: Buffer.from('x'),
    createRevision: 3n,
    modRevision: 9007199254740993n,
  })
  t.is(keys.entryOf(kvOf('leader', 'x', { lease: '77' })).lease, '77')
})

test('a change is a put with its entry or a delete with its revision, however etcd spells it', t => {
  t.deepEqual(keys.changeOf({ type: 'Put', kv: kvOf('a', '1') }), { kind: 'put', entry: keys.entryOf(kvOf('a', '1')) })
  for (const type of ['Delete', 'DELETE'])
    t.deepEqual(keys.changeOf({ type, kv: kvOf('a', '') }), {
      kind: 'delete',
      key: 'a',
      modRevision: 9007199254740993n,
    })
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
      { key: keys.keyOf('a'), result: 0, target: 2, mod_revision: '5' },
      { key: keys.keyOf('b'), result: 0, target: 1, create_revision: '0' },
    ],
    success: [
      { request_put: { key: keys.keyOf('a'), value: Buffer.from('1'), lease: '77' } },
      { request_put: { key: keys.keyOf('c'), value: Buffer.from('2') } },
      { request_delete_range: { key: keys.keyOf('b') } },
    ],
    failure: [],
  })
  t.deepEqual(
    keys.transactionOf(conditions, writes, true).failure,
    ['a', 'c', 'b'].map(key => ({ request_range: { key: keys.keyOf(key) } })),
  )
})

test('a refused transaction counts as done where all that it writes is there, to the byte, and only then', t => {
  const answerOf = (found: readonly (KeyValue | undefined)[], succeeded = false) => ({
    succeeded,
    header: { revision: '40' },
    responses: found.map(kv => ({ response_range: { kvs: kv ? [kv] : [] } })),
  })
  const writes = [gone('former'), put('a', '1'), put('b', '2')]
  const there = [undefined, kvOf('a', '1', { mod_revision: '31' }), kvOf('b', '2', { mod_revision: '31' })]
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
