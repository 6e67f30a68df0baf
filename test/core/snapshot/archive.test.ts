// The tar: what is packed is what is unpacked, whatever the sizes.

import test from 'ava'
import fc from 'fast-check'
import { pack, unpack } from '../../../src/core/snapshot/archive.ts'

const content = fc.oneof(fc.uint8Array({ maxLength: 2000 }), fc.uint8Array({ minLength: 510, maxLength: 514 }))

test('files come back as they were, in their order, and from within a larger buffer', t => {
  fc.assert(
    fc.property(fc.array(content, { maxLength: 6 }), contents => {
      const files = contents.map((bytes, at) => ({ name: `file-${at}`, bytes: Buffer.from(bytes) }))
      const archive = pack(files)
      t.is(archive.length % 512, 0)
      t.deepEqual([...unpack(archive, 'the archive', () => 4096)], files)
      const larger = Buffer.concat([Buffer.from('before'), archive, Buffer.from('after')])
      t.deepEqual([...unpack(larger.subarray(6, -5), 'the archive', () => 4096)], files)
    }),
  )
})

test('an archive may be a file of another one', t => {
  const inner = pack([{ name: 'token.json', bytes: Buffer.from('tokens') }])
  const outer = pack([
    { name: 'header.json', bytes: Buffer.from('{}') },
    { name: 'payload.tar', bytes: inner },
  ])
  const [, payload] = unpack(outer, 'the archive', () => 4096)
  t.deepEqual(
    [...unpack(payload?.bytes ?? Buffer.alloc(0), 'the payload', () => 64)].map(({ bytes }) => bytes.toString()),
    ['tokens'],
  )
})
