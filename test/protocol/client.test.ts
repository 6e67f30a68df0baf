// What comes from the socket, good and bad, as the command line tells it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createServer } from 'node:net'
import { writeFile } from 'node:fs/promises'
import test from 'ava'
import * as fc from 'fast-check'
import { createClient, createEventReader, pathOf } from '../../src/protocol/client.ts'
import { adviceOn } from '../../src/cli/advice.ts'
import { CATALOGUE, Failure, isCode, toProblem } from '../../src/protocol/errors.ts'
import { CONNECTED, type Reply, runCli, startDaemon } from '../cli/rig.ts'

const CODES = Object.keys(CATALOGUE).filter(isCode)

const problemReply = (failure: Failure, headers: Record<string, string> = {}): Reply => ({
  status: failure.entry.status,
  type: 'application/problem+json; charset=utf-8',
  body: toProblem(failure, '/v1/refresh'),
  headers,
})

test('every problem of the catalogue ends the command with its exit code, title and advice', async t => {
  let reply: Reply = {}
  const daemon = await startDaemon(t, { 'POST /v1/refresh': () => reply })
  for (const code of CODES) {
    reply = problemReply(new Failure(code, `why ${code}`))
    const ran = await runCli(['refresh', '--socket', daemon.folder])
    t.is(ran.code, CATALOGUE[code].exit, code)
    t.is(ran.stdout, '')
    const title = code === 'usage' ? '' : `${CATALOGUE[code].title}: `
    const asked = { command: 'refresh', who: 'root', socketGiven: true } as const
    const advice = adviceOn(new Failure(code, 'why'), asked)
    t.is(ran.stderr, `ghconnect: ${title}why ${code}\n  What to do: ${advice}\n`)
  }
})

test('a problem goes to standard error as a problem with --json', async t => {
  const failure = new Failure('quota', 'until noon')
  const daemon = await startDaemon(t, { 'GET /v1/installations': problemReply(failure, { 'retry-after': '30' }) })
  const ran = await runCli(['installations', '--json', '--socket', daemon.folder])
  t.is(ran.code, 75)
  t.is(ran.stdout, '')
  t.deepEqual(JSON.parse(ran.stderr), toProblem(failure))
})

test('the seconds to wait are part of the advice', async t => {
  const reply = problemReply(new Failure('rate-limited', 'slower'), { 'retry-after': '30' })
  const daemon = await startDaemon(t, { 'POST /v1/refresh': reply })
  const ran = await runCli(['refresh', '--socket', daemon.folder])
  t.regex(ran.stderr, /What to do: Wait, then ask again\. \(in 30 s\)\n/)
})

test('a code that only a newer daemon knows keeps its own words', async t => {
  const body = { type: 'urn:ghconnect:problem:brand-new', title: 'T', status: 500, detail: 'D', next: 'N' }
  const daemon = await startDaemon(t, {
    'POST /v1/refresh': { status: 500, type: 'application/problem+json', body },
  })
  const ran = await runCli(['refresh', '--socket', daemon.folder])
  t.is(ran.code, 70)
  t.regex(ran.stderr, /: T: D N\n/)
})

const exitOf = async (path: string): Promise<number> => (await runCli(['refresh', '--socket', path])).code

test('nothing listens, a file is no socket, a path is too long', async t => {
  const daemon = await startDaemon(t, {})
  const file = join(daemon.folder, 'file')
  await writeFile(file, '')
  t.is(await exitOf(join(daemon.folder, 'absent.sock')), 69)
  t.is(await exitOf(file), 69)
  t.is(await exitOf(`/tmp/${'x'.repeat(200)}`), 64)
})

const answersWith = (t: Parameters<typeof startDaemon>[0], reply: Reply) =>
  startDaemon(t, { 'POST /v1/refresh': reply })

test('HTML, JSON that is none, JSON by another name and a redirect are not taken for the daemon', async t => {
  const replies: Reply[] = [
    { type: 'text/html', body: '<h1>502 Bad Gateway</h1>', status: 502 },
    { type: 'text/html', body: '<h1>Welcome</h1>' },
    { body: '{"refreshed": ' },
    { type: 'text/plain', body: { refreshed: 1, failed: [] } },
    { status: 302, body: {} },
    { status: 500, type: 'application/problem+json', body: '[]' },
  ]
  for (const reply of replies) {
    const daemon = await answersWith(t, reply)
    const ran = await runCli(['refresh', '--socket', daemon.folder])
    t.is(ran.code, 69, JSON.stringify(reply))
    t.regex(ran.stderr, /not ghconnectd/)
    t.notRegex(ran.stderr, /Bad Gateway|Welcome/)
  }
})

test('an answer without end is cut off', async t => {
  const daemon = await startDaemon(t, {
    'POST /v1/refresh': (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const more = (): void => {
        while (!response.destroyed && response.write(' '.repeat(65_536))) continue
      }
      response.on('drain', more)
      more()
      return undefined
    },
  })
  const ran = await runCli(['refresh', '--socket', daemon.folder])
  t.is(ran.code, 69)
  t.regex(ran.stderr, /no end/)
})

test('a daemon that dies before or within its answer is told apart from one that answers', async t => {
  const within = await startDaemon(t, {
    'POST /v1/refresh': (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
      response.write('{"refreshed":', () => response.destroy())
      return undefined
    },
  })
  const first = await runCli(['refresh', '--socket', within.folder])
  t.is(first.code, 69)
  t.regex(first.stderr, /in the middle of its answer/)
  const before = await startDaemon(t, {
    'POST /v1/refresh': (_, response) => void response.destroy(),
  })
  const second = await runCli(['refresh', '--socket', before.folder])
  t.is(second.code, 69)
  t.regex(second.stderr, /before an answer came/)
})

test('a refusal that came, and a connection that was closed, before the request was written is read', async t => {
  const daemon = await startDaemon(t, {})
  const path = join(daemon.folder, 'early.sock')
  const body = JSON.stringify(toProblem(new Failure('rate-limited', 'one at a time')))
  const answer = `HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  // In a process of its own: this one stands still between its connecting and its writing.
  const server = spawn(process.execPath, [
    '-e',
    `require('node:net').createServer(s => s.end(process.argv[2], () => s.destroy())).listen(process.argv[1], () => console.log())`,
    path,
    answer,
  ])
  t.teardown(() => void server.kill())
  await once(server.stdout, 'data')
  const calling = createClient(path).ask('POST /v1/refresh')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  const thrown = await t.throwsAsync(calling, { instanceOf: Failure })
  t.is(thrown.code, 'rate-limited')
  t.is(thrown.message, 'one at a time')
})

test('what speaks another protocol is not taken for the daemon', async t => {
  const daemon = await startDaemon(t, {})
  const path = join(daemon.folder, 'other.sock')
  const server = createServer(socket => socket.end('220 mail.example.com ESMTP\r\n'))
  await new Promise<void>(resolve => void server.listen(path, resolve))
  t.teardown(() => server.close())
  const ran = await runCli(['refresh', '--socket', path])
  t.is(ran.code, 69)
  t.regex(ran.stderr, /does not speak HTTP/)
})

test('fields of a newer daemon are left out; a missing one is an error that names it', async t => {
  const installation = { ...CONNECTED.installations[0], added: { by: 'newer' } }
  const newer = { ...CONNECTED, added: true, installations: [installation] }
  const { meaning: _, ...older } = CONNECTED
  const daemon = await startDaemon(t, {
    'admin GET /v1/status': { body: newer },
    'token GET /v1/status': { body: older },
  })
  t.deepEqual(await createClient(join(daemon.folder, 'admin.sock')).ask('GET /v1/status'), CONNECTED)
  const thrown = await t.throwsAsync(createClient(join(daemon.folder, 'token.sock')).ask('GET /v1/status'), {
    instanceOf: Failure,
  })
  t.is(thrown.code, 'internal')
  t.regex(thrown.message, /meaning/)
})

test('requests bear no mark of a browser, and a host that is local', async t => {
  const body = { state: 'disconnected', meaning: 'm', next: 'n' }
  const daemon = await startDaemon(t, { 'POST /v1/connection/completion': { body } })
  const client = createClient(join(daemon.folder, 'admin.sock'))
  await client.ask('POST /v1/connection/completion', { body: { redirected: 'ü' } })
  const [seen] = daemon.seen
  t.is(seen?.headers.host, 'localhost')
  t.is(seen?.headers.origin, undefined)
  t.is(seen?.headers['content-type'], 'application/json')
  t.is(seen?.headers['content-length'], String(Buffer.byteLength('{"redirected":"ü"}')))
  t.deepEqual(seen?.body, { redirected: 'ü' })
})

test('events arrive, malformed ones are passed over, and a socket without events is no error', async t => {
  const at = '2026-07-11T12:00:00.000Z'
  const daemon = await startDaemon(t, {
    'admin GET /v1/events': (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(`: ping\n\nevent: state\ndata: {"event":"state","at":"${at}","state":"connected"}\n\n`)
      response.write('data: {"event":"other"}\n\ndata: no json\n\n')
      response.write(`data: {"event":"step","at":"${at}","detail":"tokens revoked"}\n\n`)
      return undefined
    },
  })
  const events: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const client = createClient(join(daemon.folder, 'admin.sock'))
  const subscription = client.subscribe(event => {
    events.push(event.event)
    if (event.event === 'step') resolve()
  })
  await promise
  subscription.close()
  t.deepEqual(events, ['state', 'step'])
  t.notThrows(() =>
    createClient(join(daemon.folder, 'none.sock'))
      .subscribe(() => t.fail())
      .close(),
  )
})

test('events are read alike however the stream is cut', t => {
  const line = fc.string({ maxLength: 12 }).map(text => text.replaceAll(/[\r\n]/g, ''))
  const stream = fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 5 })
  fc.assert(
    fc.property(
      stream,
      fc.constantFrom('\n', '\r\n', '\r'),
      fc.array(fc.nat(200), { maxLength: 20 }),
      (events, end, cuts) => {
        const text = `${events.map(lines => `event: x${end}${lines.map(l => `data: ${l}${end}`).join('')}${end}`).join('')}:${end}`
        const seen: string[] = []
        const feed = createEventReader(data => void seen.push(data))
        const bytes = Buffer.from(text)
        let from = 0
        for (const at of [...cuts, bytes.length].toSorted((a, b) => a - b)) {
          feed(bytes.subarray(from, at))
          from = Math.max(from, at)
        }
        t.deepEqual(
          seen,
          events.map(lines => lines.join('\n')),
        )
      },
    ),
  )
})

test('an endpoint of the table is asked by its name, and its answer is read by its schema', async t => {
  const fingerprint = `SHA256:${'A'.repeat(43)}=`
  const retired = { retired: [fingerprint], keys: [], delete_on_github: 'https://github.com/' }
  const path = `/v1/keys?fingerprint=${encodeURIComponent(fingerprint)}`
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: CONNECTED },
    'DELETE /v1/keys': { body: retired },
    'POST /v1/refresh': { body: { refreshed: 'many' } },
  })
  const client = createClient(join(daemon.folder, 'admin.sock'))
  t.deepEqual(await client.ask('GET /v1/status'), CONNECTED)
  t.deepEqual(await client.ask('DELETE /v1/keys', { query: { fingerprint } }), retired)
  t.deepEqual(await client.ask('DELETE /v1/keys', { query: { fingerprint: undefined } }), retired)
  t.deepEqual(
    daemon.seen.slice(1).map(seen => seen.path),
    [path, '/v1/keys'],
  )
  t.is(pathOf('GET /v1/audit', {}), '/v1/audit')
  await t.throwsAsync(client.ask('POST /v1/refresh'), { message: /refreshed/ })
  await t.throwsAsync(client.ask('GET /metrics'), { message: 'GET /metrics does not answer in JSON' })
})
