// Numbers and addresses out of their bounds, in a bundle that is rightly signed: refused, whatever they would do later.

import test from 'ava'
import { openBundle, readHeader, writeBundle } from '../../../src/core/snapshot/bundle.ts'
import { forge, forgedBundles } from '../../support/forged-bundles.ts'
import { CONNECTED, DISCONNECTED, failureOf, LIVE, optionsFor } from './samples.ts'

const GOOD = await writeBundle(LIVE, optionsFor([]))

for (const { name, bytes } of forgedBundles(GOOD)) {
  test(`a bundle with ${name} is refused`, async t => {
    const failure = await failureOf(() => openBundle(bytes))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', /is malformed at/)
  })
}

test('the same bundle without a change is read: it is the field that was refused', async t => {
  t.is((await openBundle(forge(GOOD, () => {}))).generation, LIVE.generation)
})

test('times from a clock that began in 1970 are read: such a machine needs its backup, too', async t => {
  const content = { ...LIVE, connection: { ...CONNECTED, sinceMs: 12_000, enabledAtMs: 12_000 } }
  const bundle = await writeBundle(content, optionsFor([], { createdMs: 12_000 }))
  t.deepEqual((await openBundle(bundle)).connection, content.connection)
})

test('a bundle is written, and read, whatever the clock says', async t => {
  for (const createdMs of [-5, 0, Date.UTC(2500, 0), 8.64e15]) {
    const bundle = await writeBundle(DISCONNECTED, optionsFor([], { createdMs }))
    t.regex(readHeader(bundle).created, /^2[02][02]0-01-01T00:00:00\.000Z$/)
  }
})
