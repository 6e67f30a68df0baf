// Status, installations, profiles and refresh: what they print.

import test from 'ava'
import * as fc from 'fast-check'
import { relativeTime } from '../../../src/cli/output.ts'
import { Status } from '../../../src/protocol/wire.ts'
import { CONNECTED, NOW, runCli, startDaemon, statusIn } from '../rig.ts'

test('status tells state, next step and the rest, in words', async t => {
  const last = { code: 'timeout', detail: 'after 30 s', next: 'It is tried again.', at: '2026-07-11T11:55:00.000Z' }
  const body = statusIn('suspended', {
    proxy: 'http://user@proxy:3128',
    clock_offset_seconds: -61,
    last_failure: last,
    warnings: [{ code: 'key-old', detail: 'Older than a year.', next: 'Make a new one.' }],
  })
  const daemon = await startDaemon(t, { 'GET /v1/status': { body } })
  const ran = await runCli(['status', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.is(
    ran.stdout,
    `State         suspended since 2026-07-08 11:00 UTC (3 days ago)
              Meaning of suspended.
Next step     Next of suspended.
Account       octo-org (organization)
App           ghe-example-com (id 12345, client Iv23liAbCdEf)
              https://github.com/apps/ghe-example-com
Key           SHA256:abc=, added 2026-07-08 11:00 UTC (3 days ago)
Installed     678  octo-org  all repositories
Tokens        3 live, the oldest expires in 38 min, last minted 22 min ago, next refresh in 3 min
Proxy         http://user@proxy:3128
Clock         61 seconds ahead of GitHub's
Machine       ghe.example.com (single, generation 4)
Warning       key-old: Older than a year.
              Make a new one.
Last failure  timeout, 5 min ago: after 30 s
              It is tried again.
Version       1.2.3
`,
  )
})

test('a clock that GitHub was not asked about is not said to agree', async t => {
  const body = { ...CONNECTED, clock_known: false, clock_offset_seconds: 0 }
  const daemon = await startDaemon(t, { 'GET /v1/status': { body } })
  const { stdout } = await runCli(['status', '--socket', daemon.folder])
  t.regex(stdout, /^Clock +not compared with GitHub's yet$/m)
})

test('of two keys status says which one signs', async t => {
  const keys = ['SHA256:abc=', 'SHA256:def='].map(fingerprint => ({ fingerprint, added_at: CONNECTED.since }))
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: { ...CONNECTED, keys } } })
  const { stdout } = await runCli(['status', '--socket', daemon.folder])
  t.regex(stdout, /^Key +SHA256:abc=, signs, added .*\nKey +SHA256:def=, the fallback, added /m)
})

test('status --json is the answer of the daemon, valid against the schema', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: CONNECTED } })
  const ran = await runCli(['status', '--json', '--socket', daemon.folder])
  t.deepEqual(Status.parse(JSON.parse(ran.stdout)), CONNECTED)
  t.is(ran.stdout.split('\n').length, 2)
})

test('as JSON, status asks nothing of libc: who runs it matters to advice alone', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: CONNECTED } })
  let asked = 0
  const who = async () => (asked++, 'user' as const)
  const ran = await runCli(['status', '--json', '--socket', daemon.folder], { who })
  t.deepEqual([ran.code, JSON.parse(ran.stdout).next, asked], [0, CONNECTED.next, 0])
  await runCli(['status', '--socket', daemon.folder], { who })
  t.is(asked, 1)
})

test('status answers with 0 in every state, and shows the short form where that is all there is', async t => {
  const { state, since, meaning, next, version } = statusIn('locked')
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: { state, since, meaning, next, version } } })
  const ran = await runCli(['status', '--socket', `${daemon.folder}/token.sock`])
  t.is(ran.code, 0)
  t.is(ran.stdout.split('\n').length, 5)
  t.regex(ran.stdout, /^State +locked/)
})

test('colour is for terminals that want it', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: CONNECTED } })
  const argv = ['status', '--socket', daemon.folder]
  const green = '\u001b[32mconnected\u001b[0m'
  t.true((await runCli(argv, { terminal: true })).stdout.includes(green))
  const without = [
    { terminal: false },
    { terminal: true, env: { NO_COLOR: '1' } },
    { terminal: true, env: { TERM: 'dumb' } },
  ]
  for (const setting of without) t.false((await runCli(argv, setting)).stdout.includes('\u001b'))
})

test('control characters in names reach no terminal', async t => {
  const daemon = await startDaemon(t, {
    'GET /v1/status': {
      body: statusIn('connected', { meaning: 'a\u001b]0;owned\u0007\u009b31m\u202eb\u001b[31mc\nd' }),
    },
  })
  const ran = await runCli(['status', '--socket', daemon.folder], { terminal: true, env: { NO_COLOR: '1' } })
  t.true(ran.stdout.includes(String.raw` a\u001b]0;owned\u0007\u009b31m\u202eb\u001b[31mc\nd`))
  for (const character of '\u0007\u001b\u009b\u202e') t.false(ran.stdout.includes(character))
})

test('times are told by their larger unit', t => {
  const told: [number, string][] = [
    [0, 'now'],
    [-999, 'now'],
    [5_000, 'in 5 s'],
    [-60_000, '1 min ago'],
    [38 * 60_000 + 59_000, 'in 38 min'],
    [-3 * 3_600_000, '3 h ago'],
    [-86_400_000, '1 day ago'],
    [9 * 86_400_000, 'in 9 days'],
  ]
  for (const [distance, text] of told) t.is(relativeTime(NOW + distance, NOW), text)
  fc.assert(
    fc.property(fc.integer({ min: 1_000, max: 1e12 }), ms => {
      t.is(relativeTime(NOW + ms, NOW).slice(3), relativeTime(NOW - ms, NOW).slice(0, -4))
    }),
  )
})

test('installations are a table, or a word where there are none', async t => {
  const suspended = { ...CONNECTED.installations[0], id: 9, suspended_at: '2026-07-11T11:00:00.000Z', permissions: {} }
  const body = { installations: [...CONNECTED.installations, suspended] }
  const daemon = await startDaemon(t, { 'GET /v1/installations': { body } })
  const ran = await runCli(['installations', '--socket', daemon.folder])
  t.is(
    ran.stdout,
    `ID   ACCOUNT   TYPE          REPOSITORIES  STATE      PERMISSIONS
678  octo-org  organization  all           active     contents: write, metadata: read
9    octo-org  organization  all           suspended  none
`,
  )
  const none = await startDaemon(t, { 'GET /v1/installations': { body: { installations: [] } } })
  t.deepEqual(await runCli(['installations', '--socket', none.folder]), {
    code: 0,
    stdout: '',
    stderr: 'The App is not installed anywhere.\n',
  })
})

test('profiles are those of the caller, or all with --admin', async t => {
  const allow = { users: ['git'], groups: [], units: ['actions.service'] }
  const daemon = await startDaemon(t, {
    'token GET /v1/profiles': { body: { profiles: [{ name: 'mine', repositories: ['a', 'b-*'] }] } },
    'admin GET /v1/profiles': {
      body: { profiles: [{ name: 'all', installation: 678, permissions: { contents: 'read' }, allow }] },
    },
  })
  const mine = await runCli(['profiles', '--socket', daemon.folder])
  t.regex(mine.stdout, /\nmine +the only one +a, b-\* +all granted +you\n$/)
  const all = await runCli(['profiles', '--admin', '--socket', daemon.folder])
  t.regex(all.stdout, /\nall +678 +all +contents: read +users: git; units: actions\.service\n$/)
  const json = await runCli(['profiles', '--json', '--socket', daemon.folder])
  t.deepEqual(JSON.parse(json.stdout), { profiles: [{ name: 'mine', repositories: ['a', 'b-*'] }] })
})

test('refresh counts, and ends with the exit code of what failed', async t => {
  const failed = [{ scope: 'octo-org: all', code: 'suspended', detail: 'by its owner' }]
  const daemon = await startDaemon(t, { 'POST /v1/refresh': { body: { refreshed: 1, failed: [] } } })
  t.deepEqual(await runCli(['refresh', '--socket', daemon.folder]), {
    code: 0,
    stdout: '1 token refreshed.\n',
    stderr: '',
  })
  const failing = await startDaemon(t, { 'POST /v1/refresh': { body: { refreshed: 2, failed } } })
  t.deepEqual(await runCli(['refresh', '--socket', failing.folder]), {
    code: 69,
    stdout: '2 tokens refreshed.\n',
    stderr:
      "ghconnect: octo-org: all: suspended: by its owner\n  What to do: Unsuspend it in the account's settings, under GitHub Apps.\n",
  })
  const odd = await startDaemon(t, {
    'POST /v1/refresh': { body: { refreshed: 0, failed: [{ scope: 's', code: 'of-tomorrow', detail: 'd' }] } },
  })
  t.is((await runCli(['refresh', '--json', '--socket', odd.folder])).code, 75)
})
