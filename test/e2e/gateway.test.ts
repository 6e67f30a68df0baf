// The gateway on real sockets: by curl and by Octokit, streams both ways, and nothing of the caller's credentials or of the token on the wrong side.

import { Octokit } from '@octokit/core'
import { request } from 'node:http'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import test from 'ava'
import { createAppliance } from '../support/appliance.ts'
import { startEchoGitHub } from '../support/echo-github.ts'
import { enabled, requestCount, requestsSince, shell } from '../support/probes.ts'
import { callUnix } from '../support/unix-http.ts'

const MEGABYTE = 2 ** 20

/** `fetch` over a unix socket, as a client would bring it to Octokit. */
const fetchOver =
  (socketPath: string): typeof globalThis.fetch =>
  async (input, init) => {
    const { pathname, search } = new URL(input instanceof Request ? input.url : input)
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    const headers = { ...Object.fromEntries(new Headers(init?.headers)), host: 'localhost' }
    const sent = request({ socketPath, path: pathname + search, method: init?.method, headers }, answer => {
      const body = answer.statusCode === 204 || answer.statusCode === 304 ? null : Readable.toWeb(answer)
      const known = Object.entries(answer.headers).map(([name, value]): [string, string] => [name, String(value)])
      resolve(new Response(body as ReadableStream | null, { status: answer.statusCode ?? 0, headers: known }))
    })
    sent.once('error', reject)
    sent.end(typeof init?.body === 'string' ? init.body : undefined)
    return promise
  }

test.serial('curl reads and writes through the socket, follows pages, and never sees the token', async t => {
  const appliance = await enabled()
  const socket = join(appliance.runtime, 'token.sock')
  const curl = (line: string) => shell(`curl -s -i --unix-socket ${socket} ${line}`)
  try {
    const read = await curl('localhost/v1/github/repos/octo-org/web/contents/README.md')
    t.regex(read.stdout, /^HTTP\/1\.1 200 OK/)
    t.regex(read.stdout, /"path":"README\.md"/)
    t.notRegex(read.stdout, /ghs_|authorization/i)
    const made = await curl(`-X POST localhost/v1/github/repos/octo-org/web/issues -d '{"title":"from curl"}'`)
    t.regex(made.stdout, /^HTTP\/1\.1 201/)
    t.regex(made.stdout, /^location: http:\/\/localhost\/v1\/github\/repos\/octo-org\/web\/issues\/1\r?$/m)
    const pages = await curl(`'localhost/v1/github/installation/repositories?per_page=1&profile=test'`)
    const [, next = ''] = /^link: .*<([^>]+)>; rel="next"/m.exec(pages.stdout) ?? []
    t.is(next, 'http://localhost/v1/github/installation/repositories?per_page=1&page=2&profile=test')
    t.regex((await curl(`'${next}'`)).stdout, /^HTTP\/1\.1 200 OK/)
    const head = await curl('-I localhost/v1/github/repos/octo-org/web')
    t.regex(head.stdout, /^HTTP\/1\.1 200 OK/)
    const [, etag = ''] = /^etag: (.+?)\r?$/m.exec(read.stdout) ?? []
    const same = await curl(`-H 'if-none-match: ${etag}' localhost/v1/github/repos/octo-org/web/contents/README.md`)
    t.regex(same.stdout, /^HTTP\/1\.1 304/)
    t.regex((await curl('localhost/v1/github/repos/octo-org/absent')).stdout, /^HTTP\/1\.1 404[^]*"Not Found"/)
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('Octokit works over the socket, pages and errors included', async t => {
  const appliance = await enabled()
  try {
    const octokit = new Octokit({
      baseUrl: 'http://localhost/v1/github',
      request: { fetch: fetchOver(join(appliance.runtime, 'token.sock')) },
    })
    const { data } = await octokit.request('GET /repos/{owner}/{repo}/contents/{path}', {
      owner: 'octo-org',
      repo: 'web',
      path: 'README.md',
      headers: { 'x-github-api-version': '2026-03-10' },
    })
    t.is(Reflect.get(data, 'path'), 'README.md')
    const issue = await octokit.request('POST /repos/{owner}/{repo}/issues', {
      owner: 'octo-org',
      repo: 'web',
      title: 'x',
    })
    t.is(issue.status, 201)
    const absent = octokit.request('GET /repos/{owner}/{repo}', { owner: 'octo-org', repo: 'absent' })
    t.is(Reflect.get(Object(await t.throwsAsync(absent)), 'status'), 404)
    const seen = (await octokit.request('GET /installation/repositories', { per_page: 1 })).headers.link
    t.regex(seen ?? '', /<http:\/\/localhost\/v1\/github\//)
  } finally {
    await appliance.close()
  }
})

const PATTERNS = `[[profiles]]
name = "ci"
repositories = ["web", "docs-*"]
allow = { users = ["${userInfo().username}"] }
`

test.serial('a profile with patterns follows the pages of a list and a renamed repository', async t => {
  const appliance = await enabled(PATTERNS)
  const socket = join(appliance.runtime, 'token.sock')
  const ask = (path: string, method = 'GET', body?: unknown) =>
    callUnix(socket, { method, path, ...(body !== undefined && { body }) })
  try {
    for (const title of ['a', 'b', 'c']) await ask('/v1/github/repos/octo-org/web/issues', 'POST', { title })
    const { headers, status } = await ask('/v1/github/repos/octo-org/web/issues?per_page=2')
    t.is(status, 200)
    const [, next = ''] = /<http:\/\/localhost([^>]+)>; rel="next"/.exec(String(headers['link'])) ?? []
    t.is(next, '/v1/github/repos/octo-org/web/issues?per_page=2&page=2&profile=ci')
    t.regex((await ask(next)).text, /"title":"a"/)
    const before = await requestCount(appliance)
    const { id } = await appliance.control('POST', 'repositories/octo-org/web/rename', { name: 'docs-web' })
    const moved = await ask('/v1/github/repos/octo-org/web/issues?per_page=2')
    t.is(moved.status, 301)
    const [, location = ''] = /^http:\/\/localhost(.+)$/.exec(moved.headers.location ?? '') ?? []
    t.is(location, `/v1/github/repositories/${String(id)}/issues?per_page=2&profile=ci`)
    for (let again = 0; again < 3; again++) t.regex((await ask(location)).text, /"title":"c"/)
    const looks = (await requestsSince(appliance, before)).filter(({ path }) => /repositories\/\d+$/.test(path))
    t.is(looks.length, 1, 'its name is looked up once')
    const unknown = await ask('/v1/github/repositories/1/issues')
    const { id: other } = await appliance.control('POST', 'repositories', { owner: 'octo-org', name: 'secret' })
    const denied = await ask(`/v1/github/repositories/${String(other)}/issues`)
    t.deepEqual({ ...denied.body, instance: '' }, { ...unknown.body, instance: '' })
    t.is(denied.status, 403)
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('the policy holds, the App is out of reach, and misleading paths go nowhere', async t => {
  const appliance = await enabled()
  const socket = join(appliance.runtime, 'token.sock')
  const raw = (method: string, path: string, headers = {}) => callUnix(socket, { method, path, headers })
  const typeOf = (answer: { body: Record<string, unknown> }) => String(answer.body['type']).split(':').at(-1)
  try {
    const before = await requestCount(appliance)
    for (const [method, path, problem] of [
      ['GET', '/v1/github/meta?profile=absent', 'not-permitted'],
      ['DELETE', '/v1/github/installation/token', 'not-permitted'],
      ['DELETE', '/v1/github/%69nstallation/token', 'not-permitted'],
      ['POST', '/v1/github/app/installations/1/access_tokens', 'not-permitted'],
      ['GET', '/v1/github/app', 'not-permitted'],
      ['GET', '/v1/github/repos/octo-org/web/../../../app', 'invalid-request'],
      ['GET', '/v1/github//app', 'invalid-request'],
      ['GET', '/v1/github/repos/octo-org/web/contents/%2e%2e', 'invalid-request'],
      ['GET', '/v1/github/repos%2Focto-org%2Fweb', 'invalid-request'],
      ['GET', 'http://api.github.com/v1/github/meta', 'unknown-route'],
      ['GET', '/v1/githubs/meta', 'unknown-route'],
      ['OPTIONS', '/v1/github/meta', 'unknown-route'],
    ] as const)
      t.is(typeOf(await raw(method, path)), problem, `${method} ${path}`)
    for (const headers of [{ origin: 'http://evil.example' }, { host: 'api.github.com' }, { referer: 'http://x/' }])
      t.is(typeOf(await raw('GET', '/v1/github/meta', headers)), 'browser-refused')
    t.is(await requestCount(appliance), before, 'GitHub was not asked')
    t.is((await raw('GET', '/v1/github/meta')).status, 200)
    appliance.configure('')
    appliance.signal('SIGHUP')
    await appliance.logged(/the configuration was read again/)
    t.is(typeOf(await raw('GET', '/v1/github/meta')), 'not-permitted')
    t.is((await appliance.call('GET', '/v1/github/meta')).status, 200, 'administrators need no profile')
    const audit = await appliance.call('GET', '/v1/audit')
    t.regex(audit.text, /token\.grant/)
    t.regex(audit.text, /token\.deny/)
  } finally {
    await appliance.close()
  }
})

test.serial('a token that was revoked behind our back is replaced, and the caller notices nothing', async t => {
  const appliance = await enabled()
  const socket = join(appliance.runtime, 'token.sock')
  try {
    const { token } = (await appliance.ask('POST', '/v1/tokens', {})).body
    const headers = { authorization: `Bearer ${String(token)}` }
    await fetch(`${appliance.sandbox.apiUrl}/installation/token`, { method: 'DELETE', headers })
    // No longer so new that a replica might just not know it yet.
    await appliance.control('POST', 'clock', { advance_ms: 60_000 })
    const before = await requestCount(appliance)
    const path = '/v1/github/repos/octo-org/web/issues'
    const made = await callUnix(socket, { method: 'POST', path, body: { title: 'once' } })
    t.is(made.status, 201, made.text)
    const tries = (await requestsSince(appliance, before)).filter(entry => entry.path.endsWith('/issues'))
    t.is(tries.length, 2)
    t.is(made.body['number'], 1, 'done once')
  } finally {
    await appliance.close()
  }
})

test.serial('what a replica does not know yet is asked again a moment later', async t => {
  const appliance = await enabled()
  const socket = join(appliance.runtime, 'token.sock')
  try {
    await appliance.control('POST', 'faults', { kind: 'replication-lag', ms: 1_500, status: 403 })
    const read = await callUnix(socket, { method: 'GET', path: '/v1/github/repos/octo-org/web/contents/README.md' })
    t.is(read.status, 200, read.text)
  } finally {
    await appliance.close()
  }
})

test.serial(
  'headers of the caller and of one hop stay behind, bodies stream both ways, redirects are handed on',
  async t => {
    let target = ''
    const size = 24 * MEGABYTE
    const github = await startEchoGitHub(() => target, {
      '/headers': (_incoming, outgoing) =>
        void outgoing.writeHead(200, { 'set-cookie': 'a=b', 'keep-alive': 'timeout=5', 'x-own': 'kept' }).end('{}'),
      '/large': (_incoming, outgoing) => {
        outgoing.writeHead(200, { 'content-length': String(size) })
        Readable.from(Array.from({ length: 24 }, () => Buffer.alloc(MEGABYTE, 'x'))).pipe(outgoing)
      },
      '/upload': (incoming, outgoing) => void incoming.once('end', () => outgoing.writeHead(201).end('{}')),
      '/early': (_incoming, outgoing) => void outgoing.writeHead(413).end('{"message":"too large"}'),
      '/moved': (_incoming, outgoing) =>
        void outgoing.writeHead(301, { location: `${github.apiUrl}/repositories/1` }).end(),
      '/archive': (_incoming, outgoing) =>
        void outgoing.writeHead(302, { location: 'https://codeload.example/x?token=1' }).end(),
      '/portal': (_incoming, outgoing) => {
        outgoing.removeHeader('x-github-request-id')
        outgoing.writeHead(200, { 'content-type': 'text/html' }).end('<title>Sign in</title>')
      },
      '/broken': (_incoming, outgoing) => {
        outgoing.writeHead(200, { 'content-length': '1000' })
        outgoing.write('half', () => outgoing.destroy())
      },
    })
    const appliance = await createAppliance({ github })
    target = appliance.sandbox.url
    const socket = join(appliance.runtime, 'token.sock')
    const ask = (path: string, more: Partial<Parameters<typeof callUnix>[1]> = {}) =>
      callUnix(socket, { method: 'GET', path: `/v1/github${path}`, ...more })
    try {
      await appliance.start()
      await appliance.enable()
      const answer = await ask('/headers?a=%20&profile=test&b', {
        headers: {
          authorization: 'Bearer of-the-caller',
          cookie: 'session=1',
          connection: 'x-secret-hop, close',
          'x-secret-hop': '1',
          'x-http-method-override': 'DELETE',
          'x-forwarded-for': '10.0.0.1',
          te: 'trailers',
          accept: 'application/vnd.github.raw',
          'user-agent': 'job/1',
        },
      })
      t.is(answer.status, 200)
      t.is(answer.headers['x-own'], 'kept')
      t.is(answer.headers['set-cookie'], undefined)
      const [arrived] = github.arrived
      t.is(arrived?.path, '/api/v3/headers?a=%20&b')
      const { authorization = '', connection: _connection, host: _host, ...rest } = arrived?.headers ?? {}
      t.regex(authorization, /^Bearer ghs_/)
      t.deepEqual(rest, { accept: 'application/vnd.github.raw', 'user-agent': 'job/1' })

      const large = await ask('/large')
      t.is(large.text.length, size)
      const upload = await ask('/upload', { method: 'PUT', body: 'y'.repeat(8 * MEGABYTE), headers: {} })
      t.is(upload.status, 201)
      t.is(github.arrived.at(-1)?.bytes, 8 * MEGABYTE)
      const chunked = await shell(
        `head -c 3000000 /dev/zero | curl -s -o /dev/null -w '%{http_code}' -T - --unix-socket ${socket} localhost/v1/github/upload`,
      )
      t.is(chunked.stdout, '201')
      t.is(github.arrived.at(-1)?.bytes, 3_000_000)
      const early = await ask('/early', { method: 'POST', body: 'y'.repeat(8 * MEGABYTE) }).then(
        ({ status }) => status,
        (error: NodeJS.ErrnoException) => error.code,
      )
      t.true(early === 413 || early === 'EPIPE' || early === 'ECONNRESET', String(early))

      const moved = await ask('/moved?profile=test')
      t.is(moved.status, 301)
      t.is(moved.headers.location, 'http://localhost/v1/github/repositories/1?profile=test')
      t.is((await ask('/archive')).headers.location, 'https://codeload.example/x?token=1')
      t.is((await ask('/portal')).body['type'], 'urn:ghconnect:problem:portal')
      await t.throwsAsync(ask('/broken'))
      t.is((await ask('/headers')).status, 200, 'and the daemon goes on')
    } finally {
      await appliance.close()
      await github.close()
    }
  },
)

test.serial('a caller that hangs up ends the call to GitHub', async t => {
  let target = ''
  const gone = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const github = await startEchoGitHub(() => target, {
    '/slow': (incoming, outgoing) => {
      outgoing.writeHead(200)
      outgoing.write('first')
      incoming.socket.once('close', () => gone.resolve())
    },
  })
  const appliance = await createAppliance({ github })
  target = appliance.sandbox.url
  try {
    await appliance.start()
    await appliance.enable()
    const sent = request(
      { socketPath: join(appliance.runtime, 'token.sock'), path: '/v1/github/slow', headers: { host: 'localhost' } },
      answer => {
        answer.once('data', () => begun.resolve())
        answer.on('error', () => {})
      },
    )
    sent.on('error', () => {})
    sent.end()
    await begun.promise
    sent.destroy()
    await t.notThrowsAsync(gone.promise)
  } finally {
    await appliance.close()
    await github.close()
  }
})
