// Bundles and stores that somebody forged, and a live daemon: it refuses or repairs, says so, and starts again each time.

import test from 'ava'
import { type Appliance, createAppliance } from '../support/appliance.ts'
import { createVictim, mutantsOf, readMutants, restoreMutants, type Victim } from '../support/bundle-mutants.ts'
import { forgedBundles } from '../support/forged-bundles.ts'
import { changeStore } from '../support/store-file.ts'

let victim: Victim

test.before(async () => {
  victim = await createVictim()
})
test.after.always(() => victim.close())

test.serial('no mutant of a bundle is accepted by the reader', async t => {
  for (const bundle of [victim.clear, victim.sealed]) {
    const { count, wrong } = await readMutants(mutantsOf(bundle, 29), [victim.identity])
    t.deepEqual(wrong, [])
    t.true(count > 1_000)
  }
})

test.serial('no mutant is restored by a live daemon, whose store stays as it is, and which starts again', async t => {
  for (const bundle of [victim.clear, victim.sealed]) {
    const { wrong, restarts } = await restoreMutants(victim, { mutants: mutantsOf(bundle, 397), restartEvery: 100 })
    t.deepEqual(wrong, [])
    t.true(restarts >= 1)
  }
})

test.serial(
  'no bundle with a field out of its bounds is restored, forced or not, and the daemon starts again',
  async t => {
    const mutants = forgedBundles(victim.clear)
    const { wrong, count } = await restoreMutants(victim, { mutants, restartEvery: 40 })
    t.deepEqual(wrong, [])
    t.is(count, mutants.length)
  },
)

const runIn = (appliance: Appliance, sql: string, ...values: unknown[]): void =>
  changeStore(appliance, db => void db.prepare(sql).run(...values))

test.serial('a daemon over a store with values out of their bounds starts, and says what it repaired', async t => {
  const { appliance } = victim
  await appliance.kill()
  runIn(
    appliance,
    `UPDATE meta SET value = json_set(value, '$.sinceMs', 1e300, '$.app.htmlUrl', 'nowhere') WHERE name = 'connection'`,
  )
  runIn(appliance, 'UPDATE keys SET added_at_ms = 1e300')
  runIn(appliance, 'UPDATE tokens SET expires_at_ms = 1e300')
  for (const fact of ['clock-offset-ms', 'clock-least-ms'])
    runIn(appliance, 'INSERT OR REPLACE INTO facts VALUES (?, ?)', fact, '1e300')
  await appliance.start()
  for (const told of ['sinceMs of the connection', 'app.htmlUrl of the connection', 'addedAtMs of the key'])
    t.true(appliance.log().includes(told), told)
  t.regex(appliance.log(), /a stored token was malformed and was removed/)
  const { status, body } = await appliance.call('GET', '/v1/status')
  t.is(status, 200)
  t.is(body['state'], 'connected')
  t.true(Math.abs(Number(body['clock_offset_seconds'])) < 60)
})

for (const [name, path, json] of [
  ['a generation of 2^60', 'generation', String(2 ** 60)],
  ['a connection that is none', 'connection', '{"kind":"connected","sinceMs":null}'],
  ['installations that are none', 'installations', '7'],
  ['a fact that is no JSON', 'snapshot.signer', '{'],
] as const) {
  test(`a daemon over a store with ${name} is locked, says what to do, and is mended by a restore`, async t => {
    const appliance = await createAppliance()
    t.teardown(() => appliance.close())
    await appliance.start()
    // It asks for the key that signs, which is a fact from then on.
    await appliance.call('GET', '/v1/status')
    await appliance.kill()
    for (const table of ['meta', 'facts']) runIn(appliance, `UPDATE ${table} SET value = ? WHERE name = ?`, json, path)
    await appliance.start()
    const { status, body } = await appliance.call('GET', '/v1/status')
    t.is(status, 200)
    t.is(body['state'], 'locked')
    t.regex(String(body['meaning']), /malformed|no JSON/)
    t.regex(String(body['next']), /restore a snapshot/)
    const bundle = Buffer.from(victim.clear).toString('base64')
    const restored = await appliance.call('POST', '/v1/snapshots/restore', { bundle, force: true })
    t.is(restored.status, 200)
    await appliance.kill()
    await appliance.start()
    t.is((await appliance.call('GET', '/v1/status')).body['state'], 'connected')
  })
}
