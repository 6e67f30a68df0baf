// Tars that someone made on purpose: each is refused as corrupt, for a reason that is named, at both levels of a bundle.

import { gzipSync, zstdCompressSync } from 'node:zlib'
import test from 'ava'
import * as fc from 'fast-check'
import { asFailure, type Failure } from '../../../src/protocol/errors.ts'
import { MAX_BUNDLE_BYTES, openBundle, readHeader, writeBundle } from '../../../src/core/snapshot/bundle.ts'
import {
  DISCONNECTED,
  entriesOf,
  entryOf,
  failureOf,
  LIVE,
  mendChecksum,
  optionsFor,
  type RawEntry,
  RECOVERY,
  rawTar,
  shown,
  signedBundle,
} from './samples.ts'

const OUTER = await writeBundle(DISCONNECTED, optionsFor([]))
const INNER = entryOf(OUTER, 'payload.tar')
const LIVE_INNER = entryOf(await writeBundle(LIVE, optionsFor([])), 'payload.tar')

const LEVELS: [string, Uint8Array, (tar: Uint8Array) => Promise<unknown>][] = [
  ['the bundle', OUTER, tar => openBundle(tar)],
  ['the payload', INNER, tar => openBundle(signedBundle(tar))],
]

/** A byte each of mode, owner, group, time, owner's name, group's name, device, and behind all fields. */
const OPEN_TO_SPELLING = [102, 110, 118, 140, 265, 297, 330, 505]

/** Changes one entry, or puts others around it. */
const replaceAt = (tar: Uint8Array, at: number, make: (entry: RawEntry) => readonly RawEntry[]): Buffer =>
  rawTar(entriesOf(tar).flatMap((entry, index) => (index === at ? make(entry) : [entry])))

const renamed = (name: string) => (entry: RawEntry) => [{ ...entry, name }]

const HOSTILE: [string, (entry: RawEntry) => readonly RawEntry[], RegExp][] = [
  ['a path upwards', entry => [{ ...entry, name: `../${entry.name}` }], /"\.\.\/.*no place/],
  ['an absolute path', entry => [{ ...entry, name: `/${entry.name}` }], /"\/.*no place/],
  ['a path that leads back', entry => [{ ...entry, name: `./${entry.name}` }], /no place/],
  ['a prefix', entry => [{ ...entry, prefix: '../../etc' }], /"\.\.\/\.\.\/etc\/.*no place/],
  ['another name', renamed('other.json'), /"other\.json", which has no place/],
  ['a name in capitals', entry => [{ ...entry, name: entry.name.toUpperCase() }], /no place/],
  ['an empty name', renamed(''), /"", which has no place/],
  ['a name that steers a terminal', renamed('\u001b[2J\u001b[31m'), /"\?\[2J\?\[31m"/],
  ['a name that is read from right to left', renamed('\u202egnp\u009b2J.\u0007'), /"\?gnp\?2J\.\?"/],
  ['a name of an object', renamed('__proto__'), /no place/],
  ['the name of a method', renamed('constructor'), /no place/],
  ['a symbolic link', entry => [{ ...entry, type: '2', link: '/etc/passwd', bytes: '' }], /SymbolicLink/],
  ['a hard link', entry => [{ ...entry, type: '1', link: 'header.json', bytes: '' }], /no plain file but Link/],
  ['a file that links', entry => [{ ...entry, link: '/etc/passwd' }], /links elsewhere/],
  ['a folder', entry => [{ ...entry, type: '5', bytes: '' }], /Directory/],
  ['a folder by its name', entry => [{ name: `${entry.name}/` }], /Directory/],
  ['a device', entry => [{ ...entry, type: '3', bytes: '' }], /CharacterDevice/],
  ['a pipe', entry => [{ ...entry, type: '6', bytes: '' }], /FIFO/],
  ['a contiguous file', entry => [{ ...entry, type: '7' }], /ContiguousFile/],
  ['a sparse file', entry => [{ ...entry, type: 'S' }], /no plain file/],
  ['an unknown type', entry => [{ ...entry, type: 'Z' }], /no plain file/],
  ['an entry twice', entry => [entry, entry], /twice/],
  [
    'a GNU long name',
    entry => [{ name: '././@LongLink', type: 'L', bytes: `${entry.name}\0` }, entry],
    /NextFileHasLongPath/,
  ],
  ['a GNU long link', entry => [{ name: '././@LongLink', type: 'K', bytes: 'x\0' }, entry], /NextFileHasLongLinkpath/],
  ['a PAX header', entry => [{ name: 'PaxHeader', type: 'x', bytes: '13 path=evil\n' }, entry], /ExtendedHeader/],
  [
    'a global PAX header',
    entry => [{ name: 'pax_global', type: 'g', bytes: '11 size=999\n' }, entry],
    /GlobalExtendedHeader/,
  ],
  ['a size beyond the limit', entry => [{ ...entry, size: '77777777777\0' }], /bytes, \d+ are the most/],
  ['a size in base 256', entry => [{ ...entry, size: `\x80${'\0'.repeat(10)}\x05` }], /size of .* spelled wrongly/],
  [
    'a size that is too large for a number',
    entry => [{ ...entry, size: `\x80${'\xff'.repeat(11)}` }],
    /no plain tar, or damaged/,
  ],
  ['a negative size', entry => [{ ...entry, size: '\xff'.repeat(12) }], /size of .* spelled wrongly/],
  ['a size with a sign', entry => [{ ...entry, size: '-0000000005\0' }], /size of .* spelled wrongly/],
  ['a size with junk', entry => [{ ...entry, size: '0000000005x\0' }], /size of .* spelled wrongly/],
  ['no size', entry => [{ ...entry, size: '\0'.repeat(12) }], /size of .* spelled wrongly/],
  ['nothing in its place', () => [], /./],
  ['something after it', entry => [entry, { name: 'extra.txt', bytes: 'x' }], /"extra\.txt", which has no place/],
]

for (const [level, tar, open] of LEVELS) {
  const refused = async (bytes: Uint8Array): Promise<Failure | undefined> => failureOf(() => open(bytes))

  test(`${level} opens only as it was written, whatever other spellings of a tar there are`, async t => {
    t.deepEqual(shown(await open(rawTar(entriesOf(tar)))), DISCONNECTED)
    t.regex((await refused(rawTar(entriesOf(tar), Buffer.alloc(10_240))))?.message ?? '', /goes on after its end/)
    // Before POSIX a plain file had no type.
    const old = rawTar(entriesOf(tar).map(entry => ({ ...entry, type: '\0' })))
    t.regex((await refused(old))?.message ?? '', /not as ghconnectd writes it/)
    for (const at of OPEN_TO_SPELLING) {
      const bytes = rawTar(entriesOf(tar))
      bytes[at] = (bytes[at] ?? 0) ^ 1
      mendChecksum(bytes)
      t.regex((await refused(bytes))?.message ?? '', /not as ghconnectd writes it/, `byte ${at}`)
    }
    const blanks = rawTar(entriesOf(tar))
    blanks.write('\0 ', 154)
    t.regex((await refused(blanks))?.message ?? '', /not as ghconnectd writes it/)
  })

  for (const [name, make, expected] of HOSTILE) {
    test(`${level} with ${name} is refused`, async t => {
      for (const at of entriesOf(tar).keys()) {
        const failure = await refused(replaceAt(tar, at, make))
        t.is(failure?.code, 'bundle-corrupt')
        t.regex(failure?.message ?? '', expected)
      }
    })
  }

  test(`${level} in another order is refused`, async t => {
    const [first, second, third] = entriesOf(tar)
    t.truthy(first && second && third)
    for (const entries of [
      [second, first, third],
      [first, third, second],
      [third, second, first],
    ]) {
      const failure = await refused(rawTar(entries.filter(entry => entry !== undefined)))
      t.is(failure?.code, 'bundle-corrupt')
      t.regex(failure?.message ?? '', /begin with|in this order|lists other files/)
    }
  })

  test(`${level} that goes on after its end, or ends in the middle of a block, is refused`, async t => {
    const entries = entriesOf(tar)
    const late = Buffer.alloc(2048)
    late[2047] = 1
    const second = Buffer.concat([Buffer.alloc(1024), rawTar(entries)])
    for (const tail of [late, second, Buffer.alloc(512), Buffer.alloc(1025), Buffer.alloc(0)]) {
      t.is((await refused(rawTar(entries, tail)))?.code, 'bundle-corrupt', `${tail.length}`)
    }
    t.regex((await refused(rawTar(entries, late)))?.message ?? '', /goes on after its end/)
  })

  test(`${level} with bytes hidden behind a file is refused`, async t => {
    const bytes = rawTar(entriesOf(tar))
    const size = entriesOf(tar)[0]?.bytes.length ?? 0
    bytes[512 + size] = 1
    const failure = await refused(bytes)
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', /hides bytes/)
  })

  test(`${level} that is compressed is refused, and nothing is decompressed`, async t => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024))
    t.true(bomb.length < 100_000)
    for (const bytes of [gzipSync(tar), zstdCompressSync(tar), bomb]) {
      const failure = await refused(bytes)
      t.is(failure?.code, 'bundle-corrupt')
      t.regex(failure?.message ?? '', /no plain tar|cut short/)
    }
  })

  test(`${level} in which any block of a header is any bytes never ends in another error`, async t => {
    await fc.assert(
      fc.asyncProperty(fc.nat(511), fc.uint8Array({ minLength: 1, maxLength: 60 }), async (offset, junk) => {
        const bytes = rawTar(entriesOf(tar))
        bytes.set(junk.subarray(0, 512 - offset), offset)
        mendChecksum(bytes)
        try {
          t.deepEqual(shown(await open(bytes)), DISCONNECTED)
        } catch (error) {
          t.is(asFailure(error).code, 'bundle-corrupt')
        }
      }),
      { numRuns: 300 },
    )
  })
}

test('bytes that are no bundle at all are refused', async t => {
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(), /empty/],
    [Buffer.from('-----BEGIN PRIVATE KEY-----'), /cut short/],
    [Buffer.alloc(1024), /does not begin with header\.json/],
    [Buffer.alloc(1024, 'x'), /no plain tar/],
    [Buffer.alloc(MAX_BUNDLE_BYTES + 1), /more than/],
    [INNER, /"inventory\.json", which has no place/],
  ]
  for (const [bytes, expected] of cases) {
    const failure = await failureOf(() => readHeader(bytes))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', expected)
  }
})

test('any bytes are refused', async t => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async bytes => {
      t.is((await failureOf(() => openBundle(bytes, [RECOVERY.identity])))?.code, 'bundle-corrupt')
    }),
  )
})

test('keys are numbered from 1 to 25, without gaps', async t => {
  const names = [
    'private-key-0.pem',
    'private-key-01.pem',
    'private-key-26.pem',
    'private-key-100.pem',
    'private-key-x.pem',
  ]
  for (const name of names) {
    const failure = await failureOf(() => openBundle(signedBundle(replaceAt(LIVE_INNER, 2, renamed(name)))))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', /no place/)
  }
  const gap = await failureOf(() => openBundle(signedBundle(replaceAt(LIVE_INNER, 3, renamed('private-key-3.pem')))))
  t.regex(gap?.message ?? '', /lists other files/)
})

test('files that are not as the inventory describes them are refused', async t => {
  for (const at of entriesOf(LIVE_INNER).keys()) {
    const change = (entry: RawEntry) => [{ ...entry, bytes: `${Buffer.from(entry.bytes ?? '').toString()} ` }]
    const failure = await failureOf(() => openBundle(signedBundle(replaceAt(LIVE_INNER, at, change))))
    // The inventory itself may have blanks at its end; then it is the header that tells another connection.
    t.regex(failure?.message ?? '', at === 0 ? /different connections/ : /not as inventory\.json describes it/)
    t.is(failure?.code, 'bundle-corrupt')
  }
})
