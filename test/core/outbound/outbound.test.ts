import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { createClock } from '../../../src/service/clock.ts'
import { createOutbound, type OutboundDeps } from '../../../src/core/outbound/outbound.ts'
import { type Certificate, createAuthority } from '../../support/certificates.ts'
import { freePort } from '../../support/ports.ts'
import { startMicrosocks, startSquid } from '../../support/squid.ts'
import { settingsOf, type WayOut } from '../../support/way-out.ts'

const authority = createAuthority('Corporate Test CA')
const certificate = authority.issue('localhost', '127.0.0.1')
const PASSWORD = 'p@ss:w/rd %41'
const open = await startSquid({ deny: ['denied.test'] })
const guarded = await startSquid({ users: { robot: PASSWORD } })
const socks = await startMicrosocks()
const guardedSocks = await startMicrosocks({ user: 'robot', password: PASSWORD })
test.after.always(async () => {
  await Promise.all([open, guarded, socks, guardedSocks].map(proxy => proxy.stop()))
  authority.remove()
})

const withLogin = (url: string, user: string, password: string): string => {
  const parsed = new URL(url)
  parsed.username = user
  parsed.password = encodeURIComponent(password)
  return parsed.href
}

const outboundOf = (t: ExecutionContext, settings: WayOut = {}, deps: Omit<OutboundDeps, 'clock'> = {}) => {
  const outbound = createOutbound(settingsOf({ ca: authority.ca, ...settings }), { clock: createClock(), ...deps })
  t.teardown(() => outbound.close())
  return outbound
}

const listen = async (t: ExecutionContext, server: Server) => {
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
  return { port: address.port, sockets }
}

/** A server that stands in for GitHub. `connections` counts. */
const startTarget = async (t: ExecutionContext, handler: RequestListener, tls: Certificate | null = certificate) => {
  const server = tls ? createHttpsServer(tls, handler) : createHttpServer(handler)
  let connections = 0
  server.on(tls ? 'secureConnection' : 'connection', () => connections++)
  const { port } = await listen(t, server)
  const scheme = tls ? 'https' : 'http'
  return { url: `${scheme}://localhost:${port}`, port, connections: () => connections }
}

const hello: RequestListener = (_, response) => response.end('hello')

/** A proxy that answers every CONNECT with what it is given, or tunnels. */
const startProxy = async (t: ExecutionContext, options: { tls?: Certificate; answer?: string }) => {
  const server = options.tls ? createHttpsServer(options.tls) : createHttpServer()
  const seen: string[] = []
  server.on('connect', (request, client) => {
    seen.push(request.url ?? '')
    client.on('error', () => {})
    if (options.answer !== undefined) {
      client.end(options.answer)
      return
    }
    const [host, port] = (request.url ?? '').split(':')
    const upstream = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.pipe(client).pipe(upstream)
    })
    upstream.on('error', () => client.destroy())
    client.on('close', () => upstream.destroy())
  })
  const { port, sockets } = await listen(t, server)
  return { url: `${options.tls ? 'https' : 'http'}://localhost:${port}`, seen, sockets }
}

const text = async (body: Readable): Promise<string> => Buffer.concat(await body.toArray()).toString()

const get = async (t: ExecutionContext, settings: WayOut, url: string) =>
  outboundOf(t, settings).send({ method: 'GET', url, headers: {} })

const failing = async (t: ExecutionContext, promise: Promise<unknown>, code: string): Promise<Failure> => {
  const error = await t.throwsAsync(promise, { instanceOf: Failure, code })
  if (!error) throw new Error('no error')
  t.false(error.message.includes(PASSWORD) || error.message.includes(encodeURIComponent(PASSWORD)))
  return error
}

test('calls through squid use one tunnel, again and again', async t => {
  const target = await startTarget(t, hello)
  const outbound = outboundOf(t, { url: open.url })
  for (let i = 0; i < 3; i++) {
    const response = await outbound.fetch(`${target.url}/${i}`)
    t.is(await response.text(), 'hello')
    t.is(response.url, `${target.url}/${i}`)
  }
  t.is(target.connections(), 1)
  outbound.close()
})

test('the same over each kind of proxy, with and without a password', async t => {
  const tlsProxy = await startProxy(t, { tls: certificate })
  const proxies = [
    tlsProxy.url,
    withLogin(guarded.url, 'robot', PASSWORD),
    socks.url,
    withLogin(guardedSocks.url, 'robot', PASSWORD),
  ]
  for (const url of proxies) {
    const target = await startTarget(t, (request, response) => request.pipe(response))
    const outbound = outboundOf(t, { url })
    for (const body of [
      'one',
      new TextEncoder().encode('two'),
      () => Readable.from(['th', 'ree'].map(part => Buffer.from(part))),
    ]) {
      const response = await outbound.send({ method: 'POST', url: target.url, headers: {}, body })
      t.regex(await text(response.body), /^(?:one|two|three)$/)
    }
    t.is(target.connections(), 1, url)
  }
  t.is(tlsProxy.seen.length, 1)
})

test('without a proxy the call is direct, and its connection is kept', async t => {
  const target = await startTarget(t, hello)
  const outbound = outboundOf(t)
  t.is(outbound.proxyFor(target.url), undefined)
  for (let i = 0; i < 2; i++) t.is(await (await outbound.fetch(target.url)).text(), 'hello')
  t.is(target.connections(), 1)
})

test('the host is that of the address, whatever the headers of a caller say', async t => {
  const seen: unknown[] = []
  const answer: RequestListener = ({ headers }, response) => {
    seen.push([headers.host, headers['proxy-authorization'], headers['x-kept']])
    response.end()
  }
  const target = await startTarget(t, answer)
  for (const headers of [
    { host: 'evil.example', 'proxy-authorization': 'Basic eDp5', 'x-kept': '1' },
    { Host: 'evil.example', 'Proxy-Authorization': 'Basic eDp5', 'x-kept': '1' },
  ]) {
    const { body } = await outboundOf(t).send({ method: 'GET', url: target.url, headers })
    await text(body)
  }
  t.deepEqual(
    seen,
    Array.from({ length: 2 }, () => [`localhost:${target.port}`, undefined, '1']),
  )
})

test('plain http goes through squid too, and its 407 is that of the proxy', async t => {
  const target = await startTarget(t, (request, response) => response.end(request.headers.host), null)
  t.is(await text((await get(t, { url: open.url }, `${target.url}/x`)).body), `localhost:${target.port}`)
  const login = withLogin(guarded.url, 'robot', PASSWORD)
  t.is(await text((await get(t, { url: login }, `${target.url}/x`)).body), `localhost:${target.port}`)
  await failing(t, get(t, { url: guarded.url }, target.url), 'proxy-authentication')
})

test('a proxy that wants another password is named, and is never taken for GitHub', async t => {
  const target = await startTarget(t, hello)
  for (const url of [
    guarded.url,
    withLogin(guarded.url, 'robot', 'wrong'),
    withLogin(guardedSocks.url, 'robot', 'wrong'),
  ]) {
    const error = await failing(t, get(t, { url }, target.url), 'proxy-authentication')
    t.true(error.message.includes(new URL(url).port), error.message)
    await failing(t, outboundOf(t, { url }).fetch(target.url), 'proxy-authentication')
  }
  await failing(t, get(t, { url: guardedSocks.url }, target.url), 'proxy-authentication')
  t.is(target.connections(), 0)
})

test('a proxy that forbids the way is named, with what it says', async t => {
  const error = await failing(t, get(t, { url: open.url }, 'https://denied.test/'), 'proxy-refused')
  t.regex(error.message, /answered 403 Forbidden \(ERR_ACCESS_DENIED 0\) when asked for denied\.test/)
})

test('a proxy that cannot get there itself is not blamed for it', async t => {
  const port = await freePort()
  const error = await failing(t, get(t, { url: open.url }, `https://localhost:${port}/`), 'unreachable')
  t.regex(error.message, /answered 503 .*ERR_CONNECT_FAIL/)
  await failing(t, get(t, { url: socks.url }, `https://localhost:${port}/`), 'unreachable')
})

test('a proxy whose answer is not to be understood is unreachable', async t => {
  for (const answer of ['', 'HTTP/1.1 200', 'SSH-2.0-OpenSSH\r\n\r\n']) {
    const proxy = await startProxy(t, { answer })
    const error = await t.throwsAsync(get(t, { url: proxy.url }, 'https://github.test/'), { instanceOf: Failure })
    t.regex(error?.code ?? '', /^proxy-/, answer)
  }
})

test('a dead proxy is unreachable, and one without an address is a matter of DNS', async t => {
  const port = await freePort()
  for (const scheme of ['http', 'https', 'socks5']) {
    const url = `${scheme}://127.0.0.1:${port}`
    const error = await failing(t, get(t, { url }, 'https://github.test/'), 'proxy-unreachable')
    t.true(error.message.includes(url), error.message)
    const nameless = await failing(t, get(t, { url: `${scheme}://no.such.invalid:1` }, 'https://github.test/'), 'dns')
    t.regex(nameless.message, /no\.such\.invalid of the proxy/)
  }
  await failing(t, get(t, { url: `http://127.0.0.1:${port}` }, 'http://github.test/'), 'proxy-unreachable')
})

test('a target without an address, and one that nobody listens at', async t => {
  const error = await failing(t, get(t, {}, 'https://no.such.invalid/'), 'dns')
  t.regex(error.message, /no\.such\.invalid has/)
  await failing(t, get(t, {}, `https://127.0.0.1:${await freePort()}/`), 'unreachable')
})

test('a certificate of an unknown CA is refused, with its issuer, on each way', async t => {
  const target = await startTarget(t, hello)
  for (const url of [undefined, open.url, socks.url]) {
    const error = await failing(t, get(t, { url, ca: undefined }, target.url), 'tls')
    t.regex(error.message, /issued by Corporate Test CA/, url)
  }
  const foreign = await startTarget(t, hello, authority.issue('other.test'))
  await failing(t, get(t, { url: open.url }, foreign.url), 'tls')
  t.is(target.connections() + foreign.connections(), 0)
})

test('a certificate is held against the host that was asked for, be it a name or an address, on each way', async t => {
  const named = await startTarget(t, hello, authority.issue('localhost'))
  const numbered = await startTarget(t, hello, authority.issue('127.0.0.1'))
  const tlsProxy = await startProxy(t, { tls: certificate })
  const byAddress = (url: string) => url.replace('localhost', '127.0.0.1')
  for (const url of [undefined, open.url, tlsProxy.url, socks.url]) {
    t.is(await text((await get(t, { url }, named.url)).body), 'hello')
    t.is(await text((await get(t, { url }, byAddress(numbered.url))).body), 'hello')
    await failing(t, get(t, { url }, byAddress(named.url)), 'tls')
    await failing(t, get(t, { url }, numbered.url), 'tls')
  }
})

test('the private CA is what makes an https proxy trusted', async t => {
  const target = await startTarget(t, hello)
  const proxy = await startProxy(t, { tls: certificate })
  t.is(await text((await get(t, { url: proxy.url }, target.url)).body), 'hello')
  const error = await failing(t, get(t, { url: proxy.url, ca: undefined }, target.url), 'tls')
  t.true(error.message.includes(`the proxy ${proxy.url}`), error.message)
})

test('what does not speak TLS is no matter of certificates', async t => {
  const target = await startTarget(t, hello, null)
  for (const url of [undefined, open.url, socks.url]) {
    const error = await failing(t, get(t, { url }, target.url.replace('http:', 'https:')), 'portal')
    t.regex(error.message, /localhost:\d+ does not speak TLS/, url)
  }
  const https = open.url.replace('http:', 'https:')
  const error = await failing(t, get(t, { url: https }, 'https://github.test/'), 'proxy-unreachable')
  t.true(error.message.includes(`the proxy ${https} does not speak TLS`), error.message)
})

test('a proxy that opens the way with a page is a portal, whatever follows', async t => {
  const page = '<html>Please sign in</html>'
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${page.length}\r\n\r\n`
  for (const answer of [head, head + page]) {
    const proxy = await startProxy(t, { answer })
    const error = await failing(t, get(t, { url: proxy.url }, 'https://github.test/'), 'portal')
    t.true(error.message.includes(`the proxy ${proxy.url} answered with a page of its own`), error.message)
  }
})

test('what is no HTTP is no answer', async t => {
  const { port } = await listen(
    t,
    createTcpServer(socket => socket.end('SSH-2.0-OpenSSH_9.2\r\n')),
  )
  await failing(t, get(t, {}, `http://127.0.0.1:${port}/`), 'portal')
})

test('excluded hosts are called directly, loopback is not excluded by itself', async t => {
  const target = await startTarget(t, hello)
  const dead = `http://127.0.0.1:${await freePort()}`
  for (const exclude of [['localhost'], ['*'], ['.example', 'LOCALHOST']]) {
    t.is(await text((await get(t, { url: dead, exclude }, target.url)).body), 'hello')
  }
  const byAddress = target.url.replace('localhost', '127.0.0.1')
  t.is(await text((await get(t, { url: dead, exclude: ['127.0.0.0/8'] }, byAddress)).body), 'hello')
  await failing(t, get(t, { url: dead, exclude: ['127.0.0.0/8'] }, target.url), 'proxy-unreachable')
  await failing(t, get(t, { url: dead }, byAddress), 'proxy-unreachable')
})

test('a proxy that offers no Basic is named with what it offers, and no other password is asked for', async t => {
  const target = await startTarget(t, (_, response) => response.end('hello'))
  const answers: readonly (readonly [offers: readonly string[], code: string, says: string])[] = [
    [['Negotiate', 'NTLM'], 'proxy-auth-scheme', 'it offers Negotiate, NTLM, and only Basic is supported'],
    [['Digest realm="a, Basic b", nonce="x", qop="auth"'], 'proxy-auth-scheme', 'it offers Digest, and only Basic'],
    [['Negotiate', 'Basic realm="corp"'], 'proxy-authentication', '407'],
    [[], 'proxy-authentication', '407'],
  ]
  for (const [offers, code, says] of answers) {
    const head = offers.map(offer => `Proxy-Authenticate: ${offer}\r\n`).join('')
    const { port } = await listen(
      t,
      createTcpServer(socket => {
        socket.on('error', () => undefined)
        socket.once('data', () => socket.end(`HTTP/1.1 407 No\r\n${head}Content-Length: 0\r\n\r\n`))
      }),
    )
    const error = await t.throwsAsync(get(t, { url: `http://u:right@127.0.0.1:${port}` }, target.url), { code })
    t.true(error?.message.includes(says), error?.message)
  }
})

test('what is shown of a proxy has no password', t => {
  const outbound = outboundOf(t, {
    url: withLogin('http://proxy.test:3128', 'robot', PASSWORD),
    exclude: ['.internal'],
  })
  t.is(String(outbound.proxyFor('https://api.github.com/app')), 'http://robot@proxy.test:3128')
  t.is(outbound.proxyFor('https://git.internal/'), undefined)
})

test('settings that make no sense are refused, and the old ones stay', t => {
  const outbound = outboundOf(t, { url: 'http://proxy.test:3128' })
  t.throws(() => outbound.reload(settingsOf({ exclude: ['10.0.0.0/40'] })), { code: 'configuration' })
  t.is(String(outbound.proxyFor('https://github.com')), 'http://proxy.test:3128')
})

test('new settings serve the next call, while the one under way ends as it began', async t => {
  const finish = Promise.withResolvers<void>()
  const target = await startTarget(t, (_, response) => {
    response.write('begun ')
    void finish.promise.then(() => response.end('ended'))
  })
  const outbound = outboundOf(t, { url: open.url })
  const first = await outbound.send({ method: 'GET', url: target.url, headers: {} })
  outbound.reload(settingsOf({ url: `http://127.0.0.1:${await freePort()}`, ca: authority.ca }))
  await failing(t, outbound.fetch(target.url), 'proxy-unreachable')
  finish.resolve()
  t.is(await text(first.body), 'begun ended')
  await failing(t, outbound.fetch(target.url), 'proxy-unreachable')
  outbound.reload(settingsOf({}))
  await failing(t, outbound.fetch(target.url), 'tls')
})

test('closing ends what is under way, and nothing begins after it', async t => {
  const target = await startTarget(t, () => {})
  const outbound = outboundOf(t, { url: open.url })
  const pending = outbound.fetch(target.url)
  const ended = failing(t, pending, 'unreachable')
  while (target.connections() === 0) await new Promise(resolve => setImmediate(resolve))
  outbound.close()
  await ended
  await failing(t, outbound.fetch(target.url), 'unreachable')
})

test('a slow answer meets the deadline, by head and by body', async t => {
  const hush: RequestListener = (request, response) => void (request.url === '/' || response.end())
  const [silent, silentToo] = [await startTarget(t, hush), await startTarget(t, hush)]
  const slow = await startTarget(t, (request, response) => {
    if (request.url === '/') response.write('half')
    else response.end()
  })
  const outbound = outboundOf(t, { url: open.url }, { deadlineMs: 300 })
  for (const { url } of [silent, silentToo, slow]) {
    // The way is open when the clock starts: else it would be the proxy's delay.
    const opened = await outbound.send({ method: 'GET', url: `${url}/open`, headers: {}, deadlineMs: 20_000 })
    t.is(await text(opened.body), '')
  }
  await failing(t, outbound.fetch(slow.url), 'timeout')
  await failing(t, outbound.send({ method: 'GET', url: silent.url, headers: {} }), 'timeout')
  await failing(t, outbound.fetch(silentToo.url), 'timeout')
})

test('a proxy that never answers meets the deadline too, and its connection is not left behind', async t => {
  const { port, sockets } = await listen(t, createTcpServer())
  const outbound = outboundOf(t, { url: `http://127.0.0.1:${port}` }, { deadlineMs: 200 })
  const error = await failing(t, outbound.fetch('https://github.test/'), 'proxy-unreachable')
  t.regex(error.message, /the proxy http:\/\/127\.0\.0\.1:\d+ opened no way to github\.test in 0\.2/)
  await Promise.all([...sockets].map(socket => once(socket.resume(), 'close')))
  t.is(sockets.size, 0)
})

test('a caller that goes away is told its own reason, before, during and after the head', async t => {
  const silent = await startTarget(t, () => {})
  const slow = await startTarget(t, (_, response) => void response.write('half'))
  const reason = new Error('the caller left')
  const outbound = outboundOf(t, { url: open.url })
  const ask = (url: string, signal: AbortSignal) => outbound.send({ method: 'GET', url, headers: {}, signal })
  await t.throwsAsync(ask(silent.url, AbortSignal.abort(reason)), { is: reason })
  const during = new AbortController()
  const pending = t.throwsAsync(ask(silent.url, during.signal), { is: reason })
  while (silent.connections() === 0) await new Promise(resolve => setImmediate(resolve))
  during.abort(reason)
  await pending
  const after = new AbortController()
  const { body } = await ask(slow.url, after.signal)
  after.abort(reason)
  await t.throwsAsync(text(body), { is: reason })
  const fetching = new AbortController()
  const fetched = t.throwsAsync(outbound.fetch(slow.url, { signal: fetching.signal }), { is: reason })
  fetching.abort(reason)
  await fetched
})

test('a truncated answer is no answer', async t => {
  const target = await startTarget(t, (_, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half', () => response.destroy())
  })
  await failing(t, outboundOf(t, { url: open.url }).fetch(target.url), 'unreachable')
  const reset = await startTarget(t, request => void request.socket.destroy())
  await failing(t, outboundOf(t, { url: open.url }).fetch(reset.url), 'unreachable')
})

test('an answer that is too large is cut off', async t => {
  const target = await startTarget(t, (_, response) => response.end(Buffer.alloc(2000)))
  await failing(t, outboundOf(t, {}, { maxBytes: 1999 }).fetch(target.url), 'github-unexpected')
  t.is((await (await outboundOf(t, {}, { maxBytes: 2000 }).fetch(target.url)).arrayBuffer()).byteLength, 2000)
})

test('an upload that breaks off is an error of the one who sends it', async t => {
  const target = await startTarget(t, request => void request.resume())
  const broken = new Error('the file is gone')
  const body = async function* () {
    yield Buffer.from('half')
    throw broken
  }
  const sent = outboundOf(t, { url: open.url }).send({ method: 'POST', url: target.url, headers: {}, body })
  await t.throwsAsync(sent, { is: broken })
})

test('a kept connection that was closed meanwhile is tried anew, where that is harmless', async t => {
  let served = 0
  const target = await startTarget(t, (request, response) => {
    if (++served % 2 === 0) request.socket.destroy()
    else response.end('hello')
  })
  const outbound = outboundOf(t, { url: open.url })
  for (let i = 0; i < 2; i++) t.is(await (await outbound.fetch(target.url)).text(), 'hello')
  t.is(served, 3)
  await failing(t, outbound.fetch(target.url, { method: 'POST' }), 'unreachable')
})

test('a call gets through although every kept connection was closed meanwhile', async t => {
  const used = new WeakSet<object>()
  const held: ServerResponse[] = []
  const target = await startTarget(t, (request, response) => {
    if (used.has(request.socket)) request.socket.destroy()
    else held.push(response)
    used.add(request.socket)
    if (held.length >= 10) for (const each of held) if (!each.writableEnded) each.end('hello')
  })
  const outbound = outboundOf(t)
  await Promise.all(Array.from({ length: 10 }, async () => (await outbound.fetch(target.url)).text()))
  t.is(target.connections(), 10)
  t.is(await (await outbound.fetch(target.url)).text(), 'hello')
  t.is(target.connections(), 11)
})

test('credentials follow a redirect on the same origin and no further', async t => {
  const other = await startTarget(t, (request, response) => response.end(JSON.stringify(request.headers)))
  const target = await startTarget(t, (request, response) => {
    if (request.url === '/end') {
      response.end(JSON.stringify(request.headers))
      return
    }
    response
      .writeHead(302, { location: request.url === '/same' ? '/end' : `${other.url.replace('//', '//u:p@')}/x` })
      .end()
  })
  const outbound = outboundOf(t, { url: open.url })
  const headers = { authorization: 'Bearer secret', cookie: 'a=b', accept: 'x/y', 'proxy-authorization': 'Basic x' }
  const same = JSON.parse(await (await outbound.fetch(`${target.url}/same`, { headers })).text())
  t.like(same, { authorization: 'Bearer secret', cookie: 'a=b', accept: 'x/y', 'proxy-authorization': undefined })
  const response = await outbound.fetch(`${target.url}/other`, { headers })
  t.is(response.url, `${other.url}/x`)
  t.like(JSON.parse(await response.text()), { authorization: undefined, cookie: undefined, accept: 'x/y' })
})

test('redirects end: after five, at plain http, at a POST, or where the caller follows none', async t => {
  const target = await startTarget(t, (request, response) => {
    const count = Number(request.url?.slice(1))
    const location = request.url === '/plain' ? 'http://localhost:1/' : `/${count - 1}`
    if (count === 0) response.end('arrived')
    else response.writeHead(307, { location }).end()
  })
  const outbound = outboundOf(t)
  t.is(await (await outbound.fetch(`${target.url}/5`)).text(), 'arrived')
  await failing(t, outbound.fetch(`${target.url}/6`), 'github-unexpected')
  await failing(t, outbound.fetch(`${target.url}/plain`), 'github-unexpected')
  for (const method of ['GET', 'POST'])
    await failing(t, outbound.fetch(`${target.url}/1`, { method, redirect: 'error' }), 'github-unexpected')
  t.is((await outbound.fetch(`${target.url}/1`, { method: 'POST', body: 'x' })).status, 307)
  t.is((await outbound.fetch(`${target.url}/1`, { redirect: 'manual' })).status, 307)
  t.is((await outbound.send({ method: 'GET', url: `${target.url}/1`, headers: {} })).status, 307)
})

test('fetch answers as the standard one does', async t => {
  const target = await startTarget(t, (request, response) => {
    if (request.method === 'DELETE') {
      response.writeHead(204).end()
      return
    }
    response.setHeader('set-cookie', ['a=1', 'b=2'])
    response.setHeader('x-method', request.method ?? '')
    request.pipe(response)
  })
  const outbound = outboundOf(t)
  const response = await outbound.fetch(`${target.url}/p?q=1#f`, { method: 'PATCH', body: '{"a":1}' })
  t.deepEqual(JSON.parse(await response.text()), { a: 1 })
  t.is(response.headers.get('x-method'), 'PATCH')
  t.is(Object.fromEntries(response.headers)['set-cookie'], 'a=1, b=2')
  const empty = await outbound.fetch(target.url, { method: 'DELETE' })
  t.deepEqual([empty.status, await empty.text()], [204, ''])
  t.is((await outbound.fetch(target.url, { method: 'HEAD' })).headers.get('x-method'), 'HEAD')
})

test('connections of the settings before end with their last call', async t => {
  // Sooner than idle connections end in any case.
  t.timeout(15_000)
  const server = createHttpServer((_, response) => void response.end('kept'))
  server.keepAliveTimeout = 0
  const { port, sockets } = await listen(t, server)
  const outbound = outboundOf(t)
  t.is((await outbound.fetch(`http://127.0.0.1:${port}`)).status, 200)
  const [kept] = sockets
  if (!kept) throw new Error('the connection was not kept')
  const ended = once(kept, 'close')
  outbound.reload(settingsOf({}))
  await ended
  t.is(sockets.size, 0)
})

for (const method of ['GET', 'HEAD', 'DELETE', 'POST', 'PUT', 'PATCH'])
  test(`the body of a ${method} is a body, and never the next request on the connection`, async t => {
    const seen: string[] = []
    const { url } = await startTarget(
      t,
      (request, response) => {
        const { 'content-length': length, 'transfer-encoding': coding } = request.headers
        let body = ''
        request.on('data', (piece: Buffer) => (body += piece.toString()))
        request.on('end', () => {
          seen.push(`${request.method} ${length ?? coding} ${body}`)
          response.end()
        })
      },
      null,
    )
    const outbound = outboundOf(t)
    const smuggled = 'GET /other HTTP/1.1\r\nhost: x\r\n\r\n'
    const send = async (headers: Record<string, string>, body: Parameters<typeof outbound.send>[0]['body']) => {
      const answer = await outbound.send({ method, url, headers, ...(body !== undefined && { body }) })
      await answer.body.toArray()
    }
    await send({}, Buffer.from(smuggled))
    await send({}, () => Readable.from([Buffer.from(smuggled)]))
    await send({ 'content-length': String(smuggled.length) }, () => Readable.from([Buffer.from(smuggled)]))
    const { length } = smuggled
    t.deepEqual(
      seen,
      [length, 'chunked', length].map(framing => `${method} ${framing} ${smuggled}`),
    )
  })
