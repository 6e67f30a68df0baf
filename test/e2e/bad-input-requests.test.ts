// Requests that are wrong, too large, too many or from a browser: each is refused by name, and the daemon serves on.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import type { Appliance } from '../support/appliance.ts'
import { enabled, shell } from '../support/probes.ts'
import { callUnix } from '../support/unix-http.ts'

const PROBLEM = 'urn:ghconnect:problem:'
const WANTED = { repositories: ['web'], permissions: { contents: 'read' } }
const MIB = 1024 * 1024

let appliance: Appliance & { wrong: string[] }
test.before(async () => {
  appliance = await enabled()
})
test.after.always(() => appliance.close())

const socketPath = (): string => join(appliance.runtime, 'token.sock')

const residentBytes = (): number => {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${appliance.pid()}/status`, 'utf8')) ?? []
  return Number(kib) * 1024
}

test.afterEach(async t => {
  t.is((await appliance.ask('POST', '/v1/tokens', WANTED)).status, 200, 'it serves on')
  t.deepEqual(appliance.wrong, [])
})

test.serial('a body that is no JSON, or not the JSON of this route, is refused by the name of its field', async t => {
  const bodies: readonly [unknown, RegExp][] = [
    ['{', /not JSON/],
    ['', /not JSON/],
    ['"\u0000"', /body/],
    ['[]', /body/],
    ['null', /body/],
    [{ repositories: 'web' }, /repositories/],
    [{ repositories: [] }, /repositories/],
    [{ repositories: ['octo-org/web'] }, /repositories\.0/],
    [{ repositories: ['web'], repository_ids: [1] }, /not both/],
    [{ permissions: { contents: 'everything' } }, /permissions\.contents/],
    [{ permissions: {} }, /permissions/],
    [{ min_ttl_seconds: 2401 }, /min_ttl_seconds/],
    [{ repository: ['web'] }, /repository: there is no such field/],
    [{ ...WANTED, __proto__: null, scope: 'all' }, /scope/],
  ]
  for (const [body, detail] of bodies) {
    const answer = await appliance.ask('POST', '/v1/tokens', body)
    t.is(answer.status, 400, JSON.stringify(body))
    t.is(answer.body['type'], `${PROBLEM}invalid-request`)
    t.regex(String(answer.body['detail']), detail)
    t.truthy(answer.body['next'])
  }
  const query = await appliance.call('DELETE', '/v1/connection?loca=true')
  t.is(query.status, 400)
  t.regex(String(query.body['detail']), /loca/)
})

test.serial('another content type is refused: no form of a page in a browser gets through', async t => {
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'application/jsonp',
    '',
  ]) {
    const headers = { 'content-type': type }
    const answer = await callUnix(socketPath(), { method: 'POST', path: '/v1/tokens', body: WANTED, headers })
    t.is(answer.status, 400, type)
    t.is(answer.body['type'], `${PROBLEM}invalid-request`)
  }
})

test.serial('unknown routes and wrong methods are named, and what is on the other socket is told apart', async t => {
  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/v1'],
    ['GET', '/v1/tokens'],
    ['PUT', '/v1/tokens'],
    ['PATCH', '/v1/status'],
    ['POST', '/v1/status'],
    ['GET', '/v1/tokens/../status'],
    ['GET', '/v1/status/'],
    ['GET', '//v1/status'],
    ['GET', '/v2/status'],
    ['OPTIONS', '/v1/tokens'],
    ['GET', '/%00'],
  ] as const) {
    const answer = await appliance.ask(method, path)
    t.is(answer.status, 404, `${method} ${path}`)
    t.is(answer.body['type'], `${PROBLEM}unknown-route`)
  }
  for (const [method, path] of [
    ['POST', '/v1/refresh'],
    ['GET', '/metrics'],
    ['DELETE', '/v1/connection'],
  ] as const) {
    const answer = await appliance.ask(method, path)
    t.is(answer.status, 403, path)
    t.is(answer.body['type'], `${PROBLEM}not-permitted`)
  }
})

test.serial('whatever a browser sends is refused: another host, an origin, a referrer', async t => {
  for (const headers of [
    { host: 'evil.example' },
    { host: 'localhost.evil.example' },
    { host: 'localhost:80@evil.example' },
    { origin: 'http://localhost' },
    { origin: 'null' },
    { referer: 'http://localhost/' },
    { 'sec-fetch-site': 'same-origin' },
  ]) {
    for (const name of ['token.sock', 'admin.sock']) {
      const path = join(appliance.runtime, name)
      const answer = await callUnix(path, { method: 'GET', path: '/v1/status', headers })
      t.is(answer.status, 403, JSON.stringify(headers))
      t.is(answer.body['type'], `${PROBLEM}browser-refused`)
    }
  }
  const listen = /listen = "(.*)"/.exec(readFileSync(appliance.configFile, 'utf8'))?.[1]
  const curl = `curl -s -o /dev/null -w '%{http_code}' -H 'host: evil.example' http://${listen}/`
  t.is((await shell(curl)).stdout, '421', 'nor does the page answer to a name that is not its own')
})

test.serial('a body of 100 MB is refused without being read into memory, however it is sent', async t => {
  const before = residentBytes()
  const target = `-X POST --unix-socket ${socketPath()} localhost/v1/tokens -H 'content-type: application/json'`
  for (const body of ['-T - -H expect:', '--data-binary @- -H expect:', '--data-binary @-']) {
    const curl = `head -c ${100 * MIB} /dev/zero | tr '\\0' ' ' | curl -s -w '\\n%{http_code}' ${target} ${body}`
    const { stdout } = await shell(curl)
    t.regex(stdout, /urn:ghconnect:problem:body-too-large/, body)
    t.regex(stdout, /413$/, body)
  }
  t.true(residentBytes() - before < 40 * MIB, `grew by ${Math.round((residentBytes() - before) / MIB)} MiB`)
})

test.serial('headers of 64 KB are refused, and the client can read it', async t => {
  const filler = 'x'.repeat(64 * 1024)
  const url = `localhost/v1/status -H 'x-filler: ${filler}'`
  const { code, stdout } = await shell(`curl -s -w '%{http_code}' --unix-socket ${socketPath()} ${url}`)
  t.deepEqual([code, stdout], [0, '431'])
  const answer = await callUnix(socketPath(), { method: 'GET', path: '/v1/status', headers: { 'x-filler': filler } })
  t.is(answer.status, 431)
})

test.serial('what is no HTTP is answered as such and closed', async t => {
  for (const text of [
    '\u0000\u0001\u0002\r\n\r\n',
    'GET\r\n\r\n',
    'POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n',
  ]) {
    const socket = connect(socketPath())
    let answer = ''
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
    socket.end(text)
    await once(socket, 'close')
    t.regex(answer, /^HTTP\/1\.1 400 /)
  }
})

test.serial('1,000 idle connections keep nobody from an answer, and are closed', async t => {
  const open = async (): Promise<Socket> => {
    const socket = connect(socketPath())
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  const idle: Socket[] = []
  const closed: Promise<unknown>[] = []
  for (let batch = 0; batch < 10; batch++) {
    const sockets = await Promise.all(Array.from({ length: 100 }, open))
    for (const socket of sockets) {
      // A half of them began to send a request, and stopped.
      if (idle.length % 2 === 0) socket.write('POST /v1/tokens HTTP/1.1\r\nhost: local')
      socket.resume()
      closed.push(once(socket, 'close'))
      idle.push(socket)
    }
  }
  const began = performance.now()
  for (let times = 0; times < 20; times++) t.is((await appliance.ask('POST', '/v1/tokens', WANTED)).status, 200)
  t.true(performance.now() - began < 5_000)
  await Promise.all(closed)
  t.true(performance.now() - began < 30_000, `closed after ${Math.round(performance.now() - began)} ms`)
})
