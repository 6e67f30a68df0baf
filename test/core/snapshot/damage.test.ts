// Each byte of a bundle cut off and each byte changed: never another content, never an error without a name.

import { isDeepStrictEqual } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { asFailure } from '../../../src/protocol/errors.ts'
import { openBundle, readHeader, writeBundle } from '../../../src/core/snapshot/bundle.ts'
import type { BundleContent } from '../../../src/core/snapshot/content.ts'
import { DISCONNECTED, entryOf, LIVE, optionsFor, RECOVERY, shown, signedBundle } from './samples.ts'

const ALLOWED = new Set(['bundle-corrupt', 'bundle-newer', 'bundle-wrong-identity'])

/** What the damaged bytes end in: a code, or `same` where they were read as the same content. */
const outcome = async (bytes: Uint8Array, content: unknown): Promise<string> => {
  try {
    const opened = shown(await openBundle(bytes, [RECOVERY.identity]))
    return isDeepStrictEqual(opened, content) ? 'same' : 'other content'
  } catch (error) {
    return asFailure(error).code
  }
}

const flip = (bytes: Uint8Array, at: number, mask: number): Uint8Array => {
  const flipped = Uint8Array.from(bytes)
  flipped[at] = (flipped[at] ?? 0) ^ mask
  return flipped
}

const tally = async (
  t: ExecutionContext,
  size: number,
  outcomeAt: (at: number) => Promise<string>,
): Promise<Map<string, number>> => {
  const seen = new Map<string, number>()
  for (let at = 0; at < size; at += 1) {
    const found = await outcomeAt(at)
    if (found !== 'same' && !ALLOWED.has(found)) t.fail(`byte ${at}: ${found}`)
    seen.set(found, (seen.get(found) ?? 0) + 1)
  }
  return seen
}

/** One key, so that there are fewer bytes to go through. */
const SMALL: BundleContent = { ...LIVE, keys: LIVE.keys.slice(0, 1) }

const BUNDLES: [string, BundleContent, string[]][] = [
  ['an encrypted bundle', SMALL, [RECOVERY.recipient]],
  ['a bundle in clear', SMALL, []],
  ['a disconnected bundle', DISCONNECTED, []],
]

for (const [name, content, recipients] of BUNDLES) {
  test(`${name} that is cut short at any byte is corrupt`, async t => {
    const bundle = await writeBundle(content, optionsFor(recipients))
    const seen = await tally(t, bundle.length, at => outcome(bundle.subarray(0, at), shown(content)))
    t.deepEqual(seen, new Map([['bundle-corrupt', bundle.length]]))
  })

  test(`${name} with any byte changed is refused`, async t => {
    const bundle = await writeBundle(content, optionsFor(recipients))
    t.is(await outcome(bundle, shown(content)), 'same')
    const seen = await tally(t, bundle.length, at => outcome(flip(bundle, at, 1 << (at % 8)), shown(content)))
    t.is(seen.get('same'), undefined)
    t.true((seen.get('bundle-corrupt') ?? 0) > bundle.length - 5)
  })
}

test('every single bit of the header and of the signature counts', async t => {
  const bundle = await writeBundle(DISCONNECTED, optionsFor([RECOVERY.recipient]))
  const [start, end] = [512, 512 + entryOf(bundle, 'header.json').length]
  const signature = bundle.length - 1024 - entryOf(bundle, 'payload.age').length
  t.true(signature > end)
  for (let at = start; at < end; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      t.true(ALLOWED.has(await outcome(flip(bundle, at, 1 << bit), undefined)), `byte ${at}, bit ${bit}`)
    }
  }
  const at = Buffer.from(bundle).indexOf(entryOf(bundle, 'signature'))
  for (let bit = 0; bit < 64 * 8; bit += 1) {
    t.is(await outcome(flip(bundle, at + (bit >> 3), 1 << (bit & 7)), undefined), 'bundle-corrupt')
  }
})

test('a payload that was changed and signed again is refused by its inventory, or means the same', async t => {
  const payload = entryOf(await writeBundle(DISCONNECTED, optionsFor([])), 'payload.tar')
  t.is(await outcome(signedBundle(payload), DISCONNECTED), 'same')
  await tally(t, payload.length, at => outcome(signedBundle(flip(payload, at, 1 << (at % 8))), DISCONNECTED))
  const cut = await tally(t, payload.length, at => outcome(signedBundle(payload.subarray(0, at)), DISCONNECTED))
  t.deepEqual(cut, new Map([['bundle-corrupt', payload.length]]))
})

test('bytes of a view into a larger buffer are read within its bounds', async t => {
  const bundle = await writeBundle(DISCONNECTED, optionsFor([]))
  const larger = Buffer.concat([Buffer.from('before'), bundle, Buffer.from('after')])
  const view = new Uint8Array(larger.buffer, larger.byteOffset + 6, bundle.length)
  t.deepEqual(await openBundle(view), DISCONNECTED)
  t.is(readHeader(view).state, 'disconnected')
})
