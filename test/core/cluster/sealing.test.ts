// What etcd holds: opened by who knows the secret, at its own key, as it was written, and by nobody else.

import { randomBytes } from 'node:crypto'
import test from 'ava'
import fc from 'fast-check'
import { createKeyring } from '../../../src/core/cluster/sealing.ts'

const secrets = [randomBytes(32)]
const ring = createKeyring({ cluster: 'test', secrets })
const stamp = { generation: 3, sequence: 12 }

test('what was sealed opens again, with its stamp', t => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(),
      fc.nat(),
      fc.string(),
      (bytes, generation, sequence, key) => {
        const plain = Buffer.from(bytes)
        const opened = ring.open(key, ring.seal(key, { generation, sequence }, plain))
        t.deepEqual(opened, { kind: 'opened', stamp: { generation, sequence }, plain })
      },
    ),
  )
})

test('one changed byte anywhere, and it does not open', t => {
  const sealed = ring.seal('connection', stamp, Buffer.from('a private key'))
  fc.assert(
    fc.property(fc.nat({ max: sealed.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const changed = Buffer.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ by
      t.not(ring.open('connection', changed).kind, 'opened', `byte ${at}`)
    }),
    { numRuns: 2_000 },
  )
})

test('cut off or lengthened, it does not open', t => {
  const sealed = ring.seal('connection', stamp, Buffer.from('a private key'))
  for (let length = 0; length < sealed.length; length++)
    t.is(ring.open('connection', sealed.subarray(0, length)).kind, 'damaged')
  t.is(ring.open('connection', Buffer.concat([sealed, Buffer.from(']')])).kind, 'damaged')
})

test('under another key, or with the stamp of another version, it does not open', t => {
  const sealed = ring.seal('connection', stamp, Buffer.from('a private key'))
  t.is(ring.open('tokens/1', sealed).kind, 'damaged')
  const parts: unknown[] = JSON.parse(sealed.toString())
  for (const [at, value] of [
    [2, 4],
    [3, 13],
  ] as const) {
    t.is(ring.open('connection', Buffer.from(JSON.stringify(parts.with(at, value)))).kind, 'damaged')
  }
})

test('another cluster with the same secret, or another secret, does not open it', t => {
  const sealed = ring.seal('connection', stamp, Buffer.from('a private key'))
  t.is(createKeyring({ cluster: 'other', secrets }).open('connection', sealed).kind, 'foreign')
  t.is(createKeyring({ cluster: 'test', secrets: [randomBytes(32)] }).open('connection', sealed).kind, 'foreign')
})

test('nothing of the content shows, and the same content twice is not the same', t => {
  const [one, other] = [0, 1].map(() => ring.seal('connection', stamp, Buffer.from('a private key')).toString())
  t.not(one, other)
  t.false(one?.includes('private'))
  t.false(ring.nameOf('["p",1,["web"],null]').includes('web'))
  t.is(ring.nameOf('a'), ring.nameOf('a'))
  t.not(ring.nameOf('a'), ring.nameOf('b'))
})

test('with a new secret beside the former one both open, and the preferred one seals', t => {
  const [former, next] = [randomBytes(32), randomBytes(32)]
  const old = createKeyring({ cluster: 'test', secrets: [former] })
  let preferred: string | undefined
  const both = createKeyring({ cluster: 'test', secrets: [next, former], preferred: () => preferred })
  t.is(both.open('k', old.seal('k', stamp, Buffer.from('x'))).kind, 'opened')
  t.is(old.open('k', both.seal('k', stamp, Buffer.from('x'))).kind, 'foreign')
  t.not(both.nameOf('a'), old.nameOf('a'))
  preferred = old.secrets[0]
  t.is(old.open('k', both.seal('k', stamp, Buffer.from('x'))).kind, 'opened')
  t.is(both.nameOf('a'), old.nameOf('a'), 'names are given by the secret that seals')
  preferred = 'the mark of none'
  t.is(old.open('k', both.seal('k', stamp, Buffer.from('x'))).kind, 'foreign')
  t.throws(() => createKeyring({ cluster: 'test', secrets: [] }), { instanceOf: RangeError })
})
