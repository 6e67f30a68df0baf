// The sockets themselves: who may be taken over, how long a silent client stays, and whose connections make room.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createHttpServer, TIMES } from '../../../src/core/api/http-server.ts'
import { attestPeers, LIMITS, listenUnix } from '../../../src/core/api/sockets.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Peer } from '../../../src/protocol/profile.ts'
import { createClock } from '../../../src/service/clock.ts'
import { failureOf } from '../../support/fakes.ts'
import { peerOf } from '../../support/operations-rig.ts'

const { after } = createClock()

const socketPath = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'sockets-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'x.sock')
}

/** Listens, accepts nobody, and has no room for another. */
const BUSY = `import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(0)
c = socket.socket(socket.AF_UNIX)
c.connect(sys.argv[1])
print('full', flush=True)
sys.stdin.read()`

test('the socket of a daemon that is too busy to accept is not a stale one', async t => {
  const path = socketPath(t)
  const busy = spawn('python3', ['-c', BUSY, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(busy, 'exit')
  await once(busy.stdout, 'data')
  const failure = await failureOf(listenUnix(createServer(), { path, mode: 0o600 }))
  t.is(failure.code, 'socket-in-use')
  t.true(existsSync(path))
  busy.stdin.end()
  await ended
  const server = createServer()
  await listenUnix(server, { path, mode: 0o600 })
  t.true(server.listening, 'the dead one is replaced')
  server.close()
})

/** With or without an error: a busy machine may not have read what was sent. */
const soon = (task: () => void) => {
  const immediate = setImmediate(task)
  return { cancel: () => clearImmediate(immediate) }
}

const closeOf = (client: Socket): Promise<unknown> =>
  new Promise(resolve => void client.on('error', () => {}).once('close', resolve))

for (const [what, sent, answer] of [
  ['sends nothing', '', /^(?:HTTP\/1\.1 408 [^]*)?$/],
  ['sends half a head', 'GET / HTTP/1.1\r\nhost: local', /^HTTP\/1\.1 408 /],
  ['sends half a body', 'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf', /^HTTP\/1\.1 408 /],
] as const)
  test(`a client that ${what} and then is silent is sent away`, async t => {
    const path = socketPath(t)
    const times = { ...TIMES, headersMs: 60, requestMs: 80, checkMs: 20 }
    const server = createHttpServer(() => {}, after, times)
    attestPeers(server, () => ({ peer: peerOf(1000), assertAlive() {}, release() {} }))
    server.listen(path)
    await once(server, 'listening')
    t.teardown(() => void server.close())
    const client = connect(path)
    let text = ''
    client.on('data', (chunk: Buffer) => (text += chunk.toString()))
    client.write(sent)
    await closeOf(client)
    t.regex(text, answer)
  })

test('who ends within a request is answered and closed at once, and waits in no memory', async t => {
  const path = socketPath(t)
  const late: (() => void)[] = []
  const server = createHttpServer(
    () => {},
    (_ms, task) => (late.push(task), { cancel() {} }),
  )
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => void server.close())
  const client = connect({ path, allowHalfOpen: true })
  const [socket]: Socket[] = await once(server, 'connection')
  let text = ''
  client.on('data', (chunk: Buffer) => (text += chunk.toString()))
  client.end('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf')
  await Promise.all([once(client, 'close'), once(socket ?? server, 'close')])
  t.regex(text, /^HTTP\/1\.1 400 /)
  t.is(late.length, 1, 'the end of a client that does not read')
})

test('the times are those of a socket that any local process may open', t => {
  t.true(TIMES.headersMs <= 10_000 && TIMES.requestMs <= 30_000 && TIMES.silenceMs <= 120_000 && TIMES.checkMs <= 5_000)
  t.true(LIMITS.ofHolder <= LIMITS.all / 2 && LIMITS.ofUid <= LIMITS.all / 2)
})

test('a full server serves the newcomer, and closes an idle connection of whoever has most', async t => {
  const path = socketPath(t)
  let peer: Peer = peerOf(1000)
  const server = createHttpServer((_incoming, outgoing) => void outgoing.end('served'), after)
  attestPeers(server, () => ({ peer, assertAlive() {}, release() {} }), {
    limits: { all: 4, ofHolder: 3, ofUid: 3 },
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => (server.closeAllConnections(), server.close()))
  const enter = async () => {
    const client = connect(path)
    await once(server, 'connection')
    return client
  }
  const ask = async (client: Awaited<ReturnType<typeof enter>>): Promise<string> => {
    client.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
    const [chunk]: unknown[] = await once(client, 'data')
    return String(chunk)
  }
  const first = await enter()
  const second = await enter()
  await enter()
  t.regex(await ask(first), /served$/)
  peer = peerOf(2000)
  const quiet = await enter()
  peer = peerOf(3000)
  const closed = once(second, 'close')
  const newcomer = await enter()
  await closed
  t.regex(await ask(newcomer), /served$/)
  t.regex(await ask(quiet), /served$/)
  t.regex(await ask(first), /served$/, 'it was used later')
})

test('who may not open another connection reads why, is not served, and holds nothing', async t => {
  const path = socketPath(t)
  const server = createHttpServer((_incoming, outgoing) => void outgoing.end('served'), after)
  let released = 0
  let isRefused = true
  const attested = { peer: peerOf(1000), assertAlive() {}, release: () => void (released += 1) }
  attestPeers(server, () => attested, {
    refusalOf: () =>
      isRefused ? new Failure('rate-limited', 'too many connections', { retryAfterSeconds: 7 }) : undefined,
    slowly: soon,
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => (server.closeAllConnections(), server.close()))
  const read = async (): Promise<string> => {
    const client = connect(path)
    let text = ''
    client.on('data', (chunk: Buffer) => (text += chunk.toString()))
    client.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
    await closeOf(client)
    return text
  }
  const [head = '', text = ''] = (await read()).split('\r\n\r\n')
  t.regex(head, /^HTTP\/1\.1 429 Too Many Requests\r\n/)
  t.regex(head, /^retry-after: 7$/m)
  t.regex(head, /^content-type: application\/problem\+json$/m)
  t.is(JSON.parse(text).detail, 'too many connections')
  t.is(released, 1)
  isRefused = false
  t.regex(await read(), /served$/)
})

test('who may not open another connection is told later: what it writes until then costs it no answer, and is read up to a bound', async t => {
  const path = socketPath(t)
  let held = Promise.withResolvers<() => void>()
  let hasHungUp = false
  let cancelled = 0
  const server = createHttpServer((_incoming, outgoing) => void outgoing.end('served'), after)
  attestPeers(server, () => ({ peer: peerOf(1000), assertAlive() {}, release() {} }), {
    refusalOf: () => new Failure('rate-limited', 'too many connections'),
    slowly(task) {
      held.resolve(task)
      return { cancel: () => void (cancelled += 1) }
    },
    hasHungUp: () => hasHungUp,
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => void server.close())
  const client = connect(path)
  let text = ''
  client.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const tell = await held.promise
  const body = 'x'.repeat(20_000)
  await new Promise<void>((sent, failed) => {
    const request = `POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    client.write(request, error => (error ? failed(error) : sent()))
  })
  t.is(text, '')
  tell()
  await closeOf(client)
  t.regex(text, /^HTTP\/1\.1 429 /)

  held = Promise.withResolvers()
  const accepted = once(server, 'connection')
  const pouring = connect(path)
  let answer = ''
  pouring.on('data', (chunk: Buffer) => (answer += chunk.toString()))
  const tellLater = await held.promise
  const [socket]: Socket[] = await accepted
  const paused = once(socket ?? server, 'pause')
  pouring.write(body.repeat(7))
  await paused
  t.is(answer, '', 'who sends much is told no sooner')
  t.true((socket?.bytesRead ?? 0) < 5 * body.length, 'nor read to the end')
  tellLater()
  await closeOf(pouring)
  t.regex(answer, /^HTTP\/1\.1 429 /)

  held = Promise.withResolvers()
  const leaving = connect(path)
  await held.promise
  hasHungUp = true
  await closeOf(leaving.end())
  t.is(cancelled, 3, 'who has gone is not waited for')
})

test('processes that ended before they were attested are limited, too', async t => {
  const path = socketPath(t)
  const server = createHttpServer((_incoming, outgoing) => void outgoing.end('served'), after)
  const asked: (Peer | undefined)[] = []
  const attest = () => {
    throw new Failure('peer-gone', 'it ended')
  }
  const refusalOf = (peer: Peer | undefined) => {
    asked.push(peer)
    return new Failure('rate-limited', 'too many connections')
  }
  attestPeers(server, attest, { refusalOf, slowly: soon })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => void server.close())
  const client = connect(path)
  let text = ''
  client.on('data', (chunk: Buffer) => (text += chunk.toString()))
  client.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await closeOf(client)
  t.regex(text, /^HTTP\/1\.1 429 /)
  t.deepEqual(asked, [undefined])
})

test('who has hung up before it was accepted is nobody: it is not attested, and takes no place', async t => {
  const path = socketPath(t)
  const server = createHttpServer((_incoming, outgoing) => void outgoing.end('served'), after)
  const attested: Socket[] = []
  attestPeers(server, socket => (attested.push(socket), { peer: peerOf(1000), assertAlive() {}, release() {} }), {
    hasHungUp: () => true,
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => (server.closeAllConnections(), server.close()))
  const client = connect(path)
  await closeOf(client)
  t.deepEqual(attested, [])
})

test('what was learned of a peer is given back when its connection closes', async t => {
  const path = socketPath(t)
  const server = createHttpServer((_, outgoing) => void outgoing.end(), after)
  const released = Promise.withResolvers<void>()
  attestPeers(server, () => ({ peer: peerOf(1000), assertAlive() {}, release: released.resolve }))
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => void server.close())
  const client = connect(path)
  await once(client, 'connect')
  client.destroy()
  await released.promise
  t.pass()
})

for (const [what, sent, times] of [
  ['whose whole request has no answer', 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n', { silenceMs: 60 }],
  ['that sends half a head, though bodies have more time,', 'GET / HTTP/1.1\r\nhost', { headersMs: 60, checkMs: 20 }],
] as const)
  test(`a connection ${what} does not stay`, async t => {
    t.timeout(20_000)
    const path = socketPath(t)
    const server = createHttpServer(() => {}, after, { ...TIMES, ...times })
    server.listen(path)
    await once(server, 'listening')
    t.teardown(() => (server.closeAllConnections(), server.close()))
    const client = connect(path)
    client.resume()
    client.write(sent)
    await closeOf(client)
    t.pass()
  })
