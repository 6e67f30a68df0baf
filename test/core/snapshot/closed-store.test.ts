// A store that cannot be opened: a recovery key opens it where its key was lost; a restore sets aside what does not open, once the bundle is proven.

import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { setAsideClosed, unlockByRecoveryKey } from '../../../src/core/snapshot/closed-store.ts'
import { storeKeyOf } from '../../../src/core/store/machine-key.ts'
import { writeBundle } from '../../../src/core/snapshot/bundle.ts'
import { LIVE as LIVE_ANYWHERE, optionsFor, OTHER_RECOVERY, RECOVERY, SIGNER } from './samples.ts'
import { digestsUnder, silentLog, STORE_KEY } from '../store/samples.ts'
import { codeOf, createFakeClock, createFakeLog, failureOf } from '../../support/fakes.ts'
import { createPlace, LIVE_HERE, OTHER_KEY, type Place } from '../../support/place.ts'

const CORRUPT = new Failure('store-corrupt', 'a page is damaged')
const ASIDE = '.aside-20260501T120000Z'
const GITHUB = { url: 'https://github.com', apiUrl: 'https://api.github.com' }
const LIVE = { ...LIVE_ANYWHERE, settings: { github_url: GITHUB.url, api_url: GITHUB.apiUrl } }

const sceneOf = (t: Parameters<typeof createPlace>[0]) => {
  const place = createPlace(t)
  place.keep()
  const log = createFakeLog()
  const deps = { config: place.config, storeKey: STORE_KEY, clock: createFakeClock(), log }
  const trusting = {
    ...deps,
    config: { ...place.config, snapshot: { ...place.config.snapshot, trusted: [SIGNER.publicKey] } },
  }
  const damageStore = () => place.damage(join(place.state, 'store', String(place.numbers().at(-1)), 'store.db'))
  return { ...place, deps, trusting, log, damageStore }
}
const FORCED = { identities: [], force: true }
const asked = { identities: [], force: false }

test('what does not open gets another name, and what opens stays', async t => {
  const { state, trusting, log, damageStore } = sceneOf(t)
  damageStore()
  const before = digestsUnder(join(state, 'store'))
  const bundle = await writeBundle(LIVE, optionsFor([]))
  await setAsideClosed(CORRUPT, { bundle, options: asked }, trusting)
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
  await setAsideClosed(wrong, { bundle, options: FORCED }, { ...deps, storeKey: Buffer.alloc(32, 9) })
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
    t.is(await failureOf(setAsideClosed(closed, { bundle, options: FORCED }, deps)), closed, code)
  }
  t.deepEqual(digestsUnder(state), before)
})

test('a bundle that would not be restored makes no way', async t => {
  const { state, deps, trusting, damageStore } = sceneOf(t)
  damageStore()
  const before = digestsUnder(state)
  const plain = await writeBundle(LIVE, optionsFor([]))
  const untrusted = await failureOf(setAsideClosed(CORRUPT, { bundle: plain, options: asked }, deps))
  t.is(untrusted.code, 'bundle-untrusted')
  t.true(untrusted.message.includes(SIGNER.publicKey))
  t.true(untrusted.message.endsWith('a page is damaged'))
  const sealed = await writeBundle(LIVE, optionsFor([RECOVERY.recipient]))
  for (const [identities, code] of [
    [[OTHER_RECOVERY.identity], 'bundle-wrong-identity'],
    [[], 'bundle-sealed'],
  ] as const) {
    const refused = await failureOf(
      setAsideClosed(CORRUPT, { bundle: sealed, options: { identities, force: false } }, trusting),
    )
    t.is(refused.code, code)
  }
  const settings = { github_url: 'https://octo.ghe.com', api_url: 'https://api.octo.ghe.com' }
  const elsewhere = await writeBundle({ ...LIVE, settings }, optionsFor([]))
  t.is(
    (await failureOf(setAsideClosed(CORRUPT, { bundle: elsewhere, options: asked }, trusting))).code,
    'bundle-other-github',
  )
  const broken = Buffer.from(plain)
  broken[broken.length - 2000] = (broken[broken.length - 2000] ?? 0) ^ 1
  t.is((await failureOf(setAsideClosed(CORRUPT, { bundle: broken, options: FORCED }, trusting))).code, 'bundle-corrupt')
  t.deepEqual(digestsUnder(state), before)
})

/** Under the store key that the machine gives now. */
const unlock = async ({ config, env }: Place, ...identities: (typeof RECOVERY)['identity'][]): Promise<void> =>
  unlockByRecoveryKey(identities, { config, storeKey: storeKeyOf(config, env), log: silentLog })

test('a recovery key opens store and log, and both are under the new store key alone from then on', async t => {
  const place = createPlace(t)
  const { onStore, onAudit } = place
  place.keep({ connection: LIVE_HERE, facts: { kept: 7 } })
  await place.wrap(RECOVERY.recipient)
  place.loseKey()
  await unlock(place, OTHER_RECOVERY.identity, RECOVERY.identity)
  onStore(store => {
    t.deepEqual(store.connection.read().connection, LIVE_HERE)
    t.is(store.facts.find('kept'), 7)
  }, OTHER_KEY)
  t.deepEqual(
    onAudit(audit => audit.list({ limit: 9 }), OTHER_KEY).map(({ event }) => event),
    ['before'],
  )
  t.is(
    codeOf(() => onStore(() => {})),
    'wrong-store-key',
  )
  t.is(
    codeOf(() => onAudit(() => {})),
    'wrong-store-key',
  )
})

test('the store key that the caller had already is the one that counts', async t => {
  const place = createPlace(t)
  place.keep()
  await place.wrap(RECOVERY.recipient)
  const storeKey = Buffer.alloc(32, 3)
  await unlockByRecoveryKey([RECOVERY.identity], { config: place.config, storeKey, log: silentLog })
  t.is(
    place.onStore(store => store.connection.read().connection.kind, storeKey),
    'connected',
  )
})

test('what does not open the store changes nothing', async t => {
  const place = createPlace(t)
  const { state } = place
  place.keep()
  const absent = await failureOf(unlock(place, RECOVERY.identity))
  t.is(absent.code, 'locked')
  t.regex(absent.next, /Bring back the key that the store was made with, or restore a snapshot/)
  await place.wrap(RECOVERY.recipient)
  const before = digestsUnder(state)
  t.is((await failureOf(unlock(place, OTHER_RECOVERY.identity))).code, 'bundle-wrong-identity')
  t.deepEqual(digestsUnder(state), before)
  for (const change of [(text: string) => text.replace(/"audit":"../, '"audit":"'), () => '{}']) {
    await place.wrap(RECOVERY.recipient, change)
    place.loseKey()
    const damaged = await failureOf(unlock(place, RECOVERY.identity))
    t.is(damaged.code, 'store-corrupt')
    t.is(damaged.message, 'key.age holds no keys')
    writeFileSync(place.key, STORE_KEY)
    t.is(
      place.onStore(store => store.connection.read().connection.kind),
      'connected',
    )
  }
})

test('where the store cannot be opened though its log could, the recovery key opens both again', async t => {
  const place = createPlace(t)
  const { state } = place
  place.keep()
  await place.wrap(RECOVERY.recipient)
  place.loseKey()
  const current = join(state, 'store', String(place.numbers().at(-1)))
  const whole = place.damage(join(current, 'store.db'))
  t.is((await failureOf(unlock(place, RECOVERY.identity))).code, 'store-corrupt')
  whole()
  await unlock(place, RECOVERY.identity)
  t.is(
    place.onStore(store => store.connection.read().connection.kind, OTHER_KEY),
    'connected',
  )
  t.true(readdirSync(state).includes('audit.key'))
})
