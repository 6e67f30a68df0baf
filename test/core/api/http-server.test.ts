// Pipelined requests: answers stay in step, whatever the requests expect, and few of them are parsed before their turn.

import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { createHttpServer, type Handler, TIMES } from '../../../src/core/api/http-server.ts'
import { createApiRig } from '../../support/api-rig.ts'

const answer = ({ url }: IncomingMessage, outgoing: ServerResponse): void => {
  outgoing.writeHead(200).flushHeaders()
  outgoing.end(Buffer.from(`answer ${url}`))
}

const start = async (
  t: ExecutionContext,
  handler: Handler,
  times = TIMES,
): Promise<{ path: string; server: Server }> => {
  const folder = mkdtempSync(join(tmpdir(), 'pipelining-'))
  const path = join(folder, 'http.sock')
  const server = createHttpServer(handler, () => ({ cancel() {} }), times)
  server.listen({ path, backlog: 1_024 })
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true })
  })
  return { path, server }
}

const startServer = async (t: ExecutionContext): Promise<string> => {
  const { path } = await start(t, (incoming, outgoing) => void setImmediate(() => answer(incoming, outgoing)))
  return path
}

/** The answers on one connection, once the server has closed it. */
const answersTo = async (path: string, requests: string): Promise<readonly string[] | null> => {
  const socket = connect(path)
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  socket.write(requests)
  await once(socket, 'close')
  return text.match(/HTTP\/1\.1 \d+|answer \/\w{3}/g)
}

test('100 Continue is sent before an answer and never within it', async t => {
  const path = await startServer(t)
  const expecting = 'GET /one HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\r\n'
  const last = expecting.replace('one', 'two').replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n')
  const found = await answersTo(path, expecting + last)
  t.deepEqual(found, ['HTTP/1.1 100', 'HTTP/1.1 200', 'answer /one', 'HTTP/1.1 200', 'answer /two'])
})

test('a request for another protocol is answered and ends its connection: what stands behind it is not waited for in vain', async t => {
  const path = await startServer(t)
  const next = 'GET /two HTTP/1.1\r\nhost: localhost\r\n\r\n'
  const upgrade = 'host: localhost\r\nconnection: upgrade\r\nupgrade: h2c\r\n'
  t.deepEqual(await answersTo(path, `GET /one HTTP/1.1\r\n${upgrade}\r\n${next}`), ['HTTP/1.1 200', 'answer /one'])
  const expecting = `GET /one HTTP/1.1\r\n${upgrade}expect: nothing\r\n\r\n${next}`
  t.deepEqual(await answersTo(path, expecting), ['HTTP/1.1 417'])
})

const get = (path: number | string): string => `GET /${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`
const many = (count: number): string => Array.from({ length: count }, (_none, n) => get(n)).join('')
/** The connection ends with its answer. */
const LAST = 'GET /9999 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'

/** Answers with the method, the address and the length of the body. */
const echo: Handler = (incoming, outgoing) => {
  let size = 0
  incoming.on('data', (chunk: Buffer) => (size += chunk.length))
  incoming.once('end', () => outgoing.end(`${incoming.method} ${incoming.url} ${size};`))
}

/** What is answered, once the server has ended the connection. */
const textFrom = async (socket: Socket): Promise<string> => {
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await new Promise(resolve => void socket.on('error', () => {}).once('close', resolve))
  return text
}
const echoes = (text: string): readonly string[] => text.match(/(?:GET|POST) \/\d+ \d+;/g) ?? []

test('of what is sent at once a few requests are parsed, and the others when these are answered', async t => {
  let parsed = 0
  const held: ServerResponse[] = []
  const { path, server } = await start(t, (_incoming, outgoing) => void held.push(outgoing))
  server.on('request', () => void (parsed += 1))
  const socket = connect(path)
  socket.write(many(500))
  const answers: string[] = []
  let most = 0
  socket.on('data', (chunk: Buffer) => void answers.push(...(chunk.toString().match(/HTTP\/1.1 200/g) ?? [])))
  while (answers.length < 500) {
    held.shift()?.end('x')
    await new Promise(resolve => void setImmediate(resolve))
    most = Math.max(most, parsed - answers.length)
  }
  socket.destroy()
  t.is(parsed, 500)
  t.true(most < 100, `${most} were parsed and waited`)
})

test('an end within a request is told from one behind it', async t => {
  const { path, server } = await start(t, echo)
  const refused = once(server, 'clientError')
  const socket = connect({ path, allowHalfOpen: true })
  socket.end(`${many(300)}GET /cut HTTP/1.1\r\nhost: loc`)
  const [error] = await refused
  t.is((error as { code?: string }).code, 'HPE_INVALID_EOF_STATE')
  socket.destroy()
})

test('whatever the lengths of bodies and of pieces, each request is answered, in order and with its whole body', async t => {
  const { path } = await start(t, echo)
  const length = fc.oneof(
    { weight: 8, arbitrary: fc.constant(0) },
    { weight: 4, arbitrary: fc.nat(2_000) },
    fc.nat(200_000),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(length, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 200, max: 100_000 }),
      async (lengths, cut) => {
        const requests = lengths.map((size, n) =>
          size === 0
            ? get(n)
            : `POST /${n} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${size}\r\n\r\n${'b'.repeat(size)}`,
        )
        const all = requests.join('') + LAST
        const socket = connect(path)
        const text = textFrom(socket)
        for (let at = 0; at < all.length; at += cut) socket.write(all.slice(at, at + cut))
        t.deepEqual(echoes(await text), [
          ...lengths.map((size, n) => `${size === 0 ? 'GET' : 'POST'} /${n} ${size};`),
          'GET /9999 0;',
        ])
      },
    ),
    { numRuns: 40 },
  )
})

test('who reads slowly is answered all the same, however large the answers are', async t => {
  const large = 'x'.repeat(100_000)
  const { path } = await start(t, (_incoming, outgoing) => void outgoing.end(large))
  const socket = connect(path)
  socket.write(many(59) + LAST)
  let size = 0
  for await (const chunk of socket) {
    size += (chunk as Buffer).length
    await new Promise(resolve => void setImmediate(resolve))
  }
  t.true(size > 60 * large.length)
})

test('a request that is cut by our own waiting is not too slow', async t => {
  const held: ServerResponse[] = []
  let isPatient = false
  const times = { ...TIMES, headersMs: 1_000, requestMs: 1_200, checkMs: 50 }
  const { path, server } = await start(
    t,
    (_incoming, outgoing) => (isPatient ? void outgoing.end('x') : void held.push(outgoing)),
    times,
  )
  const late = once(server, 'clientError')
  const socket = connect(path)
  socket.write(many(299) + LAST)
  const text = textFrom(socket)
  t.is(((await late)[0] as { code?: string }).code, 'ERR_HTTP_REQUEST_TIMEOUT')
  isPatient = true
  for (const outgoing of held) outgoing.end('x')
  t.is((await text).split('HTTP/1.1 200').length - 1, 300)
})

test('what waits unparsed on all connections is bounded, and a newcomer is served, its body too', async t => {
  const { path } = await start(t, (incoming, outgoing) => {
    incoming.resume()
    if (incoming.url === '/9999') incoming.once('end', () => outgoing.end('served'))
  })
  const text = many(4_000)
  const greedy = Array.from({ length: 400 }, () => connect(path))
  t.teardown(() => greedy.forEach(socket => socket.destroy()))
  const closed = new Promise(resolve => {
    for (const socket of greedy) socket.on('error', () => {}).once('close', resolve)
  })
  for (const socket of greedy) socket.write(text)
  await closed
  for (const size of [0, 2_000, 60_000]) {
    const socket = connect(path)
    socket.write(LAST.replace('\r\n\r\n', `\r\ncontent-length: ${size}\r\n\r\n${'b'.repeat(size)}`))
    t.true((await textFrom(socket)).endsWith('served'), `${size} bytes`)
  }
})

test('a connection on which many requests were sent at once is read on when they are answered', async t => {
  const { open } = await createApiRig(t)
  const request = 'GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n'
  const { client, text } = await open(request.repeat(100))
  const answers = (): number => text().match(/"live":true/g)?.length ?? 0
  const answered = async (count: number): Promise<number> => {
    for (let turns = 0; turns < 1_000 && answers() < count; turns++)
      await new Promise(resolve => void setImmediate(resolve))
    return answers()
  }
  t.is(await answered(100), 100)
  client.write(request)
  t.is(await answered(101), 101)
  client.destroy()
})

test('of a connection that waits for answers nothing is read, whatever comes in however small pieces', async t => {
  const held: ServerResponse[] = []
  const { path, server } = await start(t, (_incoming, outgoing) => void held.push(outgoing))
  const socket = connect(path)
  const [accepted]: Socket[] = await once(server, 'connection')
  socket.write(many(60))
  await once(server, 'request')
  for (let n = 0; n < 2_000; n += 1) {
    socket.write('x')
    if (n % 20 === 0) await new Promise(resolve => void setImmediate(resolve))
  }
  t.true((accepted?.bytesRead ?? 0) < 5_000, `${accepted?.bytesRead} were read`)
  t.is(accepted?.readableLength, 0)
  socket.destroy()
})

test('the body of a request that waits is not read before its turn', async t => {
  const bodies: IncomingMessage[] = []
  const first = Promise.withResolvers<ServerResponse>()
  const { path, server } = await start(t, (incoming, outgoing) => {
    if (incoming.url === '/0') return first.resolve(outgoing)
    bodies.push(incoming)
    echo(incoming, outgoing)
  })
  const socket = connect(path)
  const [accepted]: Socket[] = await once(server, 'connection')
  const text = textFrom(socket)
  const size = 1_000_000
  socket.write(
    `${get(0)}POST /1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: ${size}\r\n\r\n${'b'.repeat(size)}`,
  )
  const outgoing = await first.promise
  for (let n = 0; n < 50; n += 1) await new Promise(resolve => void setImmediate(resolve))
  t.true((accepted?.bytesRead ?? 0) <= 65_536, `${accepted?.bytesRead} were read`)
  outgoing.end('x')
  t.regex(await text, /POST \/1 1000000;$/)
})

test('a large body whose client ends before it was read is told as cut, or read, at once', async t => {
  const { promise, resolve } = Promise.withResolvers<IncomingMessage>()
  const { path } = await start(t, incoming => resolve(incoming))
  const socket = connect({ path, allowHalfOpen: true })
  socket.on('error', () => {})
  socket.end(`POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900000\r\n\r\n${'b'.repeat(200_000)}`)
  const incoming = await promise
  await new Promise(later => void setImmediate(later))
  const over = new Promise(closed => void incoming.on('error', () => {}).once('close', closed))
  incoming.resume()
  await over
  t.false(incoming.complete)
  socket.destroy()
})
