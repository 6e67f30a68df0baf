// The one door out: a daemon that can reach nothing but its proxy does its whole job, and nothing local ever goes there.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { deleteApp } from '../../src/sandbox/owner.ts'
import { CLI } from '../support/appliance.ts'
import { createNetwork, type Place } from '../support/network.ts'
import {
  askFor,
  certificate,
  proxyEnvironment,
  removeAuthority,
  startProxied,
  statusOf,
  tryToken,
  withProxy,
} from '../support/proxied-appliance.ts'
import { freePort } from '../support/ports.ts'
import { startMicrosocks, startSquid } from '../support/squid.ts'

test.after.always(removeAuthority)

const run = promisify(execFile)

type Tunnel = { endMs: number; startMs: number; client: string; what: string }

/** Squid's own format: time of the end, duration, client, result, bytes, method, target. */
const tunnelsOf = (accessLog: string): Tunnel[] =>
  accessLog
    .trim()
    .split('\n')
    .map(line => {
      const [end = '', duration = '', client = '', result = '', , method = '', target = ''] = line.trim().split(/\s+/)
      const endMs = Number(end) * 1000
      return { endMs, startMs: endMs - Number(duration), client, what: `${result} ${method} ${target}` }
    })

/** How it logs a connection without a request: a look whether it is there. */
const PROBE = 'transaction-end-before-headers'

/** GitHub's sandbox as a process of its own, on loopback of a place. */
const startSandboxIn = async (t: ExecutionContext, place: Place, port: number): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), 'sandbox-'))
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  writeFileSync(cert, certificate.cert)
  writeFileSync(key, certificate.key, { mode: 0o600 })
  const sandbox = [CLI, 'sandbox', '--listen', `127.0.0.1:${port}`, '--tls-cert', cert, '--tls-key', key]
  const [program = '', ...words] = place.enter([process.execPath, ...sandbox])
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(async () => {
    const end = once(child, 'exit')
    child.kill('SIGKILL')
    await end
    rmSync(folder, { recursive: true, force: true })
  })
  const [said] = await once(child.stdout, 'data')
  t.regex(String(said), /sandbox/)
}

const daemonCalls = async (url: string): Promise<{ method: string; path: string; atMs: number }[]> => {
  const answer = await fetch(`${url}/_sandbox/log`)
  const entries: unknown = await answer.json()
  if (!Array.isArray(entries)) throw new Error('no log')
  return entries
    .filter(entry => String(entry.user_agent).startsWith('ghconnectd/'))
    .map(entry => ({ method: entry.method, path: entry.path, atMs: Date.parse(entry.at) }))
}

test('a daemon that reaches nothing but its proxy enables, mints, refreshes and disables', async t => {
  const network = createNetwork()
  // Teardowns run last to first: the network goes when all in it has ended.
  t.teardown(() => network.remove())
  const { inside, outside } = network
  const port = await freePort()
  await startSandboxIn(t, outside, port)
  const squid = await startSquid({ place: outside, hosts: { 'github.test': '127.0.0.1' } })
  t.teardown(() => squid.stop())
  const url = `https://127.0.0.1:${port}`
  const appliance = await startProxied({
    // A name that the proxy alone can resolve.
    github: { url, apiUrl: `https://github.test:${port}/api/v3` },
    toml: withProxy({ url: squid.url }),
    wrap: command => inside.enter(command),
  })
  t.teardown(() => appliance.close())

  t.true(outside.reaches('127.0.0.1', port), 'GitHub is where it should be')
  t.true(inside.reaches(outside.address, squid.port), 'the proxy is reachable')
  for (const host of ['127.0.0.1', outside.address]) t.false(inside.reaches(host, port), `no way to GitHub at ${host}`)
  t.is(inside.run('ip', 'route', 'show', 'default'), '')
  t.throws(() => inside.run('getent', 'hosts', 'github.test'))
  t.is(inside.run('cat', `/proc/${appliance.pid()}/net/fib_trie`), inside.run('cat', '/proc/self/net/fib_trie'))

  // The owner's browser is on a third machine, with `ssh -L` to the page.
  const [, page = ''] = /listen = "127\.0\.0\.1:(\d+)"/.exec(readFileSync(appliance.configFile, 'utf8')) ?? []
  for (const forwarded of [await inside.forward(Number(page)), await outside.forward(port)]) {
    t.teardown(() => forwarded.close())
  }
  await appliance.enable()
  const { token } = (await askFor(appliance, 'web')).body
  t.is(await tryToken(`${url}/api/v3`, token, 'web'), 200)
  t.is(await tryToken(`${url}/api/v3`, token, 'api'), 404)
  const refreshed = await appliance.call('POST', '/v1/refresh')
  t.like(refreshed.body, { refreshed: 2, failed: [] })
  const { app, proxy } = await statusOf(appliance)
  t.is(proxy, squid.url)
  await appliance.call('DELETE', '/v1/connection')
  t.is(await tryToken(`${url}/api/v3`, token, 'web'), 401)
  await deleteApp({ url, owner: 'octo-org', slug: app?.slug ?? '' })
  await appliance.until('disconnected')
  const calls = await daemonCalls(url)
  await appliance.kill()

  const tunnels = tunnelsOf(squid.accessLog()).filter(({ what }) => !what.includes(PROBE))
  for (const { client, what } of tunnels) {
    t.is(client, inside.address)
    t.is(what, `TCP_TUNNEL/200 CONNECT github.test:${port}`)
  }
  for (const step of [
    'POST /api/v3/app-manifests/',
    'POST /api/v3/app/installations/',
    'DELETE /api/v3/installation/token',
    'DELETE /api/v3/app/installations/',
  ]) {
    t.true(
      calls.some(({ method, path }) => `${method} ${path}`.startsWith(step)),
      step,
    )
  }
  // GitHub's log has whole seconds.
  const strays = calls.filter(
    ({ atMs }) => !tunnels.some(({ startMs, endMs }) => startMs < atMs + 1000 && atMs < endMs),
  )
  t.deepEqual(strays, [], 'each call falls into a tunnel')
})

test('the environment names proxy and exclusions where the configuration does not; sockets and pages never go there', async t => {
  const squid = await startSquid()
  t.teardown(() => squid.stop())
  const all = { HTTPS_PROXY: squid.url, HTTP_PROXY: squid.url, ALL_PROXY: squid.url }
  const env = proxyEnvironment(all)
  const appliance = await startProxied({ env, toml: withProxy({}) })
  t.teardown(() => appliance.close())
  await appliance.enable()
  t.is((await statusOf(appliance)).proxy, squid.url)
  const { token } = (await askFor(appliance, 'web')).body
  t.is(await tryToken(appliance.sandbox.apiUrl, token, 'web'), 200)

  // The command line and its sockets, with the same environment.
  const words = [CLI, 'token', '--repo', 'web', '--permission', 'contents=read', '--config', appliance.configFile]
  const { stdout } = await run(process.execPath, words, { env: { ...process.env, ...env } })
  t.is(stdout.trim(), String(token))
  const status = [CLI, 'status', '--config', appliance.configFile]
  t.regex((await run(process.execPath, status, { env: { ...process.env, ...env } })).stdout, /connected/i)
  await appliance.kill()
  const targets = new Set(tunnelsOf(squid.accessLog()).map(({ what }) => what))
  t.deepEqual([...targets], [`TCP_TUNNEL/200 CONNECT ${new URL(appliance.sandbox.url).host}`])

  // The same daemon again, its proxy gone and GitHub excluded.
  const lines = squid.accessLog()
  const dead = `http://127.0.0.1:${await freePort()}`
  Object.assign(env, proxyEnvironment({ HTTPS_PROXY: dead, NO_PROXY: 'localhost,127.0.0.0/8' }))
  await appliance.start()
  t.like((await appliance.call('POST', '/v1/refresh')).body, { failed: [] })
  t.is((await statusOf(appliance)).proxy, undefined)
  t.is(squid.accessLog(), lines)
})

test('hosts that [proxy] exclude names are called directly, others are not', async t => {
  const dead = `http://127.0.0.1:${await freePort()}`
  const appliance = await startProxied({ toml: withProxy({ url: dead, exclude: ['.internal', '127.0.0.0/8'] }) })
  t.teardown(() => appliance.close())
  await appliance.enable()
  t.is(await tryToken(appliance.sandbox.apiUrl, (await askFor(appliance, 'web')).body['token'], 'web'), 200)
  const status = await statusOf(appliance)
  t.is(status.last_failure, undefined)
  t.is(status.proxy, undefined)
})

test('a socks5 proxy serves for the whole round', async t => {
  const login = { user: 'robot', password: 'p@ss:w/rd %41' }
  const socks = await startMicrosocks(login)
  t.teardown(() => socks.stop())
  const url = socks.url.replace('//', `//${login.user}:${encodeURIComponent(login.password)}@`)
  const appliance = await startProxied({ toml: withProxy({ url }) })
  t.teardown(() => appliance.close())
  await appliance.enable()
  const { token } = (await askFor(appliance, 'web')).body
  t.is(await tryToken(appliance.sandbox.apiUrl, token, 'web'), 200)
  t.like((await appliance.call('POST', '/v1/refresh')).body, { failed: [] })
  t.is((await statusOf(appliance)).proxy, `socks5://robot@127.0.0.1:${socks.port}`)
  await socks.stop()
  await appliance.call('POST', '/v1/refresh')
  const { last_failure: failure, state } = await statusOf(appliance)
  t.is(failure?.code, 'proxy-unreachable')
  t.is(state, 'connected')
  t.is((await askFor(appliance, 'web')).status, 200)
})
