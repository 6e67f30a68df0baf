// The command `sandbox`: one line with its addresses, a life until the signal, and TLS.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:https'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import test from 'ava'
import { isLoopback, runSandbox, startSandbox } from '../../src/sandbox/server.ts'
import { createAuthority } from '../support/certificates.ts'
import { createBench } from './support.ts'

test('the command prints its addresses on one line and ends on SIGTERM', async t => {
  const room = resolve(import.meta.dirname, '../../src/sandbox/server.ts')
  const script = `import(${JSON.stringify(room)}).then(m => m.runSandbox({ listen: '127.0.0.1:0', seed: '7' }))`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  const reader = createInterface(child.stdout).on('line', line => lines.push(line))
  await once(reader, 'line')
  const [, api = ''] = / API (http:\/\/127\.0\.0\.1:\d+\/api\/v3) /.exec(lines[0] ?? '') ?? []
  t.is((await fetch(`${api}/meta`)).status, 200)
  child.kill('SIGTERM')
  const [code]: unknown[] = await once(child, 'exit')
  t.is(code, 0)
  t.is(lines.length, 1)
})

test('it speaks TLS where it is given a certificate', async t => {
  const authority = createAuthority('sandbox test')
  t.teardown(() => {
    authority.remove()
  })
  const sandbox = await startSandbox({ tls: authority.issue('127.0.0.1') })
  t.teardown(() => sandbox.close())
  t.regex(sandbox.apiUrl, /^https:/)
  const status = await new Promise((settle, reject) => {
    get(`${sandbox.apiUrl}/meta`, { ca: authority.ca, headers: { 'user-agent': 'test' } }, response => {
      response.resume()
      settle(response.statusCode)
    }).on('error', reject)
  })
  t.is(status, 200)
})

test('an address or a seed that makes no sense is refused', async t => {
  await t.throwsAsync(runSandbox({ listen: '8080' }), { message: /HOST:PORT/ })
  await t.throwsAsync(runSandbox({ listen: '0.0.0.0:0' }), { message: /loopback only/ })
  await t.throwsAsync(runSandbox({ listen: '127.0.0.1:0', seed: 'x' }), { message: /whole number/ })
  await t.throwsAsync(runSandbox({ listen: '127.0.0.1:0', tlsCert: 'x' }), { message: /belong together/ })
})

test('loopback is 127.0.0.0/8, ::1 and localhost', t => {
  for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost']) t.true(isLoopback(host), host)
  for (const host of ['', '0.0.0.0', '10.0.0.1', '::', '::ffff:10.0.0.1', '127.0.0.1.nip.example'])
    t.false(isLoopback(host), host)
})

test('the control API answers what it does not know with a reason', async t => {
  const bench = await createBench(t)
  for (const [path, body] of [
    ['nothing', {}],
    ['clock', { offset: 1 }],
    ['repositories', { owner: 'nobody', name: 'x' }],
    ['repositories', { owner: 'octo-org', name: 'web' }],
    ['apps', { owner: 'octo-org', name: 'x'.repeat(35) }],
    ['apps/1/delete', {}],
    ['installations', { app: 1, account: 'octo-org' }],
    ['installations/1/suspend', {}],
  ] as const)
    await t.throwsAsync(bench.control(path, body), { message: /: 4\d\d / }, path)
  await bench.control('organizations', { login: 'new-org' })
  await bench.control('repositories', { owner: 'new-org', name: 'one' })
  const app = await bench.app('renamed')
  t.like(await bench.control(`apps/${app.id}/rename`, { name: 'Other Name' }), { slug: 'other-name' })
  const id = await bench.install(app, 'new-org', ['one'])
  t.like(await bench.control('state'), { installations: [{ id, account: 'new-org', repositories: ['one'] }] })
  t.like(await bench.control('reset', {}), { reset: true })
  t.like(await bench.control('state'), { counts: { apps: 0, requests: 0 } })
})
