// The way out from its first call to its end: what is under way, what is kept, and what nobody waits for any more.

import { getEventListeners, once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { createClock } from '../../../src/service/clock.ts'
import { createOutbound } from '../../../src/core/outbound/outbound.ts'
import { settingsOf } from '../../support/way-out.ts'

/** A server that never ends a connection by itself. */
const startTarget = async (t: ExecutionContext, handler: RequestListener) => {
  const server = createServer(handler)
  server.keepAliveTimeout = 0
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket.on('close', () => sockets.delete(socket))))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { url: `http://127.0.0.1:${address.port}`, sockets, server }
}

const outboundOf = (t: ExecutionContext) => {
  const outbound = createOutbound(settingsOf({}), { clock: createClock() })
  t.teardown(() => outbound.close())
  return outbound
}

const hello: RequestListener = (request, response) => void request.resume().on('end', () => response.end('hello'))

test('closing ends what began under the first settings, and under those after each reload', async t => {
  const { url, server } = await startTarget(t, () => {})
  const outbound = outboundOf(t)
  const refused = { code: 'unreachable', message: /the daemon is stopping/ }
  const pending: Promise<unknown>[] = []
  for (let reloads = 0; reloads < 3; reloads++) {
    if (reloads > 0) outbound.reload(settingsOf({}))
    const begun = once(server, 'request')
    pending.push(t.throwsAsync(outbound.send({ method: 'GET', url, headers: {}, deadlineMs: 5_000 }), refused))
    await begun
  }
  outbound.close()
  await Promise.all(pending)
  await t.throwsAsync(outbound.send({ method: 'GET', url, headers: {} }), { code: 'unreachable' })
})

test('a call that failed keeps no connection of the settings before', async t => {
  t.timeout(15_000)
  const { url, sockets } = await startTarget(t, hello)
  const outbound = outboundOf(t)
  await t.throwsAsync(outbound.send({ method: 'GET', url: 'file:///etc/passwd', headers: {} }), {
    code: 'configuration',
    message: 'what is called must be an http: or https: URL',
  })
  await (await outbound.send({ method: 'GET', url, headers: {} })).body.toArray()
  const [kept] = sockets
  if (!kept) throw new Error('the connection was not kept')
  const ended = once(kept, 'close')
  outbound.reload(settingsOf({}))
  await ended
  t.is(sockets.size, 0)
})

test('a call that is over leaves nothing behind at the signal of its caller', async t => {
  const { url } = await startTarget(t, (request, response) => {
    if (request.url === '/broken') request.socket.destroy()
    else response.end('hello')
  })
  const outbound = outboundOf(t)
  const { signal } = new AbortController()
  const { body } = await outbound.send({ method: 'GET', url, headers: {}, signal })
  await body.toArray()
  await t.throwsAsync(outbound.send({ method: 'POST', url: `${url}/broken`, headers: {}, signal }))
  // A call closes some turns after it has failed.
  for (let turn = 0; turn < 1000 && getEventListeners(signal, 'abort').length > 0; turn++) {
    await new Promise(resolve => setImmediate(resolve))
  }
  t.is(getEventListeners(signal, 'abort').length, 0)
})

test('a body that can be read once is sent once, though its connection was closed meanwhile', async t => {
  let served = 0
  const { url } = await startTarget(t, (request, response) => {
    if (++served % 2 === 0) request.socket.destroy()
    else hello(request, response)
  })
  const outbound = outboundOf(t)
  const put = async (body: Parameters<typeof outbound.send>[0]['body']): Promise<string> => {
    const answer = await outbound.send({ method: 'PUT', url, headers: {}, ...(body !== undefined && { body }) })
    return Buffer.concat(await answer.body.toArray()).toString()
  }
  const whole = 'whole'
  t.is(await put(whole), 'hello')
  t.is(await put(whole), 'hello', 'sent again over another connection')
  t.is(served, 3)
  let reads = 0
  const readOnce = () => (reads++, Readable.from([Buffer.from('once')]))
  await t.throwsAsync(put(readOnce), { code: 'unreachable' })
  t.is(reads, 1)
  t.is(served, 4)
})

test('an answer has 16 MiB where nothing else is said', async t => {
  const { url } = await startTarget(t, (request, response) => response.end(Buffer.alloc(Number(request.url?.slice(1)))))
  const outbound = outboundOf(t)
  const most = 16 * 2 ** 20
  t.is((await (await outbound.fetch(`${url}/${most}`)).arrayBuffer()).byteLength, most)
  await t.throwsAsync(outbound.fetch(`${url}/${most + 1}`), { code: 'github-unexpected' })
})
