// The ways to the store: which key counts, who may read it, and what a recovery key opens where the store key was lost.

import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { actAs } from '../../src/service/owner.ts'
import { storeKeyOf, storeKeyWithoutDaemon, unlockByRecoveryKey } from '../../src/core/unlock.ts'
import { OTHER_RECOVERY, RECOVERY } from './snapshot/samples.ts'
import { digestsUnder, silentLog, STORE_KEY } from './store/samples.ts'
import { codeOf, failureOf, thrownBy } from '../support/fakes.ts'
import { createPlace, LIVE_HERE, OTHER_KEY } from '../support/place.ts'

const log = silentLog

test('a credential of the service manager counts before the key file, and a sealed one only where neither is given', t => {
  const { config, configure, env, folder } = createPlace(t)
  t.deepEqual(storeKeyOf(config, env), STORE_KEY)
  t.deepEqual(storeKeyWithoutDaemon(config, env), STORE_KEY)
  const credentials = join(folder, 'credentials')
  mkdirSync(credentials)
  writeFileSync(join(credentials, 'store.key'), OTHER_KEY)
  const passed = { ...env, CREDENTIALS_DIRECTORY: credentials }
  t.deepEqual(storeKeyOf(config, passed), OTHER_KEY)
  t.deepEqual(storeKeyWithoutDaemon(config, passed), OTHER_KEY)
  // Sealed to another machine: whoever tried it would fail.
  writeFileSync(join(folder, 'sealed', 'store.key'), 'sealed elsewhere')
  t.deepEqual(storeKeyWithoutDaemon(config, env), STORE_KEY)
  const bare = { ...configure(''), store: { keyFile: undefined } }
  t.deepEqual(storeKeyWithoutDaemon(bare, passed), OTHER_KEY)
  t.truthy(codeOf(() => storeKeyWithoutDaemon(bare, env)))
})

test('a store with a recovery key is unlocked by it, and one without is not told to be', async t => {
  const place = createPlace(t)
  const { config, env, key } = place
  place.keep()
  writeFileSync(key, 'short')
  const without = thrownBy(() => storeKeyOf(config, env))
  t.is(without?.code, 'locked')
  t.notRegex(`${without?.message} ${without?.next}`, /ghconnect unlock/)
  t.regex(without?.next ?? '', /ghconnect snapshot restore/)
  writeFileSync(key, STORE_KEY)
  await place.wrap(RECOVERY.recipient)
  writeFileSync(key, 'short')
  t.regex(thrownBy(() => storeKeyOf(config, env))?.message ?? '', /ghconnect unlock --identity FILE/)
})

test.serial('a key file that is closed to the caller is no reason to call the store locked', async t => {
  if (process.getuid?.() !== 0) {
    t.pass('only root can act as another user')
    return
  }
  const { config, env, folder, key } = createPlace(t)
  chmodSync(folder, 0o755)
  await actAs({ uid: 65_534, gid: 65_534 }, async () => {
    const refused = thrownBy(() => storeKeyWithoutDaemon(config, env))
    t.is(refused?.code, 'not-permitted')
    t.is(refused?.message, `${key} is for root and the daemon's user only`)
    t.is(refused?.next, 'Run it with sudo.')
    t.is(
      codeOf(() => storeKeyOf(config, env)),
      'locked',
      'to the daemon it is',
    )
  })
  chmodSync(key, 0o644)
  await actAs({ uid: 65_534, gid: 65_534 }, async () =>
    t.is(
      codeOf(() => storeKeyWithoutDaemon(config, env)),
      'configuration',
      'what is wrong with the file is said',
    ),
  )
})

test('a recovery key opens store and log, and both are under the new store key alone from then on', async t => {
  const place = createPlace(t)
  const { config, env, onStore, onAudit } = place
  place.keep({ connection: LIVE_HERE, facts: { kept: 7 } })
  await place.wrap(RECOVERY.recipient)
  place.loseKey()
  await unlockByRecoveryKey({ config: () => config, env, log }, [OTHER_RECOVERY.identity, RECOVERY.identity])
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
  await unlockByRecoveryKey({ config: () => place.config, env: place.env, log, storeKey }, [RECOVERY.identity])
  t.is(
    place.onStore(store => store.connection.read().connection.kind, storeKey),
    'connected',
  )
})

test('what does not open the store changes nothing', async t => {
  const place = createPlace(t)
  const { config, env, state } = place
  const unlock = (...identities: (typeof RECOVERY)['identity'][]) =>
    failureOf(unlockByRecoveryKey({ config: () => config, env, log }, identities))
  place.keep()
  const absent = await unlock(RECOVERY.identity)
  t.is(absent.code, 'locked')
  t.regex(absent.next, /Bring back the key that the store was made with, or restore a snapshot/)
  await place.wrap(RECOVERY.recipient)
  const before = digestsUnder(state)
  t.is((await unlock(OTHER_RECOVERY.identity)).code, 'bundle-wrong-identity')
  t.deepEqual(digestsUnder(state), before)
  for (const change of [(text: string) => text.replace(/"audit":"../, '"audit":"'), () => '{}']) {
    await place.wrap(RECOVERY.recipient, change)
    place.loseKey()
    const damaged = await unlock(RECOVERY.identity)
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
  const { config, env, state } = place
  place.keep()
  await place.wrap(RECOVERY.recipient)
  place.loseKey()
  const unlock = () => unlockByRecoveryKey({ config: () => config, env, log }, [RECOVERY.identity])
  const current = join(state, 'store', String(place.numbers().at(-1)))
  const whole = place.damage(join(current, 'store.db'))
  t.is((await failureOf(unlock())).code, 'store-corrupt')
  whole()
  await unlock()
  t.is(
    place.onStore(store => store.connection.read().connection.kind, OTHER_KEY),
    'connected',
  )
  t.true(readdirSync(state).includes('audit.key'))
})
