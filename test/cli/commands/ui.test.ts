// `ghconnect ui`: the link is on standard output, and in no list of processes.

import test from 'ava'
import { runCli, startDaemon } from '../rig.ts'

const ANSWER = { url: `http://127.0.0.1:8470/sign-in/${'0a'.repeat(16)}`, expires_at: '2026-05-01T12:05:00.000Z' }

test('the link is printed, with the tunnel that a browser elsewhere needs', async t => {
  const daemon = await startDaemon(t, { 'admin POST /v1/ui-links': { status: 201, body: ANSWER } })
  const env = { SSH_CONNECTION: '203.0.113.7 51234 192.0.2.10 22' }
  const { code, stdout } = await runCli(['ui', '--socket', daemon.folder], { env })
  t.is(code, 0)
  t.true(stdout.includes(`\n  ${ANSWER.url}\n`))
  t.true(stdout.includes('ssh -L 8470:127.0.0.1:8470 192.0.2.10'))
  t.is(daemon.requestsTo('POST /v1/ui-links').length, 1)
})

test('--json prints the answer', async t => {
  const daemon = await startDaemon(t, { 'admin POST /v1/ui-links': { status: 201, body: ANSWER } })
  t.deepEqual(JSON.parse((await runCli(['ui', '--json', '--socket', daemon.folder])).stdout), ANSWER)
})
