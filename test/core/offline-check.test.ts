// The doctor without the daemon: what a process of the command line sees, that it never says that all is well, and that it guesses no password.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { CheckReport } from '../../src/protocol/wire-check.ts'
import { checkOffline, proxyWithoutDaemon } from '../../src/core/offline.ts'
import { parseProxyAddress } from '../../src/service/proxy.ts'
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

const KEYS = {
  url: parseProxyAddress('http://ghconnect@proxy.example.com:3128'),
  exclude: [],
  caFile: undefined,
  passwordFile: undefined,
}

const folderOf = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'offline-proxy-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'credentials'))
  return folder
}

const envOf = (folder: string): NodeJS.ProcessEnv => ({
  GHCONNECT_SEALED_STORE_KEY: join(folder, 'credentials', 'store.key'),
})

test('root opens the sealed password as systemd does for the daemon', t => {
  const folder = folderOf(t)
  const sealed = join(folder, 'credentials', 'proxy.password')
  // Sealed to nothing, so that the test touches no secret of this machine; the name is bound all the same.
  execFileSync('systemd-creds', ['encrypt', '--with-key=tpm2-absent', '--name=proxy.password', '-', sealed], {
    // As editors leave it: a byte order mark, and line ends.
    input: '\uFEFFp:w@rd\r\n\n',
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const { settings } = proxyWithoutDaemon(KEYS, envOf(folder))
  t.is(settings?.proxy?.reveal(), 'http://ghconnect:p%3Aw%40rd@proxy.example.com:3128')
})

test('without a sealed file the proxy is used as the configuration names it', t => {
  t.is(
    proxyWithoutDaemon(KEYS, envOf(folderOf(t))).settings?.proxy?.reveal(),
    'http://ghconnect@proxy.example.com:3128',
  )
})

test('a sealed password that cannot be opened skips the network, and names the command that can know', async t => {
  const folder = folderOf(t)
  writeFileSync(join(folder, 'credentials', 'proxy.password'), 'sealed to another machine')
  const configFile = join(folder, 'config.toml')
  const paths = `[paths]\nstate = "${folder}/state"\nruntime = "${folder}/run"\n`
  writeFileSync(configFile, `${paths}[proxy]\nurl = "http://ghconnect@127.0.0.1:1"\n`)
  const surroundings = { hostname: 'ghe.example.com', findUser: () => 0, findGroup: () => 0 }
  const { rows } = await checkOffline({ configFile, env: envOf(folder), surroundings })
  for (const layer of ['dns', 'proxy', 'tls', 'host', 'key'] as const) {
    const row = rows.find(each => each.layer === layer)
    t.is(row?.verdict, 'skipped', layer)
    t.regex(row?.evidence ?? '', /cannot be opened on this machine.*`ghconnect check` knows it once the daemon runs\.$/)
  }
})
