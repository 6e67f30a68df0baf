// How a server ends: what was sent is answered, what is idle is closed, what never ends is cut off.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createHttpServer, type Handler } from '../../../src/core/api/http-server.ts'
import { closeServer, listenUnix } from '../../../src/core/api/sockets.ts'
import { createClock } from '../../../src/service/clock.ts'
import { createFakeClock } from '../../support/fakes.ts'

const { after } = createClock()
const REQUEST = 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n'

const listen = async (t: ExecutionContext, handler: Handler) => {
  const folder = mkdtempSync(join(tmpdir(), 'closing-'))
  const path = join(folder, 'x.sock')
  const server = createHttpServer(handler, after)
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => (server.closeAllConnections(), server.close(), rmSync(folder, { recursive: true, force: true })))
  return { server, path }
}

/** What the other side has said when it hangs up. */
const readAll = async (socket: Socket): Promise<string> => {
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await once(socket, 'close')
  return text
}

test('a request that was sent and not read yet is answered, and its connection ends', async t => {
  const { server, path } = await listen(t, (_incoming, outgoing) => void outgoing.end('answer'))
  const socket = connect(path)
  socket.write(REQUEST)
  const said = readAll(socket)
  await once(server, 'connection')
  await closeServer(server, 5_000, after)
  t.regex(await said, /^HTTP\/1\.1 200 OK[^]*connection: close[^]*answer$/i)
})

test('a request under way is finished', async t => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { server, path } = await listen(t, (_incoming, outgoing) => void promise.then(() => outgoing.end('late')))
  const socket = connect(path)
  socket.write(REQUEST)
  const said = readAll(socket)
  await once(server, 'request')
  const closed = closeServer(server, 5_000, after)
  resolve()
  await closed
  t.regex(await said, /late$/)
})

test('idle connections are not waited for', async t => {
  const { server, path } = await listen(t, (_incoming, outgoing) => void outgoing.end('answer'))
  const socket = connect(path)
  socket.write(REQUEST)
  const said = readAll(socket)
  await once(socket, 'data')
  const began = performance.now()
  await closeServer(server, 5_000, after)
  await said
  t.true(performance.now() - began < 2_000)
})

test('what does not end within the grace is cut off', async t => {
  const { server, path } = await listen(t, () => {})
  const socket = connect(path)
  socket.write(REQUEST)
  const said = readAll(socket)
  await once(server, 'request')
  await closeServer(server, 100, after)
  t.is(await said, '')
})

test('the grace is as long as the caller says, and not a moment longer', async t => {
  const { server, path } = await listen(t, () => {})
  const socket = connect(path)
  socket.write(REQUEST)
  const said = readAll(socket)
  await once(server, 'request')
  const clock = createFakeClock()
  const closed = closeServer(server, 5_000, clock.after)
  await clock.advance(4_900)
  t.false(socket.readableEnded)
  await clock.advance(100)
  await closed
  t.is(await said, '')
  t.is(clock.waiting(), 0)
})

test('connections are taken several in a turn of the event loop, and after the close none', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'closing-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'x.sock')
  const server = createHttpServer((_incoming, outgoing) => void outgoing.end('answer'), after)
  await listenUnix(server, { path, mode: 0o600 })
  let taken = 0
  server.on('connection', () => void (taken += 1))
  const clients = Array.from({ length: 1_000 }, () => connect(path))
  const all = Promise.all(clients.map(readAll))
  for (const client of clients) client.write(REQUEST)
  const inTurns: number[] = []
  while (inTurns.reduce((sum, count) => sum + count, 0) < clients.length) {
    const before = taken
    await new Promise(resolve => void setImmediate(resolve))
    inTurns.push(taken - before)
  }
  t.is(Math.max(...inTurns), 4)
  await closeServer(server, 5_000, after)
  const answers = await all
  t.true(answers.every(text => text.endsWith('answer')))
  const [error]: unknown[] = await once(connect(path), 'error')
  t.regex(String(error), /ENOENT|ECONNREFUSED/)
})
