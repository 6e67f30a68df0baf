// Proxies that refuse, hang, meddle and cut: status names them and never GitHub, what is at hand is served, and mending needs no restart.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { CATALOGUE, type Code } from '../../src/protocol/errors.ts'
import type { Appliance } from '../support/appliance.ts'
import { createAuthority } from '../support/certificates.ts'
import { changeStore } from '../support/store-file.ts'
import { findLeaks, findLeaksBelow, findLeaksInProc, type Needle } from '../support/leaks.ts'
import { type Manner, startMeddlingProxy } from '../support/meddling-proxy.ts'
import {
  askFor,
  authority,
  certificate,
  passwordFile,
  proxyEnvironment,
  reload,
  removeAuthority,
  startProxied,
  statusOf,
  tryToken,
  untilStatus,
  withProxy,
  writePassword,
} from '../support/proxied-appliance.ts'
import { freePort } from '../support/ports.ts'
import { startSquid } from '../support/squid.ts'

const inspector = createAuthority('Inspection CA of the Firm')
test.after.always(() => {
  inspector.remove()
  removeAuthority()
})

const PASSWORD = 'p@ss:w/rd %41 of the proxy'
const WRONG_PASSWORD = 'another word of the proxy'
/** Each couple of seconds: what recovers by itself does so soon. */
const OFTEN = '[refresh]\nschedule = "*/2 * * * * *"\n'

/** The trouble is told in all places, with what to do about it, and laid at the door of `culprit`. */
const assertNamed = async (t: ExecutionContext, appliance: Appliance, code: Code, culprit: string): Promise<string> => {
  const { state, last_failure: failure, warnings } = await statusOf(appliance)
  t.is(state, 'connected')
  t.is(failure?.code, code)
  t.is(failure?.next, CATALOGUE[code].next)
  const warning = warnings.find(each => each.code === code)
  t.is(warning?.next, CATALOGUE[code].next)
  for (const detail of [failure?.detail, warning?.detail]) t.true(detail?.includes(culprit), detail)
  t.notRegex(warning?.detail ?? '', /GitHub (?:cannot be reached|did not answer|has an outage|gave an answer)/)
  return failure?.detail ?? ''
}

const assertRefreshFails = async (t: ExecutionContext, appliance: Appliance, code: Code): Promise<void> => {
  const { body } = await appliance.call('POST', '/v1/refresh')
  t.like(body, { refreshed: 0 })
  const failed: unknown[] = Array.isArray(body['failed']) ? body['failed'] : []
  t.true(failed.length > 0)
  for (const each of failed) t.like(each, { code })
}

/** One refresh after the proxy was mended. */
const assertWell = async (t: ExecutionContext, appliance: Appliance): Promise<void> => {
  const { body } = await appliance.call('POST', '/v1/refresh')
  t.like(body, { failed: [] })
  t.true(Number(body['refreshed']) > 0)
  const status = await statusOf(appliance)
  t.is(status.last_failure, undefined)
  t.is(status.state, 'connected')
}

const assertServed = async (t: ExecutionContext, appliance: Appliance, repository = 'web'): Promise<unknown> => {
  const { status, body } = await askFor(appliance, repository)
  t.is(status, 200)
  t.is(await tryToken(appliance.sandbox.apiUrl, body['token'], repository), 200)
  return body['token']
}

const assertProblem = async (t: ExecutionContext, appliance: Appliance, wanted: { repository: string; code: Code }) => {
  const { status, body, text } = await askFor(appliance, wanted.repository)
  t.is(status, CATALOGUE[wanted.code].status)
  t.like(body, { type: `urn:ghconnect:problem:${wanted.code}`, next: CATALOGUE[wanted.code].next })
  t.notRegex(text, /ghs_/)
}

/** All that the store holds, in clear. */
const readStore = (appliance: Appliance): Buffer => {
  const rows = changeStore(appliance, db => {
    const tables = db.prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()
    return tables.flatMap(table => db.prepare(`SELECT * FROM "${table}"`).raw().all())
  })
  return Buffer.from(
    rows
      .flat()
      .map(value => (Buffer.isBuffer(value) ? value.toString('latin1') : String(value)))
      .join('\n'),
  )
}

test('a proxy that refuses is named, with what to do; once mended it is used at SIGHUP; its password shows nowhere', async t => {
  const guarded = await startSquid({ users: { robot: PASSWORD } })
  t.teardown(() => guarded.stop())
  const strict = await startSquid({ deny: ['127.0.0.1'] })
  t.teardown(() => strict.stop())
  writePassword(PASSWORD)
  const good = withProxy({ url: guarded.url.replace('//', '//robot@'), password_file: passwordFile })
  const appliance = await startProxied({ toml: good, env: { ...proxyEnvironment(), DEBUG: '*' } })
  t.teardown(() => appliance.close())
  await appliance.enable()
  const pid = appliance.pid()
  await assertServed(t, appliance)

  const dead = `http://127.0.0.1:${await freePort()}`
  const seen: string[] = []
  const troubles: { code: Code; culprit: string; repository: string; toml: string; password: string }[] = [
    {
      code: 'proxy-authentication',
      culprit: `robot@127.0.0.1:${guarded.port}`,
      repository: 'api',
      toml: good,
      password: WRONG_PASSWORD,
    },
    {
      code: 'proxy-refused',
      culprit: strict.url,
      repository: 'docs',
      toml: withProxy({ url: strict.url }),
      password: PASSWORD,
    },
    {
      code: 'proxy-unreachable',
      culprit: dead,
      repository: 'infra',
      toml: withProxy({ url: dead }),
      password: PASSWORD,
    },
  ]
  for (const { code, culprit, repository, toml, password } of troubles) {
    writePassword(password)
    await reload(appliance, toml)
    await assertRefreshFails(t, appliance, code)
    await assertNamed(t, appliance, code, culprit)
    await assertServed(t, appliance)
    await assertProblem(t, appliance, { repository, code })
    seen.push((await appliance.call('GET', '/v1/status')).text, (await appliance.ask('GET', '/v1/status')).text)
    writePassword(PASSWORD)
    await reload(appliance, good)
    await assertWell(t, appliance)
    await assertServed(t, appliance, repository)
  }
  t.is(appliance.pid(), pid)

  const login = Buffer.from(`robot:${PASSWORD}`).toString('base64')
  const needles: Needle[] = [
    { name: 'password', text: PASSWORD },
    { name: 'password in a URL', text: encodeURIComponent(PASSWORD) },
    { name: 'login', text: login },
    { name: 'wrong password', text: WRONG_PASSWORD },
  ]
  for (const path of ['/metrics', '/readyz', '/v1/status']) seen.push((await appliance.call('GET', path)).text)
  t.deepEqual(findLeaksInProc(appliance.pid(), needles), [])
  await appliance.kill()
  t.deepEqual(findLeaks(Buffer.from(seen.join('\n')), needles), [])
  t.deepEqual(findLeaks(Buffer.from(appliance.log()), needles), [])
  t.deepEqual(findLeaksBelow(appliance.state, needles), [])
  const stored = readStore(appliance)
  t.true(stored.includes('PRIVATE KEY'), 'the store was read in clear')
  t.deepEqual(findLeaks(stored, needles), [])
})

test('a proxy that takes calls and never answers is named, and not waited for by those who have a token', async t => {
  const proxy = await startMeddlingProxy({ certificate, ca: authority.ca })
  t.teardown(() => proxy.close())
  const toml = withProxy({ url: proxy.url })
  const appliance = await startProxied({ toml })
  t.teardown(() => appliance.close())
  await appliance.enable()
  const token = await assertServed(t, appliance)

  proxy.behave({ kind: 'hang' })
  await reload(appliance, toml)
  const stranger = assertProblem(t, appliance, { repository: 'api', code: 'proxy-unreachable' })
  const before = performance.now()
  t.is((await askFor(appliance, 'web')).body['token'], token)
  t.true(performance.now() - before < 2000)
  // What was under way when the proxy fell silent failed otherwise.
  await untilStatus(appliance, status => status.last_failure?.code === 'proxy-unreachable')
  t.regex(await assertNamed(t, appliance, 'proxy-unreachable', proxy.url), /opened no way to 127\.0\.0\.1:\d+ in 30 s/)
  await stranger
  await assertServed(t, appliance)

  proxy.behave({ kind: 'tunnel' })
  await assertWell(t, appliance)
  await assertServed(t, appliance, 'api')
})

test('a TLS inspection is named by its CA, is let be once that CA is trusted, and a portal in its place is no GitHub', async t => {
  const proxy = await startMeddlingProxy({ certificate: inspector.issue('127.0.0.1'), ca: authority.ca })
  t.teardown(() => proxy.close())
  const toml = withProxy({ url: proxy.url }, OFTEN)
  const appliance = await startProxied({ toml })
  t.teardown(() => appliance.close())
  await appliance.enable()
  await assertServed(t, appliance)
  const github = new URL(appliance.sandbox.url).host

  proxy.behave({ kind: 'intercept' })
  await assertRefreshFails(t, appliance, 'tls')
  t.regex(await assertNamed(t, appliance, 'tls', github), /issued by Inspection CA of the Firm/)
  await assertServed(t, appliance)

  const both = join(appliance.folder, 'ca.pem')
  writeFileSync(both, authority.ca + inspector.ca)
  await reload(appliance, withProxy({ url: proxy.url, ca_file: both }, OFTEN))
  await assertWell(t, appliance)
  await assertServed(t, appliance, 'api')

  const portals: Manner[] = [{ kind: 'portal' }, { kind: 'page' }]
  for (const manner of portals) {
    proxy.behave(manner)
    await assertRefreshFails(t, appliance, 'portal')
    await assertNamed(t, appliance, 'portal', manner.kind === 'page' ? proxy.url : 'Hotel Wi-Fi')
    await assertProblem(t, appliance, { repository: 'docs', code: 'portal' })
    await assertServed(t, appliance)
  }
  proxy.behave({ kind: 'tunnel' })
  await untilStatus(appliance, status => status.last_failure === undefined)
  await assertWell(t, appliance)
  await assertServed(t, appliance, 'docs')
})

test('answers that a proxy cuts are named, no half of a token is served, and what follows is whole again by itself', async t => {
  const proxy = await startMeddlingProxy({ certificate, ca: authority.ca, manner: { kind: 'intercept' } })
  t.teardown(() => proxy.close())
  const appliance = await startProxied({ toml: withProxy({ url: proxy.url }, OFTEN) })
  t.teardown(() => appliance.close())
  await appliance.enable()
  const token = await assertServed(t, appliance)

  // From within the TLS handshake to within the answer. Each has a scope that was never asked for: a failure is remembered for a while.
  const cases: { manner: Manner; code: Code; repositories: string[] }[] = [
    { manner: { kind: 'cut-tunnel', afterBytes: 1 }, code: 'unreachable', repositories: ['api'] },
    { manner: { kind: 'cut-tunnel', afterBytes: 600 }, code: 'unreachable', repositories: ['docs'] },
    { manner: { kind: 'cut-tunnel', afterBytes: 1_500 }, code: 'unreachable', repositories: ['infra'] },
    { manner: { kind: 'truncate', claims: 'more' }, code: 'unreachable', repositories: ['api', 'docs'] },
    { manner: { kind: 'truncate', claims: 'whole' }, code: 'github-unexpected', repositories: ['docs', 'infra'] },
  ]
  for (const { manner, code, repositories } of cases) {
    proxy.behave(manner)
    await assertRefreshFails(t, appliance, code)
    const { state, last_failure: failure } = await statusOf(appliance)
    t.is(state, 'connected')
    t.is(failure?.code, code, JSON.stringify(manner))
    t.is((await askFor(appliance, 'web')).body['token'], token)
    const half = await askFor(appliance, ...repositories)
    t.is(half.status, 502)
    t.like(half.body, { type: `urn:ghconnect:problem:${code}` })
    t.notRegex(half.text, /ghs_/)
  }

  proxy.behave({ kind: 'intercept' })
  await untilStatus(appliance, status => status.last_failure === undefined)
  const whole = async () => (await askFor(appliance, 'docs', 'infra')).body['token']
  for (let tries = 0; (await whole()) === undefined && tries < 100; tries++) {
    await new Promise(pause => setTimeout(pause, 50))
  }
  t.is(await tryToken(appliance.sandbox.apiUrl, await whole(), 'infra'), 200)
})
