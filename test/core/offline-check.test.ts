// The doctor without the daemon: what a process of the command line sees, and that it never says that all is well.

import { rmSync } from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import type { CheckReport } from '../../src/protocol/wire-check.ts'
import { checkOffline } from '../../src/core/offline-check.ts'
import { RECOVERY } from './snapshot/samples.ts'
import { createPlace, LIVE_HERE } from '../support/place.ts'

const NOWHERE = '[github]\nurl = "http://127.0.0.1:1"\napi_url = "http://127.0.0.1:1"\n'

const sceneOf = (t: ExecutionContext, more = '') => {
  const place = createPlace(t, { toml: NOWHERE + more })
  const { configFile, env, surroundings } = place
  const check = async () => {
    const report = await checkOffline({ configFile, env, surroundings })
    return { report, row: rowsOf(report) }
  }
  return { ...place, check }
}
const rowsOf = (report: CheckReport) => (layer: CheckReport['rows'][number]['layer']) =>
  report.rows.find(row => row.layer === layer)

test('a configuration that would be refused is the first thing to mend', async t => {
  const { check, putConfig } = sceneOf(t)
  putConfig('colour = "red"\n')
  const { report, row } = await check()
  t.like(report, { verdict: 'failed', state: 'daemon-absent', took_ms: 0 })
  t.is(row('configuration')?.verdict, 'failed')
  t.regex(row('configuration')?.evidence ?? '', /colour: there is no such key/)
  for (const layer of ['store', 'recovery-key', 'backup', 'dns', 'key', 'cluster'] as const)
    t.like(row(layer), { verdict: 'skipped', evidence: 'Not asked: the configuration cannot be read.' }, layer)
})

test('before the first start there is no store, which is no fault', async t => {
  const { check, state } = sceneOf(t)
  const evidence = 'None was made yet: the first start makes it.'
  t.like((await check()).row('store'), { verdict: 'ok', evidence })
  rmSync(state, { recursive: true })
  const { report, row } = await check()
  t.like(row('store'), { verdict: 'ok', evidence })
  t.is(report.verdict, 'failed', 'a daemon that is down is not well')
  t.like(row('key'), { verdict: 'skipped' })
})

test('a store tells its recovery keys and the age of its backup', async t => {
  const place = sceneOf(t)
  place.keep({
    connection: LIVE_HERE,
    generation: 3,
    facts: { 'last-export': { atMs: Date.now(), generation: 3 }, 'recovery.recipients': [RECOVERY.recipient] },
  })
  const { row } = await place.check()
  t.like(row('store'), { verdict: 'ok', evidence: 'It is read, and the store key opens it.' })
  t.is(row('recovery-key')?.verdict, 'warning')
  t.is(row('backup')?.verdict, 'ok')
  await place.wrap(RECOVERY.recipient)
  t.is((await place.check()).row('recovery-key')?.verdict, 'ok')
  t.regex((await place.check()).row('configuration')?.evidence ?? '', /config\.toml: 0 profiles\./)
  place.loseKey()
  const lost = (await place.check()).row
  t.like(lost('store'), { verdict: 'failed', code: 'wrong-store-key' })
  t.like(lost('backup'), { verdict: 'skipped', evidence: 'Not asked: the store is closed.' })
})

test('quarantined credentials keep this command from calling out, too', async t => {
  const place = sceneOf(t)
  place.keep({ connection: { ...LIVE_HERE, kind: 'quarantined', evidence: 'moved' } })
  const { row } = await place.check()
  t.like(row('dns'), {
    verdict: 'skipped',
    evidence: 'Not asked: the credentials are quarantined, and no call goes out.',
  })
})
