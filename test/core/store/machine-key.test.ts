// Where the store key comes from: which one counts, and who may read it.

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { actAs } from '../../../src/service/process.ts'
import { storeKeyOf, storeKeyWithoutDaemon } from '../../../src/core/store/machine-key.ts'
import { RECOVERY } from '../snapshot/samples.ts'
import { STORE_KEY } from './samples.ts'
import { codeOf, thrownBy } from '../../support/fakes.ts'
import { createPlace, OTHER_KEY } from '../../support/place.ts'

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
