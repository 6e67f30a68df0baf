// What the pools of connections share from one reload to the next, and how many of them they keep, and for how long.

import { once } from 'node:events'
import { createServer, request, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import test from 'ava'
import { createPool, createTrust } from '../../../src/core/outbound/pool.ts'
import { createAuthority } from '../../support/certificates.ts'

test('the same roots are read once, however often the settings are read again', t => {
  const authority = createAuthority('Corporate Test CA')
  t.teardown(() => authority.remove())
  const trust = createTrust()
  const first = trust(undefined)
  t.is(trust(undefined), first)
  const withPrivate = trust(authority.ca)
  t.not(withPrivate, first)
  t.is(trust(authority.ca), withPrivate)
})

for (const [way, isProxied, most] of [
  ['direct', false, 16],
  // Each of the calls that are first finds no agent yet and makes its own.
  ['by way of a proxy', true, 20],
] as const) {
  test(`connections ${way} are kept for the next calls, each for twenty seconds, until the end`, async t => {
    t.timeout(15_000)
    const held: ServerResponse[] = []
    const sockets = new Set<Socket>()
    const server = createServer((_, response) => {
      held.push(response)
      if (held.length === 20) for (const each of held) each.end()
    })
    server.keepAliveTimeout = 0
    server.on('connection', (socket: Socket) => sockets.add(socket.on('close', () => sockets.delete(socket))))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    const address = server.address()
    const url = `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`
    const pool = createPool({
      secureContext: createSecureContext(),
      proxyFor: () => (isProxied ? url : ''),
      dials: new WeakMap(),
    })
    t.teardown(() => pool.destroy())
    const call = async (): Promise<Socket | null> => {
      const sent = request(isProxied ? 'http://github.test/' : url, { agent: pool.agent }).end()
      const [response] = await once(sent, 'response')
      await once(response.resume(), 'end')
      return sent.socket
    }
    const used = await Promise.all(Array.from({ length: 20 }, call))
    const idle = (): (Socket | null)[] => used.filter(socket => socket?.destroyed === false)
    while (sockets.size > most) await new Promise(resolve => setImmediate(resolve))
    t.deepEqual(
      idle().map(socket => socket?.timeout),
      Array.from({ length: most }, () => 20_000),
    )
    pool.destroy()
    for (let turn = 0; turn < 10_000 && sockets.size > 0; turn++) await new Promise(resolve => setImmediate(resolve))
    t.is(sockets.size, 0)
  })
}

test.serial('nothing makes the packages of the proxy print what they do', async t => {
  process.env['DEBUG'] = '*'
  await import('../../../src/service/quiet.ts')
  t.false('DEBUG' in process.env)
})
