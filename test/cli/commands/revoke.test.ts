// `ghconnect revoke --all`: what is asked first, what is sent, and how it is said that GitHub did not revoke everything.

import test from 'ava'
import { CONNECTED, runCli, startDaemon, statusIn } from '../rig.ts'

const DONE = { revoked: 3, remaining: 0, failed: [] }

test('nothing is revoked without --all, nor without --yes where nobody can be asked', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: CONNECTED }, 'POST /v1/revoke': { body: DONE } })
  for (const [words, expected] of [
    [['revoke', '--yes'], /give --all/],
    [['revoke', '--all'], /revokes every token of octo-org.* needs --yes/],
  ] as const) {
    const refused = await runCli([...words, '--socket', daemon.folder])
    t.is(refused.code, 64)
    t.regex(refused.stderr, expected)
  }
  t.is(daemon.requestsTo('POST').length, 0)
  const ran = await runCli(['revoke', '--all', '--yes', '--socket', daemon.folder])
  t.deepEqual(ran, { code: 0, stdout: '3 tokens revoked. New tokens are minted on demand.\n', stderr: '' })
  t.deepEqual(daemon.requestsTo('POST /v1/revoke')[0]?.body, { all: true })
})

test('what GitHub did not revoke is told with how many, until when, why, and the exit code of the reason', async t => {
  const partly = {
    revoked: 1,
    remaining: 2,
    remaining_end_at: '2026-07-11T12:50:00.000Z',
    failed: [{ code: 'unreachable', detail: 'no route to api.github.com', tokens: 2 }],
  }
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: CONNECTED }, 'POST /v1/revoke': { body: partly } })
  const ran = await runCli(['revoke', '--all', '--yes', '--socket', daemon.folder])
  t.is(ran.code, 75)
  t.is(ran.stdout, '1 token revoked. New tokens are minted on demand.\n')
  t.true(
    ran.stderr.startsWith(
      'ghconnect: 2 tokens not revoked yet: no longer served, and accepted by GitHub until 2026-07-11 12:50 UTC (in 50 min) at most.\nghconnect: 2 tokens: unreachable: no route to api.github.com\n  What to do: ',
    ),
    ran.stderr,
  )
  t.regex(ran.stderr, /The daemon tries again with each refresh; see `ghconnect status`\.\n$/)
  const json = await runCli(['revoke', '--all', '--yes', '--json', '--socket', daemon.folder])
  t.is(json.code, 75)
  t.deepEqual(JSON.parse(json.stdout), partly)
  t.is(json.stderr, '')
})

test('a machine that is not connected is told so, and asked nothing', async t => {
  const { account: _, app: __, ...rest } = statusIn('disconnected')
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: rest } })
  const refused = await runCli(['revoke', '--all', '--socket', daemon.folder])
  t.is(refused.code, 69)
  t.regex(refused.stderr, /Meaning of disconnected/)
})
