// A restore over a store that is beyond help: what does not open is set aside whole, once the bundle is proven; else nothing is touched.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { makeWay } from '../../src/core/salvage.ts'
import { writeBundle } from '../../src/core/snapshot/bundle.ts'
import { LIVE as LIVE_ANYWHERE, optionsFor, OTHER_RECOVERY, RECOVERY, SIGNER } from './snapshot/samples.ts'
import { digestsUnder, STORE_KEY } from './store/samples.ts'
import { createFakeLog, failureOf, START_MS } from '../support/fakes.ts'
import { createPlace } from '../support/place.ts'

const CORRUPT = new Failure('store-corrupt', 'a page is damaged')
const ASIDE = '.aside-20260501T120000Z'
const GITHUB = { url: 'https://github.com', apiUrl: 'https://api.github.com' }
const LIVE = { ...LIVE_ANYWHERE, settings: { github_url: GITHUB.url, api_url: GITHUB.apiUrl } }

const sceneOf = (t: Parameters<typeof createPlace>[0]) => {
  const place = createPlace(t)
  place.keep()
  const log = createFakeLog()
  const deps = {
    state: place.state,
    storeKey: STORE_KEY,
    trusted: [] as readonly string[],
    github: GITHUB,
    nowMs: START_MS,
    log,
  }
  const damageStore = () => place.damage(join(place.state, 'store', String(place.numbers().at(-1)), 'store.db'))
  return { ...place, deps, log, damageStore }
}
const FORCED = { identities: [], force: true }
const asked = { identities: [], force: false }

test('what does not open gets another name, and what opens stays', async t => {
  const { state, deps, log, damageStore } = sceneOf(t)
  damageStore()
  const before = digestsUnder(join(state, 'store'))
  const bundle = await writeBundle(LIVE, optionsFor([]))
  await makeWay(CORRUPT, { bundle, wish: asked }, { ...deps, trusted: [SIGNER.publicKey] })
  t.false(existsSync(join(state, 'store')))
  t.deepEqual(digestsUnder(join(state, `store${ASIDE}`)), before, 'nothing is removed')
  t.true(existsSync(join(state, 'audit.db')))
  t.deepEqual(
    log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields?.['path']),
    [join(state, `store${ASIDE}`)],
  )
})

test('a log whose key is lost is set aside with its key, beside the store', async t => {
  const { state, deps } = sceneOf(t)
  const bundle = await writeBundle(LIVE, optionsFor([]))
  const wrong = new Failure('wrong-store-key', 'another key')
  await makeWay(wrong, { bundle, wish: FORCED }, { ...deps, storeKey: Buffer.alloc(32, 9) })
  const names = readdirSync(state)
  for (const name of ['store', 'audit.db', 'audit.key']) {
    t.true(names.includes(name + ASIDE), name)
    t.false(names.includes(name), name)
  }
})

test('a store that is mended otherwise stays as it is', async t => {
  const { state, deps } = sceneOf(t)
  const before = digestsUnder(state)
  const bundle = await writeBundle(LIVE, optionsFor([]))
  for (const code of ['locked', 'store-newer', 'disk-full', 'io'] as const) {
    const closed = new Failure(code, 'closed')
    t.is(await failureOf(makeWay(closed, { bundle, wish: FORCED }, deps)), closed, code)
  }
  t.deepEqual(digestsUnder(state), before)
})

test('a bundle that would not be restored makes no way', async t => {
  const { state, deps, damageStore } = sceneOf(t)
  damageStore()
  const before = digestsUnder(state)
  const trusting = { ...deps, trusted: [SIGNER.publicKey] }
  const plain = await writeBundle(LIVE, optionsFor([]))
  const untrusted = await failureOf(makeWay(CORRUPT, { bundle: plain, wish: asked }, deps))
  t.is(untrusted.code, 'bundle-untrusted')
  t.true(untrusted.message.includes(SIGNER.publicKey))
  t.true(untrusted.message.endsWith('a page is damaged'))
  const sealed = await writeBundle(LIVE, optionsFor([RECOVERY.recipient]))
  for (const [identities, code] of [
    [[OTHER_RECOVERY.identity], 'bundle-wrong-identity'],
    [[], 'bundle-sealed'],
  ] as const) {
    const refused = await failureOf(makeWay(CORRUPT, { bundle: sealed, wish: { identities, force: false } }, trusting))
    t.is(refused.code, code)
  }
  const settings = { github_url: 'https://octo.ghe.com', api_url: 'https://api.octo.ghe.com' }
  const elsewhere = await writeBundle({ ...LIVE, settings }, optionsFor([]))
  t.is((await failureOf(makeWay(CORRUPT, { bundle: elsewhere, wish: asked }, trusting))).code, 'bundle-other-github')
  const broken = Buffer.from(plain)
  broken[broken.length - 2000] = (broken[broken.length - 2000] ?? 0) ^ 1
  t.is((await failureOf(makeWay(CORRUPT, { bundle: broken, wish: FORCED }, trusting))).code, 'bundle-corrupt')
  t.deepEqual(digestsUnder(state), before)
})
