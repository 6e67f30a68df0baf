// What must work while no daemon answers: snapshots out and in, the way to the keys, and changes that call nobody.

import { chmodSync, existsSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Secret } from '../../src/protocol/secret.ts'
import { createOffline } from '../../src/core/offline.ts'
import { actAs } from '../../src/service/process.ts'
import { readPrivateKey } from '../../src/core/github/app-key.ts'
import { openBundle, readHeader, writeBundle } from '../../src/core/snapshot/bundle.ts'
import { LIVE, optionsFor, OTHER_RECOVERY, RECOVERY, SIGNER, TEST_PEM, tokenFor } from './snapshot/samples.ts'
import { digestsUnder, modeOf, STORE_KEY } from './store/samples.ts'
import { failureOf } from '../support/fakes.ts'
import { createPlace, LIVE_HERE, OTHER_KEY, type Place } from '../support/place.ts'

const GITHUB = { github_url: 'https://github.com', api_url: 'https://api.github.com' }
const KEY = { fingerprint: readPrivateKey(TEST_PEM).fingerprint, pem: new Secret(TEST_PEM), addedAtMs: 5 }
const TRUSTING = `[snapshot]\ntrusted = ["${SIGNER.publicKey}"]\n`

const offlineOf = (t: ExecutionContext, options: Parameters<typeof createPlace>[1] = {}) => {
  const place = createPlace(t, options)
  const notes: string[] = []
  const { configFile, env } = place
  const begin = () => createOffline({ configFile, env, note: line => void notes.push(line) })
  return { ...place, notes, begin, offline: begin() }
}
const eventsOf = ({ onAudit }: Place, storeKey = STORE_KEY): string[] =>
  onAudit(audit => audit.list({ limit: 99 }), storeKey).map(({ event }) => event)
const kindOf = ({ onStore }: Place, storeKey = STORE_KEY): string =>
  onStore(store => store.connection.read().connection.kind, storeKey)

test('a machine that was never connected exports a bundle that says so', async t => {
  const { offline, state } = offlineOf(t)
  const { bundle, warnings } = await offline.export({ withConfig: false })
  t.like(readHeader(bundle), { state: 'disconnected', generation: 0, hostname: 'ghe.example.com' })
  t.deepEqual(warnings, [])
  t.false(existsSync(join(state, 'store')), 'and makes no store')
})

test('an export has what the store has, signed by this machine, and says that the log has no word of it', async t => {
  const place = offlineOf(t)
  const { offline, onStore } = place
  const mintedAtMs = Date.now() - 30 * 60_000
  const token = { ...tokenFor({ installation: 42 }), mintedAtMs, expiresAtMs: mintedAtMs + 60 * 60_000 }
  const newer = { ...token, slot: 'next', token: new Secret('ghs_newer'), expiresAtMs: token.expiresAtMs + 1 } as const
  const ended = tokenFor({ installation: 43 })
  place.keep({
    connection: LIVE_HERE,
    keys: [KEY],
    generation: 7,
    facts: { 'snapshot.signer': SIGNER.privatePem.reveal() },
  })
  await onStore(async store => store.tokens.write([token, newer, ended]))
  const { bundle, warnings } = await offline.export({ withConfig: true })
  t.is(readHeader(bundle).signer, SIGNER.publicKey)
  t.deepEqual(warnings, ['The daemon did not take part: this export is not in the audit log.'])
  const content = await openBundle(bundle, [])
  t.is(content.generation, 7)
  t.is(content.connection.kind, 'connected')
  t.deepEqual(
    content.tokens.map(one => one.token.reveal()),
    ['ghs_newer'],
    'the newest of each scope that has not ended',
  )
  t.like(content.settings, GITHUB)
  t.true(JSON.stringify(content.settings).includes('[appliance]'))
  const without = await openBundle((await offline.export({ withConfig: false })).bundle, [])
  t.false('configuration' in without.settings)
})

test.serial('a store that cannot be told is no store that is absent', async t => {
  const place = offlineOf(t)
  place.keep()
  const current = join(place.state, 'store', 'current')
  unlinkSync(current)
  const failure = await failureOf(place.offline.export({ withConfig: false }))
  t.is(failure.code, 'store-corrupt')
  t.regex(failure.message, /no `current`/)
  if (process.getuid?.() !== 0) return
  chmodSync(place.folder, 0o755)
  chmodSync(place.key, 0o644)
  await actAs({ uid: 65_534, gid: 65_534 }, async () => {
    const closed = await failureOf(place.offline.export({ withConfig: false }))
    t.is(closed.code, 'not-permitted')
    t.is(closed.next, 'Run it with sudo.')
    t.is((await failureOf(place.offline.findAccount())).code, 'not-permitted')
  })
})

test('a restore puts in place what the bundle holds, and tells the state that it leads to', async t => {
  const place = offlineOf(t, { toml: TRUSTING })
  const configuration = [{ path: '/etc/ghconnectd/config.toml', text: '[app]\n' }]
  const content = { ...LIVE, connection: LIVE_HERE, keys: [KEY], settings: { ...GITHUB, configuration } }
  const bundle = await writeBundle(content, optionsFor([]))
  const answer = await place.offline.restore({ bundle, force: false })
  t.like(answer, { outcome: 'restored', state: 'connected', configuration })
  t.is(answer.meaning, 'Connected to octo-org as ghe-example-com.')
  t.is(kindOf(place), 'connected')
  t.true(eventsOf(place).includes('snapshot.restore'))
  t.is((await place.offline.restore({ bundle, force: false })).outcome, 'unchanged')
})

test('a restore over a store that is beyond help sets it aside, and one whose key is missing is left alone', async t => {
  const place = offlineOf(t, { toml: TRUSTING })
  place.keep({ connection: LIVE_HERE })
  const bundle = await writeBundle({ ...LIVE, connection: LIVE_HERE, keys: [KEY], settings: GITHUB }, optionsFor([]))
  place.loseKey()
  const lost = await place.offline.restore({ bundle, force: false })
  t.is(lost.outcome, 'restored')
  t.is(kindOf(place, OTHER_KEY), 'connected')
  t.true(place.notes.some(line => line.startsWith('Warning: set aside, for inspection')))
  const before = digestsUnder(place.state)
  writeFileSync(place.key, 'short')
  t.is((await failureOf(place.offline.restore({ bundle, force: true }))).code, 'locked')
  t.deepEqual(digestsUnder(place.state), before)
})

test('a sealed bundle waits for its identity, which unlocks it later or opens it at once', async t => {
  const sealed = await writeBundle(
    { ...LIVE, connection: LIVE_HERE, keys: [KEY], settings: GITHUB },
    optionsFor([RECOVERY.recipient]),
  )
  const place = offlineOf(t, { toml: TRUSTING })
  t.like(await place.offline.restore({ bundle: sealed, force: false }), {
    outcome: 'awaiting-unlock',
    state: 'awaiting-unlock',
  })
  t.is((await failureOf(place.offline.unlock(OTHER_RECOVERY.identity))).code, 'bundle-wrong-identity')
  t.is((await place.offline.unlock(RECOVERY.identity)).state, 'connected')
  t.is(
    place.onStore(store => store.hasRecoveryWrap()),
    true,
    'its recovery key opens this store from now on',
  )
  const other = offlineOf(t, { toml: TRUSTING })
  const answer = await other.offline.restore({ bundle: sealed, identity: RECOVERY.identity, force: false })
  t.is(answer.outcome, 'restored')
})

test('a recovery key opens the store whose key was lost', async t => {
  const place = offlineOf(t)
  place.keep()
  await place.wrap(RECOVERY.recipient)
  t.is((await failureOf(place.offline.unlock(RECOVERY.identity))).code, 'nothing-locked')
  place.loseKey()
  t.is((await place.offline.unlock(RECOVERY.identity)).state, 'connected')
  t.is(kindOf(place, OTHER_KEY), 'connected')
})

test('an adoption and a local disable change the store, the log and nothing else', async t => {
  const place = offlineOf(t)
  t.is(await place.offline.findAccount(), undefined)
  place.keep({ connection: { ...LIVE_HERE, kind: 'quarantined', evidence: 'moved' } })
  t.is(await place.offline.findAccount(), 'octo-org')
  t.is((await place.offline.adopt()).state, 'connected')
  t.true(eventsOf(place).includes('connection.adopt'))
  t.is(place.onStore(store => store.connection.read().connection).kind, 'connected')
  const disabled = await place.offline.disableLocally()
  t.is(disabled.state, 'disconnected')
  t.regex(disabled.meaning, /^Disabled on this machine only\. The App ghe-example-com remains/)
  t.true(eventsOf(place).includes('connection.disconnected'))
  t.is(await place.offline.findAccount(), undefined)
})

test('a new key file is made where it is gone, for whoever has the recovery key of the store', async t => {
  const place = offlineOf(t)
  place.keep()
  t.is(await place.offline.ensureStoreKey(RECOVERY.identity), undefined, 'the key is there')
  t.deepEqual(readFileSync(place.key), STORE_KEY)
  rmSync(place.key)
  const without = await failureOf(place.offline.ensureStoreKey(RECOVERY.identity))
  t.is(without.code, 'locked')
  t.regex(without.next, /restore a snapshot/)
  writeFileSync(place.key, STORE_KEY, { mode: 0o600 })
  await place.wrap(RECOVERY.recipient)
  rmSync(place.key)
  t.is((await failureOf(place.offline.ensureStoreKey(OTHER_RECOVERY.identity))).code, 'bundle-wrong-identity')
  t.false(existsSync(place.key))
  t.is(await place.offline.ensureStoreKey(RECOVERY.identity), `made a new store key: ${place.key}`)
  t.is(readFileSync(place.key).length, 32)
  t.notDeepEqual(readFileSync(place.key), STORE_KEY)
  t.is(modeOf(place.key), '600')
  t.is((await place.offline.unlock(RECOVERY.identity)).state, 'connected')
})

test('the database key is printed for the store that there is', async t => {
  const place = offlineOf(t)
  const absent = await failureOf(place.offline.storeKey())
  t.is(absent.code, 'locked')
  t.regex(absent.message, /there is no store in/)
  place.keep()
  t.is(
    await place.offline.storeKey(),
    place.onStore(store => store.databaseKey()),
  )
})

test('where the daemon never ran the state folder is made, closed to others', async t => {
  const place = offlineOf(t, { toml: TRUSTING })
  rmSync(place.state, { recursive: true })
  const bundle = await writeBundle({ ...LIVE, connection: LIVE_HERE, keys: [KEY], settings: GITHUB }, optionsFor([]))
  t.is((await place.offline.restore({ bundle, force: false })).outcome, 'restored')
  t.is(modeOf(place.state), '700')
})
