import test from 'ava'
import fc from 'fast-check'
import { type Entry, pack, roomFor, unpack } from '../../../src/core/snapshot/archive.ts'

const content = fc.oneof(fc.uint8Array({ maxLength: 2000 }), fc.uint8Array({ minLength: 510, maxLength: 514 }))

const roomy = (bytes: Uint8Array): Buffer => {
  const room = roomFor(bytes.length)
  // What was there before must not show.
  Buffer.from(room.buffer).fill(0xaa)
  room.set(bytes)
  return room
}

test('an archive that is written around its large file is the one that is copied together', t => {
  fc.assert(
    fc.property(fc.array(content, { minLength: 1, maxLength: 6 }), fc.nat(), (contents, pick) => {
      const chosen = pick % contents.length
      const copied = contents.map((bytes, at) => ({ name: `file-${at}`, bytes }))
      const around = copied.map((entry, at) =>
        at === chosen ? { ...entry, bytes: roomy(entry.bytes), isRoomy: true } : entry,
      )
      const archive = pack(around)
      t.true(archive.buffer === around[chosen]?.bytes.buffer)
      t.deepEqual(archive, pack(copied))
      t.deepEqual(
        [...unpack(archive, 'the archive', () => 4096)].map(({ bytes }) => Buffer.from(bytes)),
        contents.map(bytes => Buffer.from(bytes)),
      )
    }),
  )
})

test('a large file with too little room for the others, on whichever side they are, is copied, and stays as it was', t => {
  const other = { name: 'other', bytes: Buffer.alloc(200 * 1024, 1) }
  const plain = { name: 'large', bytes: Buffer.from('large') }
  for (const arrange of [
    (large: Entry) => [other, large],
    (large: Entry) => [large, other],
    (large: Entry) => [{ ...other, name: 'before' }, large, other],
  ]) {
    const large = roomy(plain.bytes)
    const archive = pack(arrange({ ...plain, bytes: large, isRoomy: true }))
    t.not(archive.buffer, large.buffer)
    t.is(large.toString(), 'large')
    t.deepEqual(archive, pack(arrange(plain)))
  }
})

test('an archive in its room can itself be packed around', t => {
  const inner = pack([{ name: 'token.json', bytes: roomy(Buffer.from('tokens')), isRoomy: true }])
  const outer = pack([
    { name: 'header.json', bytes: Buffer.from('{}') },
    { name: 'payload.tar', bytes: inner, isRoomy: true },
  ])
  t.is(outer.buffer, inner.buffer)
  const [, payload] = unpack(outer, 'the archive', () => 4096)
  t.deepEqual(
    [...unpack(payload?.bytes ?? Buffer.alloc(0), 'the payload', () => 64)].map(e => e.bytes.toString()),
    ['tokens'],
  )
})
