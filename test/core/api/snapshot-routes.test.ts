// Snapshots and recovery keys on admin.sock: what is for root and the daemon's own user alone, and what a request has to say to force.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Engine } from '../../../src/core/engine.ts'
import type { RestoreOptions } from '../../../src/core/snapshot/snapshots.ts'
import { createApiRig } from '../../support/api-rig.ts'
import { settle } from '../../support/fakes.ts'
import { peerOf } from '../../support/operations-rig.ts'

const RECIPIENT = `age1${'q'.repeat(58)}`
const JSON_TYPE = 'content-type: application/json'
/** The uid of the rig's daemon. */
const OWN = 990

const setUp = async (t: Parameters<typeof createApiRig>[0]) => {
  const now = {
    uid: 0,
    recipients: [RECIPIENT] as string[],
    isWaiting: false,
    state: 'connected',
    adopt: async (): Promise<void> => {},
  }
  const added: string[] = []
  const wishes: RestoreOptions[] = []
  const exports: unknown[] = []
  const operations = {
    recovery: {
      recipients: () => now.recipients,
      signer: () => ({ publicKey: 'signer' }),
      add: async (recipient: string) => void added.push(recipient),
    },
    snapshots: {
      exportsWaiting: () => now.isWaiting,
      export: async (wish: unknown) => (exports.push(wish), Buffer.from('bundle')),
      adopt: () => now.adopt(),
    },
    status: { standing: () => ({ state: now.state, meaning: '', next: '' }), reasonsNotReady: () => [] },
    noteRequest() {},
  } as unknown as Engine
  const rig = await createApiRig(t, {
    socket: 'admin',
    peer: () => peerOf(now.uid),
    operations,
    backend: {
      readIdentities: async () => [],
      restore: async (_, wish) => (wishes.push(wish), { outcome: 'restored', header: {} as never, warnings: [] }),
    },
  })
  return { ...rig, now, added, wishes, exports }
}

test('a recovery key is added by root and by the user of the daemon, and by no other member of the group', async t => {
  const { ask, now, added } = await setUp(t)
  const add = () => ask('POST /v1/recovery-keys', [JSON_TYPE], JSON.stringify({ recipient: RECIPIENT }))
  now.uid = 1000
  const refused = await add()
  t.is(refused.status, 403)
  t.regex(refused.text, /urn:ghconnect:problem:not-permitted/)
  t.deepEqual(added, [])
  for (const uid of [0, OWN]) {
    now.uid = uid
    t.is((await add()).status, 200, `uid ${uid}`)
  }
  t.is(added.length, 2)
})

test('a bundle in clear leaves to root and to the user of the daemon; one that is sealed to whoever may ask', async t => {
  const { ask, now, exports } = await setUp(t)
  const take = async () => (await ask('POST /v1/snapshots')).status
  now.uid = 1000
  t.is(await take(), 200, 'there is a recovery key')
  now.recipients = []
  t.is(await take(), 403)
  now.isWaiting = true
  t.is(await take(), 200, 'the sealed bundle that waits is what leaves')
  now.isWaiting = false
  for (const uid of [0, OWN]) {
    now.uid = uid
    t.is(await take(), 200, `uid ${uid}`)
  }
  t.is(exports.length, 4)
})

test('the configuration leaves with a bundle where the request says so, and not where it says that it does not', async t => {
  const { ask, exports } = await setUp(t)
  for (const query of ['', '?config=false', '?config=true'])
    t.is((await ask(`POST /v1/snapshots${query}`)).status, 200, query)
  t.deepEqual(exports, [{ withConfig: false }, { withConfig: false }, { withConfig: true }])
})

test('an adopt is answered when it is done: with the state that it led to, or with why it failed', async t => {
  const { ask, now } = await setUp(t)
  now.state = 'quarantined'
  now.adopt = async () => {
    await settle()
    now.state = 'connected'
  }
  const adopted = await ask('POST /v1/adopt')
  t.is(adopted.status, 200)
  t.is(JSON.parse(adopted.text).state, 'connected')
  now.adopt = async () => {
    await settle()
    throw new Failure('io', 'the disk is gone')
  }
  t.regex((await ask('POST /v1/adopt')).text, /urn:ghconnect:problem:io/)
})

test('a restore is forced where the request says so, and not where it says that it is not', async t => {
  const { ask, wishes } = await setUp(t)
  const bundle = Buffer.from('bundle').toString('base64')
  for (const force of [undefined, false, true]) {
    const body = JSON.stringify({ bundle, ...(force !== undefined && { force }) })
    t.is((await ask('POST /v1/snapshots/restore', [JSON_TYPE], body)).status, 200)
  }
  t.deepEqual(
    wishes.map(({ force }) => force),
    [false, false, true],
  )
})
