// Enable and import, against a daemon that goes through its states.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import test from 'ava'
import { tunnelHint } from '../../../src/cli/commands/connect.ts'
import { Failure, toProblem } from '../../../src/protocol/errors.ts'
import { EnableRequest, ImportRequest } from '../../../src/protocol/wire.ts'
import type { CheckReport, CheckRow } from '../../../src/protocol/wire-check.ts'
import { CONNECTED, inTurn, runCli, startDaemon, statusIn, terminalInput } from '../rig.ts'

const URL = 'http://127.0.0.1:8470/connect/0123456789abcdef'
const BEGUN = { status: 202, body: { url: URL, expires_at: '2026-07-11T13:00:00.000Z', how: 'manifest' } }
const { app: _app, ...WITHOUT_APP } = statusIn('awaiting-app', { installations: [] })
const ENABLE = ['enable', '--organization', 'octo-org']

const rowOf = (layer: CheckRow['layer'], more: Partial<CheckRow>): CheckRow => ({
  layer,
  verdict: 'ok',
  evidence: 'Seen.',
  took_ms: 1,
  ...more,
})

test('enable looks at the way first: it names what fails first, and begins nothing', async t => {
  const body: CheckReport = {
    verdict: 'failed',
    state: 'disconnected',
    checked_at: '2026-07-11T12:00:00.000Z',
    took_ms: 1,
    rows: [
      rowOf('store', {}),
      rowOf('proxy', {
        verdict: 'failed',
        code: 'proxy-authentication',
        evidence: 'The proxy answered 407.',
        next: 'Check the password.',
      }),
      rowOf('host', { verdict: 'skipped', evidence: 'Not asked: the proxy fails.' }),
    ],
  }
  const daemon = await startDaemon(t, { 'GET /v1/check': { body }, 'POST /v1/connection': BEGUN })
  const ran = await runCli([...ENABLE, '--no-wait', '--socket', daemon.folder])
  t.is(ran.code, 69)
  t.is(ran.stdout, '')
  t.is(
    ran.stderr,
    `ghconnect: Proxy authentication failed: The proxy answered 407 (nothing was begun; \`ghconnect check\` shows each layer)
  What to do: Check the password.
`,
  )
  t.is(daemon.requestsTo('POST').length, 0)
})

test('the page is printed, the installation asked for, and the connection told', async t => {
  const daemon = await startDaemon(t, {
    'POST /v1/connection': BEGUN,
    'GET /v1/status': inTurn(WITHOUT_APP, WITHOUT_APP, statusIn('awaiting-installation'), CONNECTED),
  })
  const ran = await runCli([...ENABLE, '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.is(ran.stderr, '')
  t.is(
    ran.stdout,
    `Open this page as an owner of octo-org, within the hour:\n  ${URL}\nNext of awaiting-installation.\nConnected to octo-org as ghe-example-com.\n`,
  )
  const [begun] = daemon.requestsTo('POST /v1/connection')
  t.deepEqual(EnableRequest.parse(begun?.body), { account: { type: 'organization', login: 'octo-org' } })
})

test('a terminal is shown each step once, and the browser is opened where there is a display', async t => {
  const daemon = await startDaemon(t, {
    'POST /v1/connection': BEGUN,
    'GET /v1/status': inTurn(
      WITHOUT_APP,
      statusIn('awaiting-installation'),
      statusIn('awaiting-installation'),
      CONNECTED,
    ),
  })
  const ran = await runCli([...ENABLE, '--socket', daemon.folder], { terminal: true, stdin: terminalInput() })
  t.true(ran.stdout.includes(URL))
  const lines = ran.stderr.split('\n')
  for (const line of ['App created: ghe-example-com', 'Installed on octo-org', 'First token minted']) {
    t.is(lines.filter(seen => seen === line).length, 1, line)
  }
  const piped = await runCli([...ENABLE, '--no-wait', '--socket', daemon.folder], { terminal: false })
  t.is(piped.code, 0)
})

test('--no-wait prints the page and asks for no state', async t => {
  const daemon = await startDaemon(t, { 'POST /v1/connection': BEGUN })
  const ran = await runCli(['enable', '--user', 'octocat', '--no-wait', '--json', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.deepEqual(JSON.parse(ran.stdout), BEGUN.body)
  t.is(daemon.requestsTo('GET /v1/status').length, 0)
})

test('an enterprise is shown the form and the command that comes next', async t => {
  const body = {
    ...BEGUN.body,
    url: 'https://github.com/enterprises/octo-corp/settings/apps/new?name=x',
    how: 'import',
  }
  const daemon = await startDaemon(t, { 'POST /v1/connection': { status: 202, body } })
  const ran = await runCli(['enable', '--enterprise', 'octo-corp', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.true(ran.stdout.includes(body.url))
  t.regex(ran.stdout, /ghconnect import --app-id ID --key FILE --account octo-corp/)
  t.is(daemon.requestsTo('GET /v1/status').length, 0)
})

test('what is typed is handed on; a wrong one is told and another may follow', async t => {
  let done = false
  const bad = new Failure('code-rejected', 'used before')
  const stdin = new PassThrough()
  const daemon = await startDaemon(t, {
    'POST /v1/connection': BEGUN,
    'GET /v1/status': () => ({ body: done ? CONNECTED : WITHOUT_APP }),
    'POST /v1/connection/completion': ({ body }) => {
      if (JSON.stringify(body) !== '{"redirected":"good"}') {
        return { status: 422, type: 'application/problem+json', body: toProblem(bad) }
      }
      done = true
      return { body: { state: 'awaiting-installation', meaning: 'm', next: 'n' } }
    },
  })
  const onWrite = (text: string): void => {
    if (text.includes('used before')) stdin.write('good\n')
  }
  stdin.write('\n bad \n')
  const ran = await runCli([...ENABLE, '--socket', daemon.folder], { stdin, onWrite })
  t.is(ran.code, 0)
  t.regex(ran.stderr, /does not accept the code of the App manifest: used before/)
  t.deepEqual(
    daemon.requestsTo('POST /v1/connection/completion').map(call => call.body),
    [{ redirected: 'bad' }, { redirected: 'good' }],
  )
})

test('what stands in the way to GitHub is told while waiting, once', async t => {
  const last = { code: 'proxy-refused', detail: 'HTTP 403 to CONNECT', next: 'n', at: '2026-07-11T12:00:00.000Z' }
  const stuck = statusIn('awaiting-installation', { last_failure: last })
  const daemon = await startDaemon(t, {
    'POST /v1/connection': BEGUN,
    'GET /v1/status': inTurn(stuck, stuck, CONNECTED),
  })
  const ran = await runCli([...ENABLE, '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.is(ran.stderr, 'ghconnect: The web proxy refuses the way to GitHub: HTTP 403 to CONNECT\n')
})

test('each state that ends an enable has its exit code', async t => {
  const ends: [string, number][] = [
    ['disconnected', 69],
    ['key-lost', 69],
    ['quarantined', 78],
    ['locked', 69],
    ['suspended', 69],
    ['uninstalled', 69],
    ['app-deleted', 69],
    ['key-rejected', 69],
    ['blocked', 69],
    ['disconnecting', 69],
    ['state-of-a-newer-daemon', 69],
  ]
  for (const [state, code] of ends) {
    const daemon = await startDaemon(t, { 'POST /v1/connection': BEGUN, 'GET /v1/status': { body: statusIn(state) } })
    const ran = await runCli([...ENABLE, '--socket', daemon.folder])
    t.is(ran.code, code, state)
    t.true(ran.stderr.includes(`Meaning of ${state}.`), ran.stderr)
  }
})

test('a connection without a first token is a connection all the same', async t => {
  const quiet = statusIn('connected', { tokens: { live: 0 } })
  const daemon = await startDaemon(t, { 'POST /v1/connection': BEGUN, 'GET /v1/status': { body: quiet } })
  const ran = await runCli([...ENABLE, '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.is(daemon.requestsTo('GET /v1/status').length, 4)
})

test('a daemon that restarts meanwhile is waited for; one that stays away is not', async t => {
  let questions = 0
  const restarting = await startDaemon(t, {
    'POST /v1/connection': BEGUN,
    'GET /v1/status': (_, response) => {
      questions += 1
      return questions < 5 ? void response.destroy() : { body: CONNECTED }
    },
  })
  t.is((await runCli([...ENABLE, '--socket', restarting.folder])).code, 0)
  const gone = await startDaemon(t, {
    'POST /v1/connection': BEGUN,
    'GET /v1/status': (_, response) => void response.destroy(),
  })
  t.is((await runCli([...ENABLE, '--socket', gone.folder])).code, 69)
})

test('what has to be had before is asked for before the daemon is', async t => {
  const daemon = await startDaemon(t, { 'POST /v1/connection': BEGUN })
  const asked: boolean[] = []
  const beforeEnable = async (_: unknown, options: { withoutRecoveryKey: boolean }): Promise<void> => {
    asked.push(options.withoutRecoveryKey)
    if (!options.withoutRecoveryKey) throw new Failure('usage', 'no recovery key')
  }
  t.is((await runCli([...ENABLE, '--no-wait', '--socket', daemon.folder], { beforeEnable })).code, 64)
  t.is(daemon.seen.length, 0)
  const argv = [...ENABLE, '--no-wait', '--without-recovery-key', '--socket', daemon.folder]
  t.is((await runCli(argv, { beforeEnable })).code, 0)
  t.deepEqual(asked, [false, true])
})

test('the tunnel is hinted at in an SSH session, for a page on loopback', async t => {
  const session = '203.0.113.7 51234 192.0.2.10 22'
  t.is(tunnelHint(URL, session), 'ssh -L 8470:127.0.0.1:8470 192.0.2.10')
  t.is(tunnelHint(URL, '203.0.113.7 51234 192.0.2.10 122'), 'ssh -p 122 -L 8470:127.0.0.1:8470 192.0.2.10')
  t.is(tunnelHint('http://[::1]:8470/x', session), 'ssh -L 8470:[::1]:8470 192.0.2.10')
  t.is(tunnelHint('https://ghe.example.com/connect', session), undefined)
  t.is(tunnelHint(URL, undefined), undefined)
  const daemon = await startDaemon(t, { 'POST /v1/connection': BEGUN })
  const ran = await runCli([...ENABLE, '--no-wait', '--socket', daemon.folder], { env: { SSH_CONNECTION: session } })
  t.regex(ran.stdout, /ssh -L 8470:127\.0\.0\.1:8470 192\.0\.2\.10/)
})

const PEM = '-----BEGIN RSA PRIVATE KEY-----\r\nMIIB\r\n-----END RSA PRIVATE KEY-----\r\n'
const IMPORTED = { state: 'connected', meaning: 'Connected.', next: 'Nothing to do.' }

test('import sends the key as it is, from a file and from standard input', async t => {
  const daemon = await startDaemon(t, { 'POST /v1/connection/import': { body: IMPORTED } })
  const file = join(daemon.folder, 'key.pem')
  await writeFile(file, PEM)
  const first = await runCli([
    'import',
    '--app-id',
    '12345',
    '--key',
    file,
    '--account',
    'o',
    '--socket',
    daemon.folder,
  ])
  t.deepEqual(first, { code: 0, stdout: 'Connected.\n', stderr: '' })
  const stdin = new PassThrough()
  stdin.end(PEM)
  const second = await runCli(['import', '--client-id', 'Iv23x', '--key', '-', '--socket', daemon.folder], { stdin })
  t.is(second.code, 0)
  t.deepEqual(
    daemon.seen.map(call => ImportRequest.parse(call.body)),
    [
      { app_id: 12345, private_key: PEM, account: 'o' },
      { client_id: 'Iv23x', private_key: PEM },
    ],
  )
})

test('import tells what comes next where the App is not installed yet', async t => {
  const body = { state: 'awaiting-installation', meaning: 'Exists.', next: 'Install it.' }
  const daemon = await startDaemon(t, { 'POST /v1/connection/import': { body } })
  const file = join(daemon.folder, 'key.pem')
  await writeFile(file, PEM)
  const ran = await runCli(['import', '--app-id', '1', '--key', file, '--socket', daemon.folder])
  t.is(ran.stdout, 'Exists.\nInstall it.\n')
})

test('a key that is absent, empty or far too long is not sent, and never shown', async t => {
  const daemon = await startDaemon(t, {})
  const file = join(daemon.folder, 'key.pem')
  const importKey = (key: string) => runCli(['import', '--app-id', '1', '--key', key, '--socket', daemon.folder])
  const absent = await importKey(file)
  t.is(absent.code, 74)
  t.regex(absent.stderr, /key\.pem: cannot be read \(ENOENT\)/)
  await writeFile(file, '')
  t.is((await importKey(file)).code, 65)
  await writeFile(file, 'secret-'.repeat(10_000))
  const long = await importKey(file)
  t.is(long.code, 65)
  t.notRegex(long.stderr, /secret-/)
  t.is(daemon.seen.length, 0)
})
