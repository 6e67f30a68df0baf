// The doctor in states where there is little to ask: before anything is enabled, locked, quarantined, without the daemon; and as a stream.

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createEventReader } from '../../src/protocol/client.ts'
import { CheckReport, CheckRow, LAYERS } from '../../src/protocol/wire-check.ts'
import { type Appliance, CLI, createAppliance } from '../support/appliance.ts'
import { checkOf, recoveryToml } from '../support/checking.ts'
import { callUnix } from '../support/unix-http.ts'

const start = async (t: ExecutionContext, options: Parameters<typeof createAppliance>[0] = {}): Promise<Appliance> => {
  const appliance = await createAppliance(options)
  t.teardown(() => appliance.close())
  await appliance.start()
  return appliance
}

const verdictsOf = ({ rows }: CheckReport): Record<string, string> =>
  Object.fromEntries(rows.map(({ layer, verdict }) => [layer, verdict]))

const calls = async (appliance: Appliance): Promise<number> => {
  const log: unknown = await appliance.control('GET', 'log')
  return Array.isArray(log) ? log.length : -1
}

/** The command line as its user runs it. */
const runCheck = (
  appliance: Appliance,
  { env = {} }: { env?: Record<string, string> } = {},
  ...words: string[]
): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise(resolve => {
    const args = [CLI, 'check', '--config', appliance.configFile, ...words]
    execFile(process.execPath, args, { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })

test('before anything is enabled the way is looked at, and nothing is asked as an App', async t => {
  const appliance = await start(t)
  const report = await checkOf(appliance)
  t.deepEqual([...new Set(report.rows.map(({ layer }) => layer))], [...LAYERS])
  t.is(report.state, 'disconnected')
  t.like(verdictsOf(report), {
    configuration: 'ok',
    store: 'ok',
    clock: 'ok',
    host: 'ok',
    key: 'skipped',
    quota: 'skipped',
  })
  t.is(report.rows.find(({ layer }) => layer === 'key')?.evidence, 'Not asked: no App is stored.')
  const { code, stdout } = await runCheck(appliance)
  t.is(code, 69)
  t.regex(stdout, /^ok +host 127\.0\.0\.1:\d+ +It answers with 200: GitHub's API\.$/m)
  t.regex(
    stdout,
    /^- +egress +Not asked: no App is stored\. The same for key, app, installation, permissions, repositories, quota\.$/m,
  )
})

test('a locked store is named, and the network looked at all the same; the key brought back, all is well without a restart', async t => {
  const appliance = await start(t, { toml: await recoveryToml() })
  await appliance.enable()
  await appliance.call('POST', '/v1/snapshots')
  await appliance.kill()
  const keyFile = join(appliance.folder, 'store.key')
  const key = readFileSync(keyFile)
  writeFileSync(keyFile, randomBytes(32))
  await appliance.start()
  const report = await checkOf(appliance)
  t.is(report.state, 'locked')
  t.deepEqual(
    report.rows.filter(({ verdict }) => verdict === 'failed').map(({ layer, code }) => [layer, code]),
    [['store', 'wrong-store-key']],
  )
  t.like(verdictsOf(report), { host: 'ok', clock: 'ok', key: 'skipped', 'recovery-key': 'skipped', backup: 'skipped' })
  t.is((await runCheck(appliance)).code, 78)
  writeFileSync(keyFile, key)
  appliance.signal('SIGHUP')
  await appliance.until('connected')
  t.is((await checkOf(appliance)).verdict, 'ok')
})

test('a quarantined machine calls nobody, not for the doctor either', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'machine-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const machine = join(folder, 'id')
  writeFileSync(machine, `${'1'.repeat(32)}\n`)
  const appliance = await start(t, { env: { GHCONNECT_MACHINE_ID_FILE: machine } })
  await appliance.enable()
  await appliance.kill()
  writeFileSync(machine, `${'2'.repeat(32)}\n`)
  writeFileSync(
    appliance.configFile,
    readFileSync(appliance.configFile, 'utf8').replace('appliance.test', 'copy.example.com'),
  )
  await appliance.start()
  const before = await calls(appliance)
  const report = await checkOf(appliance)
  t.is(report.state, 'quarantined')
  const asked = report.rows.filter(
    ({ layer }) => LAYERS.indexOf(layer) >= LAYERS.indexOf('clock') && layer !== 'app' && layer !== 'cluster',
  )
  t.like(
    report.rows.find(({ layer }) => layer === 'app'),
    { verdict: 'failed', code: 'quarantined' },
  )
  t.is(report.verdict, 'failed')
  t.true(asked.length > 8)
  for (const { evidence } of asked) {
    t.is(evidence, 'Not asked: the credentials are quarantined, and no call goes out.')
  }
  await appliance.kill()
  const { stdout } = await runCheck(appliance)
  t.regex(stdout, /quarantined, and no call goes out/)
  t.is(await calls(appliance), before)
})

test('without the daemon: what can be seen from here, the fault that is met, and the exit code of an absent daemon at least', async t => {
  const appliance = await start(t)
  await appliance.enable()
  await appliance.kill()
  const { code, stdout, stderr } = await runCheck(appliance)
  t.is(code, 69)
  t.regex(
    stderr,
    /^ghconnect: The daemon does not answer: nothing listens on .*\n.* This is what can be seen without the daemon:$/m,
  )
  t.regex(stdout, /^ok +store +It is read, and the store key opens it\.$/m)
  t.regex(stdout, /^warning +backup +This daemon never exported a snapshot\.$/m)
  t.regex(stdout, /^ok +host /m)
  t.regex(stdout, /^- +egress +Not asked: the daemon does not answer\. The same for key, app, .*, quota\.$/m)
  appliance.configure('[proxy]\nurl = "http://127.0.0.1:1"\n')
  const report = CheckReport.parse(JSON.parse((await runCheck(appliance, {}, '--json')).stdout))
  t.is(report.state, 'daemon-absent')
  t.is(report.verdict, 'failed')
  t.like(verdictsOf(report), { proxy: 'failed', host: 'skipped' })
  appliance.configure('[proxy]\nurl = 7\n')
  const broken = await runCheck(appliance)
  t.is(broken.code, 78)
  t.regex(broken.stdout, /^FAILED +configuration .*proxy\.url/m)
})

test('an entry of NO_PROXY that is not understood is a warning of status and check, with the daemon and without it', async t => {
  const env = { HTTPS_PROXY: 'http://127.0.0.1:1', NO_PROXY: '10.*,127.0.0.1' }
  const appliance = await start(t, { env })
  const said = /NO_PROXY: not used: "10\.\*"\./
  const { body } = await appliance.call('GET', '/v1/status')
  t.regex(JSON.stringify(body['warnings']).replaceAll('\\"', '"'), /"config-doubt"/)
  const row = (report: CheckReport) => report.rows.find(({ layer }) => layer === 'configuration')
  t.is(row(await checkOf(appliance))?.verdict, 'warning')
  t.regex(row(await checkOf(appliance))?.evidence ?? '', said)
  await appliance.kill()
  const report = CheckReport.parse(JSON.parse((await runCheck(appliance, { env }, '--json')).stdout))
  t.regex(row(report)?.evidence ?? '', said)
})

test('the rows come as a stream while the check goes on, and are those of the report', async t => {
  const appliance = await start(t)
  await appliance.enable()
  await appliance.control('POST', 'faults', { kind: 'slow', ms: 300 })
  const { text, headers } = await callUnix(join(appliance.runtime, 'admin.sock'), {
    method: 'GET',
    path: '/v1/check',
    headers: { accept: 'text/event-stream' },
  })
  t.is(headers['content-type'], 'text/event-stream')
  const data: unknown[] = []
  createEventReader(each => void data.push(JSON.parse(each)))(Buffer.from(text))
  const report = CheckReport.parse(data.pop())
  const rows = data.map(each => CheckRow.parse(each))
  t.is(rows[0]?.layer, 'configuration')
  const sorted = (all: readonly CheckRow[]): string[] => all.map(row => JSON.stringify(row)).toSorted()
  t.deepEqual(sorted(rows), sorted(report.rows))
  t.is((await appliance.ask('GET', '/v1/check')).status, 403)
})
