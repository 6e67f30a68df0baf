// What the connections share from one reload to the next, how many of them are kept, and for how long.

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import test from 'ava'
import { createOutbound } from '../../../src/core/outbound/outbound.ts'
import { createPool } from '../../../src/core/outbound/pool.ts'
import { createAuthority } from '../../support/certificates.ts'
import { createFakeClock } from '../../support/fakes.ts'
import { settingsOf } from '../../support/way-out.ts'

test('the same roots are read once, however often the settings are read again', t => {
  const authority = createAuthority('Corporate Test CA')
  t.teardown(() => authority.remove())
  const { trust } = createPool({
    clock: createFakeClock(),
    route: () => ({ ca: undefined, proxyFor: () => undefined }),
  })
  const first = trust(undefined)
  t.is(trust(undefined), first)
  const withPrivate = trust(authority.ca)
  t.not(withPrivate, first)
  t.is(trust(authority.ca), withPrivate)
})

for (const [way, isProxied] of [
  ['direct', false],
  ['by way of a proxy', true],
] as const) {
  test(`connections ${way} are kept for the next calls, sixteen of them, each for twenty seconds, until the end`, async t => {
    t.timeout(15_000)
    const held: ServerResponse[] = []
    const sockets = new Set<Socket>()
    const server = createServer((_, response) => {
      held.push(response)
      if (held.length >= 20) for (const each of held) each.end()
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
    const clock = createFakeClock()
    const outbound = createOutbound(settingsOf(isProxied ? { url } : {}), { clock })
    t.teardown(() => outbound.close())
    const call = async (): Promise<void> => {
      const { body } = await outbound.send({ method: 'GET', url: isProxied ? 'http://github.test/' : url, headers: {} })
      await body.toArray()
      if (!body.closed) await once(body, 'close')
    }
    const until = async (count: number): Promise<void> => {
      for (let turn = 0; turn < 10_000 && sockets.size !== count; turn++)
        await new Promise(resolve => setImmediate(resolve))
    }
    await Promise.all(Array.from({ length: 20 }, call))
    await until(16)
    t.is(sockets.size, 16)
    await clock.advance(15_000)
    await call()
    t.is(held.length, 21)
    await until(16)
    t.is(sockets.size, 16, 'one that was kept served the next call')
    await clock.advance(5_000)
    await until(1)
    t.is(sockets.size, 1, 'the one that was used last has its twenty seconds from then on')
    await clock.advance(15_000)
    await until(0)
    t.is(sockets.size, 0)
    await call()
    t.is(sockets.size, 1)
    outbound.close()
    await until(0)
    t.is(sockets.size, 0)
  })
}

test.serial('nothing makes the packages of the proxy print what they do', async t => {
  process.env['DEBUG'] = '*'
  await import('../../../src/service/quiet.ts')
  t.false('DEBUG' in process.env)
})
