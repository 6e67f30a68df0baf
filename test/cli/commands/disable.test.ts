// Disable: the question before it, the steps, and where it ends.

import type { PassThrough } from 'node:stream'
import test from 'ava'
import { CONNECTED, inTurn, runCli, startDaemon, statusIn, terminalInput } from '../rig.ts'

const GONE = { state: 'disconnected', meaning: 'Disabled; the App is gone.', next: 'Run enable.' }
const GOING = { state: 'disconnecting', meaning: 'Disabling.', next: 'Wait.' }
const OWNERS = statusIn('disconnecting', {
  next: 'Delete the App under https://github.com/organizations/octo-org/settings/apps/x/advanced; it is noticed by itself.',
})

test('without a terminal nothing is disabled unless --yes says so, and all is told when it is gone', async t => {
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: CONNECTED },
    'DELETE /v1/connection': { body: GONE },
  })
  for (const more of [[], ['--local'], ['--no-wait']]) {
    const refused = await runCli(['disable', ...more, '--socket', daemon.folder])
    t.is(refused.code, 64)
    t.regex(refused.stderr, /without a terminal to ask on, it needs --yes/)
  }
  t.is(daemon.requestsTo('DELETE').length, 0)
  const ran = await runCli(['disable', '--yes', '--socket', daemon.folder])
  t.deepEqual(ran, { code: 0, stdout: 'Disabled; the App is gone.\n', stderr: '' })
  t.is(daemon.requestsTo('DELETE')[0]?.path, '/v1/connection')
})

test('--local and --no-wait are handed on; --yes only keeps them from asking', async t => {
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: CONNECTED },
    'DELETE /v1/connection': { body: GONE },
  })
  const setting = () => ({ terminal: true, stdin: terminalInput() })
  t.is((await runCli(['disable', '--local', '--yes', '--socket', daemon.folder], setting())).code, 0)
  t.is((await runCli(['disable', '--no-wait', '--yes', '--socket', daemon.folder], setting())).code, 0)
  t.deepEqual(
    daemon.requestsTo('DELETE').map(call => call.path),
    ['/v1/connection?local=true', '/v1/connection?wait=false'],
  )
})

test('in `locked`, status and disable say what the daemon says of it', async t => {
  const { state, since, meaning, next, version } = statusIn('locked')
  const type = 'urn:ghconnect:problem:wrong-store-key'
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: { state, since, meaning, next, version } },
    'GET /v1/installations': {
      status: 503,
      type: 'application/problem+json',
      body: { type, title: 'T', status: 503, detail: 'another key', next: 'Bring it back.' },
    },
  })
  const status = await runCli(['status', '--socket', daemon.folder])
  t.is(status.code, 0, status.stderr)
  t.true(status.stdout.includes('Next of locked.'))
  for (const more of [[], ['--local']]) {
    const ran = await runCli(['disable', ...more, '--yes', '--socket', daemon.folder])
    t.is(ran.code, 78)
    t.true(ran.stderr.includes('another key\n  What to do: Bring it back.'), ran.stderr)
  }
  t.is(daemon.requestsTo('DELETE').length, 0)
})

test("on a terminal the account's name is asked for, and nothing changes without it", async t => {
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: CONNECTED },
    'DELETE /v1/connection': { body: GONE },
  })
  const answering = (stdin: PassThrough, act: () => void) =>
    runCli(['disable', '--socket', daemon.folder], {
      terminal: true,
      stdin,
      onWrite: text => {
        if (text.includes('Type octo-org')) act()
      },
    })
  const wrong = terminalInput()
  const refused = await answering(wrong, () => void wrong.write('yes\n'))
  t.is(refused.code, 64)
  t.regex(refused.stderr, /nothing was changed/)
  const ended = terminalInput()
  t.is((await answering(ended, () => void ended.end())).code, 64)
  t.is(daemon.requestsTo('DELETE').length, 0)
  const right = terminalInput()
  t.is((await answering(right, () => void right.write('Octo-Org\n'))).code, 0)
  t.is(daemon.requestsTo('DELETE').length, 1)
})

test('the steps are followed until the owner has to delete the App', async t => {
  const daemon = await startDaemon(t, {
    'GET /v1/status': inTurn(CONNECTED, statusIn('disconnecting'), OWNERS),
    'DELETE /v1/connection': { status: 202, body: GOING },
  })
  const ran = await runCli(['disable', '--yes', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.regex(ran.stdout, /https:\/\/github\.com\/organizations\/octo-org\/settings\/apps\/x\/advanced/)
})

test('steps that the daemon takes before it answers are shown on a terminal', async t => {
  const taken = Promise.withResolvers<void>()
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: CONNECTED },
    'GET /v1/events': (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: {"event":"step","at":"2026-07-11T12:00:00.000Z","detail":"tokens revoked"}\n\n')
      return undefined
    },
    'DELETE /v1/connection': async (_, response) => {
      await taken.promise
      response.writeHead(202, { 'content-type': 'application/json' })
      response.end(JSON.stringify(GONE))
      return undefined
    },
  })
  const onWrite = (text: string): void => {
    if (text.includes('tokens revoked')) taken.resolve()
  }
  const ran = await runCli(['disable', '--yes', '--socket', daemon.folder], { terminal: true, onWrite })
  t.is(ran.code, 0)
  t.is(ran.stderr, 'tokens revoked\n')
})

test('where the daemon refuses its events, it is said once, and what goes on is shown by asking', async t => {
  const shown = Promise.withResolvers<void>()
  const daemon = await startDaemon(t, {
    'GET /v1/status': inTurn(CONNECTED, statusIn('disconnecting'), statusIn('disconnecting'), OWNERS),
    'GET /v1/events': { status: 429, type: 'application/problem+json', body: {} },
    'DELETE /v1/connection': async (_, response) => {
      await shown.promise
      response.writeHead(202, { 'content-type': 'application/json' })
      response.end(JSON.stringify(GOING))
      return undefined
    },
  })
  const onWrite = (text: string): void => {
    if (text.includes('Meaning of disconnecting.')) shown.resolve()
  }
  const ran = await runCli(['disable', '--yes', '--socket', daemon.folder], { terminal: true, onWrite })
  t.is(ran.code, 0)
  t.is(ran.stderr.match(/refuses an event stream/g)?.length, 1)
})

test('with GitHub away the wait ends, says so, and the daemon goes on', async t => {
  const last = { code: 'github-outage', detail: 'HTTP 503', next: 'n', at: '2026-07-11T12:00:00.000Z' }
  const daemon = await startDaemon(t, {
    'GET /v1/status': inTurn(CONNECTED, statusIn('disconnecting', { last_failure: last })),
    'DELETE /v1/connection': { status: 202, body: GOING },
  })
  const ran = await runCli(['disable', '--yes', '--socket', daemon.folder])
  t.is(ran.code, 75)
  t.regex(ran.stderr, /GitHub has an outage: HTTP 503; the daemon goes on by itself/)
})

test('where nothing is connected there is nothing to do', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: statusIn('disconnected') } })
  const ran = await runCli(['disable', '--yes', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.is(daemon.requestsTo('DELETE').length, 0)
  const json = await runCli(['disable', '--json', '--socket', daemon.folder])
  t.is(JSON.parse(json.stdout).state, 'disconnected')
})
