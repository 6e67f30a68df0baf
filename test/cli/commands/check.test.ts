// `ghconnect check`: how a report reads, what the exit code is, and what is done where no daemon answers.

import test from 'ava'
import type { CheckReport, CheckRow } from '../../../src/protocol/wire-check.ts'
import { runCli, startDaemon } from '../rig.ts'

const row = (layer: CheckRow['layer'], verdict: CheckRow['verdict'], more: Partial<CheckRow> = {}): CheckRow => ({
  layer,
  verdict,
  evidence: `Evidence of ${layer}.`,
  took_ms: 1,
  ...more,
})
const reportOf = (verdict: CheckReport['verdict'], ...rows: CheckRow[]): CheckReport => ({
  verdict,
  state: 'connected',
  checked_at: '2026-07-11T12:00:00.000Z',
  took_ms: 42,
  rows,
})
const FAILED = reportOf(
  'failed',
  row('configuration', 'ok'),
  row('backup', 'warning', { next: 'Export.' }),
  row('proxy', 'failed', { subject: 'http://p:1', code: 'proxy-authentication', next: 'Correct the password.' }),
  row('tls', 'skipped', { subject: 'api.github.com', evidence: 'Not asked: the proxy fails.' }),
  row('host', 'skipped', { subject: 'api.github.com', evidence: 'Not asked: the proxy fails.' }),
  row('quota', 'skipped', { evidence: 'Not asked: the proxy fails.' }),
  row('cluster', 'skipped', { evidence: 'Not asked: this is a single node.' }),
)

test('a row a line, advice below what is wrong, and what was not asked for one reason in one line', async t => {
  const daemon = await startDaemon(t, { 'admin GET /v1/check': { body: FAILED } })
  const ran = await runCli(['check', '--socket', daemon.folder])
  t.is(ran.code, 69)
  t.is(
    ran.stdout,
    [
      'ok       configuration     Evidence of configuration.',
      'warning  backup            Evidence of backup.',
      '                           → Export.',
      'FAILED   proxy http://p:1  Evidence of proxy.',
      '                           → Correct the password.',
      '-        tls               Not asked: the proxy fails. The same for host, quota.',
      '-        cluster           Not asked: this is a single node.',
      '',
      'Something is wrong. State: connected. Took 42 ms.',
      '',
    ].join('\n'),
  )
})

test('a check without a fault still fails while no token is available', async t => {
  for (const [verdict, report] of [
    ['ok', { ...reportOf('ok', row('host', 'ok')), state: 'disconnected' }],
    ['warning', { ...reportOf('warning', row('clock', 'warning', { next: 'Set it.' })), state: 'awaiting-app' }],
  ] as const) {
    const daemon = await startDaemon(t, { 'admin GET /v1/check': { body: report } })
    const ran = await runCli(['check', '--socket', daemon.folder])
    t.is(ran.code, 69, verdict)
    t.regex(ran.stdout, /^Nothing is wrong, but this machine is not connected: no token is available\. .* State: /m)
  }
})

test('warnings alone are exit code 0, and JSON is the report as it is', async t => {
  const report = reportOf('warning', row('clock', 'warning', { next: 'Set it.' }))
  const daemon = await startDaemon(t, { 'admin GET /v1/check': { body: report } })
  const ran = await runCli(['check', '--json', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.deepEqual(JSON.parse(ran.stdout), report)
})

test('the exit code is that of the first layer that failed', async t => {
  for (const [code, exit] of [
    ['github-outage', 75],
    ['permission-not-granted', 77],
    ['configuration', 78],
    ['of a newer daemon', 70],
  ] as const) {
    const report = reportOf('failed', row('host', 'failed', { code }), row('quota', 'failed', { code: 'quota' }))
    const daemon = await startDaemon(t, { 'admin GET /v1/check': { body: report } })
    t.is((await runCli(['check', '--socket', daemon.folder])).code, exit, code)
  }
})

test('without a daemon it looks for itself, says so, and 69 is the least', async t => {
  const asked: string[] = []
  const checkOffline = async ({ configFile }: { configFile: string }): Promise<CheckReport> => {
    asked.push(configFile)
    return reportOf('failed', row('host', 'ok'))
  }
  const daemon = await startDaemon(t, {})
  await daemon.close()
  const ran = await runCli(['check', '--socket', daemon.folder, '--config', '/etc/x.toml'], { checkOffline })
  t.is(ran.code, 69)
  t.deepEqual(asked, ['/etc/x.toml'])
  t.regex(ran.stderr, /The daemon does not answer: .*\n.*This is what can be seen without the daemon:/)
  t.regex(ran.stdout, /^ok +host/)
  const named = await runCli(['check', '--socket', `${daemon.folder}/admin.sock`], { checkOffline })
  t.is(named.code, 69)
  t.is(named.stdout, '', 'of a socket that was named, no other machine is meant')
})

test('what the daemon refuses is told, and nothing is looked at in its place', async t => {
  const body = { type: 'urn:ghconnect:problem:not-permitted', title: 'no', status: 403, detail: 'no', next: 'no' }
  const daemon = await startDaemon(t, {
    'admin GET /v1/check': { status: 403, type: 'application/problem+json', body },
  })
  const checkOffline = async (): Promise<CheckReport> => t.fail('looked at')
  t.is((await runCli(['check', '--socket', daemon.folder], { checkOffline })).code, 77)
})

test('--watch looks again until it is told to end; a terminal is redrawn', async t => {
  const stop = new AbortController()
  let times = 0
  const daemon = await startDaemon(t, {
    'admin GET /v1/check': () => {
      times += 1
      if (times === 3) stop.abort()
      return { body: times === 3 ? FAILED : reportOf('ok', row('host', 'ok')) }
    },
  })
  const ran = await runCli(['check', '--watch', '--socket', daemon.folder], {
    terminal: true,
    stopSignal: () => stop.signal,
  })
  t.is(times, 3)
  t.is(ran.code, 69, 'that of the last look')
  t.is(ran.stdout.split('\u001b[H\u001b[2J').length, 4)
})
