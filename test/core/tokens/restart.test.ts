// The whole way over the real store: enabled, served, stopped, opened again, disabled, and nothing left to read.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { openStore } from '../../../src/core/store/database.ts'
import { createFakeLog } from '../../support/fakes.ts'
import { createPremises, createRig, ORG } from '../../support/operations-rig.ts'

test('a connection and its tokens are there after a restart, and gone after a disable', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-operations-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const open = () => openStore({ folder: join(folder, 'store'), storeKey: Buffer.alloc(32, 9), log: createFakeLog() })
  const premises = createPremises()
  const { world, clock } = premises

  let store = open()
  let rig = createRig(premises, { store })
  const { url } = await rig.enable.begin(ORG)
  await rig.enable.complete({ code: world.submitManifest(ORG), state: url.split('/').at(-1) ?? '', trusted: false })
  const [appId] = [...world.apps.keys()]
  const installation = world.install(appId ?? 0, ORG)
  await clock.advance(3_000)
  t.is(rig.kind(), 'connected')
  const grant = { profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }
  const before = await rig.tokens.obtain(grant)
  rig.tokens.flush()
  rig.kill()
  store.close()

  store = open()
  rig = createRig(premises, { store })
  t.is(rig.kind(), 'connected')
  const mints = world.count('mint')
  t.is((await rig.tokens.obtain(grant)).token.reveal(), before.token.reveal())
  t.is(world.count('mint'), mints)
  await rig.disable.begin({ local: false, wait: false })
  rig.kill()
  store.close()

  store = open()
  t.is(store.connection.read().connection.kind, 'disconnected')
  t.deepEqual(store.connection.read().keys, [])
  t.deepEqual(store.tokens.all(), [])
  t.false(world.isAlive(before.token.reveal()))
  store.close()
})
