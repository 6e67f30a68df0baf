// Answers to pipelined requests stay in step, whatever the requests expect.

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { createHttpServer } from '../../src/api/sockets.ts'
import { createApiRig } from '../support/api-rig.ts'

const answer = ({ url }: IncomingMessage, outgoing: ServerResponse): void => {
  outgoing.writeHead(200).flushHeaders()
  outgoing.end(Buffer.from(`answer ${url}`))
}

const startServer = async (t: ExecutionContext): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), 'pipelining-'))
  const path = join(folder, 'http.sock')
  const server = createHttpServer(
    (incoming, outgoing) => void setImmediate().then(() => answer(incoming, outgoing)),
    () => ({ cancel() {} }),
  )
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true })
  })
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

test('a connection on which many requests were sent at once is read on when they are answered', async t => {
  const { open } = await createApiRig(t)
  const request = 'GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n'
  const { client, text } = await open(request.repeat(100))
  const answers = (): number => text().match(/"live":true/g)?.length ?? 0
  const answered = async (count: number): Promise<number> => {
    for (let turns = 0; turns < 1_000 && answers() < count; turns++) await setImmediate()
    return answers()
  }
  t.is(await answered(100), 100)
  client.write(request)
  t.is(await answered(101), 101)
  client.destroy()
})
