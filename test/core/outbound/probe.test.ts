// How far a request comes: each step over real sockets, and the stage at which it ends.

import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import type { Passage } from '../../../src/protocol/passage.ts'
import { createClock } from '../../../src/service/clock.ts'
import { createOutbound } from '../../../src/core/outbound/outbound.ts'
import { type Certificate, createAuthority } from '../../support/certificates.ts'
import { startMeddlingProxy } from '../../support/meddling-proxy.ts'
import { freePort } from '../../support/ports.ts'
import { startMicrosocks, startSquid } from '../../support/squid.ts'
import { settingsOf, type WayOut } from '../../support/way-out.ts'

const authority = createAuthority('Corporate Test CA')
const certificate = authority.issue('localhost', '127.0.0.1')
const PASSWORD = 'p@ss:w/rd %41'
const guarded = await startSquid({ users: { robot: PASSWORD } })
const socks = await startMicrosocks()
test.after.always(async () => {
  await Promise.all([guarded.stop(), socks.stop()])
  authority.remove()
})

const listen = async (t: ExecutionContext, server: Server): Promise<number> => {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

const github: RequestListener = (_, response) =>
  response.writeHead(200, { 'content-type': 'application/json', 'x-github-request-id': 'A:B' }).end('{}')

const startTarget = async (t: ExecutionContext, handler = github, tls: Certificate | null = certificate) => {
  const port = await listen(t, tls ? createHttpsServer(tls, handler) : createHttpServer(handler))
  return `${tls ? 'https' : 'http'}://localhost:${port}/rate_limit`
}

const examine = async (
  t: ExecutionContext,
  url: string,
  { settings = {}, deadlineMs = 10_000 }: { settings?: WayOut; deadlineMs?: number } = {},
): Promise<Passage & { lookUps: number }> => {
  const outbound = createOutbound(settingsOf({ ca: authority.ca, ...settings }), { clock: createClock() })
  t.teardown(() => outbound.close())
  let lookUps = 0
  const passage = await outbound.examine({
    url,
    method: 'GET',
    deadlineMs,
    userAgent: 'test',
    onLookUp: () => lookUps++,
  })
  t.true(passage.tookMs <= deadlineMs + 500, `${passage.tookMs} ms`)
  t.false(JSON.stringify(passage).includes(PASSWORD))
  return { ...passage, lookUps }
}

test('a direct way shows each of its steps', async t => {
  const beganAtMs = Date.now()
  const passage = await examine(t, await startTarget(t))
  t.is(passage.failure, undefined)
  t.is(passage.name, 'localhost')
  t.true(passage.lookUp?.addresses.includes('127.0.0.1'))
  t.is(passage.connect?.from, '127.0.0.1')
  t.like(passage.tls, { issuer: 'Corporate Test CA', root: { name: 'Corporate Test CA', kind: 'configured' } })
  t.is(passage.tls?.root?.validToMs, new X509Certificate(authority.ca).validToDate.getTime())
  t.like(passage.answer, { status: 200, requestId: 'A:B', isWhole: true, contentType: 'application/json' })
  t.is(passage.lookUps, 1)
  const { sentAtMs = 0, receivedAtMs = 0, date = '' } = passage.answer ?? {}
  t.true(beganAtMs <= sentAtMs && sentAtMs <= receivedAtMs && receivedAtMs <= Date.now())
  t.true(Math.abs(Date.parse(date) - receivedAtMs) < 10_000, 'the clock of the other side')
})

test('a way through a proxy is looked at behind it, with its credentials, whatever its kind', async t => {
  const url = await startTarget(t)
  const login = guarded.url.replace('//', `//robot:${encodeURIComponent(PASSWORD)}@`)
  for (const proxy of [login, socks.url]) {
    const passage = await examine(t, url, { settings: { url: proxy } })
    t.is(passage.failure, undefined, proxy)
    t.is(passage.name, undefined, 'the proxy is an address')
    t.is(passage.tls?.root?.kind, 'configured')
    t.truthy(passage.connect)
    t.is(passage.lookUps, 1)
  }
  const excluded = await examine(t, url, { settings: { url: login, exclude: ['localhost'] } })
  t.is(excluded.proxy, undefined)
  t.is(excluded.name, 'localhost')
})

test('each fault ends the passage at its stage', async t => {
  const url = await startTarget(t)
  const mute = await listen(
    t,
    createTcpServer(() => {}),
  )
  const broken = await listen(
    t,
    createTcpServer(socket => void socket.once('data', () => socket.destroy())),
  )
  const dead = await freePort()
  const plain = (await startTarget(t, github, null)).replace('http:', 'https:')
  const stranger = await startTarget(t, github, authority.issue('www.example.com'))
  const cases: readonly (readonly [string, WayOut, string, string])[] = [
    ['https://nowhere.invalid/', {}, 'dns', 'dns'],
    [url, { url: 'http://nowhere.invalid:3128' }, 'dns', 'dns'],
    [url, { url: `http://127.0.0.1:${dead}` }, 'proxy', 'proxy-unreachable'],
    [url, { url: `http://127.0.0.1:${mute}` }, 'proxy', 'proxy-unreachable'],
    [url, { url: guarded.url }, 'proxy', 'proxy-authentication'],
    [url, { ca: undefined }, 'tls', 'tls'],
    [stranger, {}, 'tls', 'tls'],
    [`https://127.0.0.1:${mute}/`, {}, 'tls', 'timeout'],
    [`https://127.0.0.1:${broken}/`, {}, 'tls', 'unreachable'],
    [plain, {}, 'tls', 'portal'],
    [`https://127.0.0.1:${dead}/`, {}, 'host', 'unreachable'],
    [`http://127.0.0.1:${mute}/`, {}, 'host', 'timeout'],
    // It tried, and did not get there.
    [`https://127.0.0.1:${dead}/`, { url: socks.url }, 'host', 'unreachable'],
  ]
  for (const [target, settings, stage, code] of cases) {
    const { failure, answer, lookUps } = await examine(t, target, { settings, deadlineMs: 700 })
    t.deepEqual([failure?.stage, failure?.failure.code], [stage, code], `${target} ${JSON.stringify(settings.url)}`)
    t.is(answer, undefined)
    t.is(lookUps, stage === 'dns' ? 0 : 1, 'told once the name is found, or there is none to find')
  }
})

test('a page in place of a tunnel is a fault of the proxy; an inspector is named also where it is refused', async t => {
  const inspector = createAuthority('Inspection CA of the Firm')
  t.teardown(() => inspector.remove())
  const proxy = await startMeddlingProxy({ certificate: inspector.issue('localhost'), ca: authority.ca })
  t.teardown(() => proxy.close())
  const url = await startTarget(t)
  proxy.behave({ kind: 'page' })
  t.is((await examine(t, url, { settings: { url: proxy.url } })).failure?.stage, 'proxy')
  proxy.behave({ kind: 'intercept' })
  const refused = await examine(t, url, { settings: { url: proxy.url } })
  t.is(refused.failure?.stage, 'tls')
  t.regex(refused.failure?.failure.message ?? '', /issued by Inspection CA of the Firm/)
  t.is(refused.tls?.issuer, 'Inspection CA of the Firm')
  const trusted = await examine(t, url, { settings: { url: proxy.url, ca: authority.ca + inspector.ca } })
  t.like(trusted.tls, { issuer: 'Inspection CA of the Firm', root: { kind: 'configured' } })
})

test('an answer that breaks off, is no JSON, has no end, or comes too slowly is told', async t => {
  const cut = await startTarget(t, (_, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half', () => response.destroy())
  })
  t.like((await examine(t, cut)).failure, { stage: 'host', failure: { code: 'unreachable' } })
  const half = await startTarget(t, (_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"a'),
  )
  t.is((await examine(t, half)).answer?.isWhole, false)
  const endless = await startTarget(t, (_, response) => {
    const pour = (): void => void response.write(Buffer.alloc(65_536), error => error ?? pour())
    pour()
  })
  t.is((await examine(t, endless)).answer?.status, 200)
  const slow = await startTarget(t, (_, response) => void response.writeHead(200).write('a'))
  t.like((await examine(t, slow, { deadlineMs: 500 })).failure, { stage: 'host', failure: { code: 'timeout' } })
})

test('new settings hold for the next look', async t => {
  const url = await startTarget(t)
  const outbound = createOutbound(settingsOf({ url: `http://127.0.0.1:${await freePort()}`, ca: authority.ca }), {
    clock: createClock(),
  })
  t.teardown(() => outbound.close())
  const look = () => outbound.examine({ url, method: 'GET', deadlineMs: 2_000, userAgent: 'test' })
  t.is((await look()).failure?.stage, 'proxy')
  outbound.reload(settingsOf({ ca: authority.ca }))
  t.is((await look()).failure, undefined)
})
