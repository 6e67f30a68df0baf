// Callers that hang up: at each stage of a request and of its answer, admitted or not, on each socket and the page. The daemon lives, and finds no fault of its own.

import { join } from 'node:path'
import type { NetConnectOpts } from 'node:net'
import test from 'ava'
import { type Appliance, createAppliance, PROFILE } from '../support/appliance.ts'
import { type Cut, cutShort } from '../support/cut.ts'
import { startEchoGitHub } from '../support/echo-github.ts'
import { callUnix } from '../support/unix-http.ts'

const KILOBYTE = 2 ** 10
const MEGABYTE = 2 ** 20

type Request = { readonly name: string; readonly head: string; readonly body: readonly (string | Uint8Array)[] }

const headOf = (line: string, headers: readonly string[]): string =>
  [`${line} HTTP/1.1`, 'host: localhost', ...headers, '', ''].join('\r\n')

/** The same content with a length, with a length too long to be kept, and in chunks. */
const inEachCoding = (line: string, content: string, headers: readonly string[] = []): Request[] => {
  const large = 2 * MEGABYTE
  return [
    {
      name: `${line}, with a length`,
      head: headOf(line, [...headers, `content-length: ${content.length}`]),
      body: [content.slice(0, 1), content.slice(1, content.length / 2), content.slice(content.length / 2)],
    },
    {
      name: `${line}, more than is kept`,
      head: headOf(line, [...headers, `content-length: ${large}`]),
      body: [content.slice(0, 1), Buffer.alloc(64 * KILOBYTE, ' '), Buffer.alloc(large, ' ')],
    },
    {
      name: `${line}, in chunks`,
      head: headOf(line, [...headers, 'transfer-encoding: chunked']),
      body: ['1\r\n{\r\n', `400\r\n${' '.repeat(KILOBYTE)}\r\n`, '1\r\n}\r\n0\r\n\r\n'],
    },
  ]
}

/** In its head, behind it, and behind each piece of its body but the last. */
const cutsOf = ({ head, body }: Request): Cut[] => [
  { sent: [head.slice(0, head.length / 2)] },
  ...body.map((_, at) => ({ sent: [head, ...body.slice(0, at)] })),
  { sent: [head, ...body.slice(0, -1)], halfClose: true },
]

/** All of it is sent, and the caller goes before, or in the middle of, the answer. */
const cutsOfAnswer = ({ head, body }: Request): Cut[] => [
  { sent: [head, ...body] },
  { sent: [head, ...body], until: 1 },
  { sent: [head, ...body], until: 20, halfClose: true },
]

const jsonHeaders = ['content-type: application/json']

const ROUTES: readonly Request[] = [
  ...inEachCoding('POST /v1/tokens', '{"profile":"test"}', jsonHeaders),
  ...inEachCoding('POST /v1/tokens', 'protocol=https\nhost=github.com\n\n', [
    'accept: application/x-git-credential',
    'content-type: application/x-git-credential',
  ]),
  ...inEachCoding('POST /v1/policy/explain', '{"profile":"test","user":"nobody"}', jsonHeaders),
  ...inEachCoding('POST /v1/snapshots/restore', '{"bundle":"AAAA"}', jsonHeaders),
  ...inEachCoding('POST /v1/nothing', '{}', jsonHeaders),
  ...inEachCoding('POST /v1/github/repos/octo-org/web/issues', '{"title":"cut"}'),
  ...inEachCoding('PUT /v1/github/upload?profile=test', '{"title":"cut"}'),
  ...inEachCoding('PUT /v1/github/early?profile=test', '{"title":"cut"}'),
  ...inEachCoding('POST /v1/github/x?profile=of-nobody', '{"title":"cut"}'),
  ...inEachCoding('POST /v1/github/app', '{"title":"cut"}'),
]

const STREAMS = [
  '/v1/events',
  '/v1/audit?follow=true',
  '/v1/check',
  '/v1/openapi.json',
  '/v1/status',
  '/v1/github/large',
]

const streamOf = (path: string): Request => ({
  name: path,
  head: headOf(`GET ${path}`, ['accept: text/event-stream']),
  body: [],
})

/** The daemon is the process that it was, has no error of its own in its log, and ends as one that is well. */
const isWell = async (appliance: Appliance, pid: number): Promise<string> => {
  await callUnix(join(appliance.runtime, 'token.sock'), { method: 'GET', path: '/livez' })
  if (appliance.pid() !== pid) return 'another process'
  const ended = await appliance.kill()
  const faults = appliance.log().match(/^.*(?:"internal"|a request failed|a page failed|Unhandled|Error: ).*$/gm)
  return faults ? faults.join('\n') : `ended with ${ended}`
}

const github = async () => {
  let target = ''
  const echo = await startEchoGitHub(() => target, {
    '/upload': (incoming, outgoing) => void incoming.once('end', () => outgoing.writeHead(201).end('{}')),
    '/early': (_incoming, outgoing) => void outgoing.writeHead(413).end('{"message":"too large"}'),
    '/large': (_incoming, outgoing) => void outgoing.writeHead(200).end(Buffer.alloc(4 * MEGABYTE, 'x')),
    '/never': (_incoming, outgoing) => void outgoing.writeHead(200).write('half'),
    '/silent': () => {},
    '/broken': (_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-length': '1000' })
      outgoing.write('half', () => outgoing.destroy())
    },
  })
  return { echo, aim: (url: string) => void (target = url) }
}

const connected = async (toml: string) => {
  const { echo, aim } = await github()
  const appliance = await createAppliance({ github: echo, toml })
  aim(appliance.sandbox.url)
  await appliance.start()
  await appliance.enable()
  return { appliance, echo, close: () => Promise.all([appliance.close(), echo.close()]) }
}

for (const [who, toml] of [
  ['whom a profile admits', PROFILE],
  ['whom no profile admits', PROFILE.replace(/users = \[.*\]/, 'users = ["nobody"]')],
] as const)
  test.serial(`the sockets outlive a caller ${who} and who hangs up at each stage`, async t => {
    const { appliance, close } = await connected(toml)
    try {
      const pid = appliance.pid()
      for (const name of ['token', 'admin', 'credentials'] as const) {
        const address = { path: join(appliance.runtime, `${name}.sock`) }
        const requests = name === 'credentials' ? ROUTES.slice(0, 1) : [...ROUTES, ...STREAMS.map(streamOf)]
        for (const request of requests)
          for (const cut of [...cutsOf(request), ...cutsOfAnswer(request)]) await cutShort(address, cut)
      }
      t.is(await isWell(appliance, pid), 'ended with 0')
    } finally {
      await close()
    }
  })

test.serial(
  'a caller may be gone while a token is minted, while GitHub answers, and when the answer breaks off',
  async t => {
    const { appliance, echo, close } = await connected(PROFILE)
    const address = { path: join(appliance.runtime, 'token.sock') }
    try {
      const pid = appliance.pid()
      for (const path of ['/silent', '/never', '/broken'])
        for (const request of inEachCoding(`POST /v1/github${path}`, '{"a":1}')) {
          const begun = { sent: [request.head, ...request.body.slice(0, 2)] }
          // What is kept to be sent again reaches GitHub as a whole.
          await cutShort(address, request.name.endsWith('a length') ? begun : { ...begun, until: echo.next() })
          const answered = path === '/silent' ? echo.next() : 30
          await cutShort(address, { sent: [request.head, ...request.body], until: answered })
        }
      await appliance.control('POST', 'faults', { kind: 'slow', ms: 700, path: '/access_tokens' })
      for (const [at, request] of inEachCoding(
        'POST /v1/github/repos/octo-org/web/issues?profile=test',
        '{"a":1}',
      ).entries()) {
        await appliance.call('POST', '/v1/refresh')
        await cutShort(address, { sent: [request.head, request.body[0] ?? ''] })
        const wish = JSON.stringify({
          profile: 'test',
          repositories: ['web'],
          permissions: { contents: at === 0 ? 'read' : 'write' },
        })
        await cutShort(address, {
          sent: [headOf('POST /v1/tokens', [...jsonHeaders, `content-length: ${wish.length}`]), wish],
        })
      }
      t.is((await appliance.ask('POST', '/v1/tokens', { profile: 'test' })).status, 200)
      t.is(await isWell(appliance, pid), 'ended with 0')
    } finally {
      await close()
    }
  },
)

/** Signs in as a browser would. */
const signIn = async (appliance: Appliance) => {
  const link = new URL(String((await appliance.call('POST', '/v1/ui-links')).body['url']))
  const answer = await fetch(link, {
    method: 'POST',
    redirect: 'manual',
    headers: { origin: link.origin, 'sec-fetch-site': 'same-origin' },
  })
  const cookie = answer.headers
    .getSetCookie()
    .map(text => text.split(';')[0])
    .join('; ')
  const prefix = (answer.headers.get('location') ?? '').replace(/\/$/, '')
  const page = await (await fetch(link.origin + prefix, { headers: { cookie, 'sec-fetch-dest': 'document' } })).text()
  const [, csrf = ''] = /name="csrf" value="([^"]+)"/.exec(page) ?? []
  return { link, cookie, prefix, csrf }
}

test.serial('the page outlives a browser that hangs up in a form, and in its answer', async t => {
  const { appliance, close } = await connected(PROFILE)
  try {
    const pid = appliance.pid()
    const { link, cookie, prefix, csrf } = await signIn(appliance)
    t.not(csrf, '')
    const address: NetConnectOpts = { host: link.hostname, port: Number(link.port) }
    const headers = (type: string): string[] => [`content-type: ${type}`, `cookie: ${cookie}`, `origin: ${link.origin}`]
    const forms = [
      ...inEachCoding(
        `POST ${prefix}/import`,
        `csrf=${csrf}&app_id=1&private_key=x`,
        headers('application/x-www-form-urlencoded'),
      ),
      ...inEachCoding(
        `POST ${prefix}/import`,
        `--a-boundary\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n${csrf}\r\n--a-boundary--\r\n`,
        headers('multipart/form-data; boundary=a-boundary'),
      ),
      ...inEachCoding('POST /sign-in/none', 'a=b', headers('application/x-www-form-urlencoded')),
      ...[`${prefix}/`, `${prefix}/events`, `${prefix}/style.css`, '/style.css', `${prefix}/check/rows`].map(path => ({
        name: path,
        head: headOf(`GET ${path}`, [`cookie: ${cookie}`, 'sec-fetch-dest: document']),
        body: [],
      })),
    ].map(form => ({ ...form, head: form.head.replace('host: localhost', `host: ${link.host}`) }))
    for (const form of forms) for (const cut of [...cutsOf(form), ...cutsOfAnswer(form)]) await cutShort(address, cut)
    const page = await fetch(link.origin + prefix, { headers: { cookie, 'sec-fetch-dest': 'document' } })
    t.is(page.status, 200)
    t.is(await isWell(appliance, pid), 'ended with 0')
  } finally {
    await close()
  }
})
