// Everything hangs: names, proxy, TLS, GitHub itself. The doctor waits for all of it at once, and names who hangs.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Appliance, PROFILE } from '../support/appliance.ts'
import { assertNames, checkOf, type Naming } from '../support/checking.ts'
import { startMeddlingProxy } from '../support/meddling-proxy.ts'
import { createNetwork, type Place } from '../support/network.ts'
import {
  authority,
  certificate,
  reload,
  removeAuthority,
  startProxied,
  withProxy,
} from '../support/proxied-appliance.ts'

test.after.always(removeAuthority)

/** Each step has 4 s at most; two that wait one after the other would take 8 s. What is between is left to a busy machine. */
const TWO_LIMITS_MS = 8_000
/** What hangs here does so for 4 s or longer. */
const WITHOUT_WAITING_MS = 4_000

const assertQuick = async (t: ExecutionContext, appliance: Appliance, names: Naming): Promise<void> => {
  const before = performance.now()
  const report = await checkOf(appliance)
  const took = performance.now() - before
  t.true(took < TWO_LIMITS_MS, `${took} ms`)
  t.true(report.took_ms < TWO_LIMITS_MS, `${report.took_ms} ms`)
  // Without a recovery key and an export there are warnings of the machine itself.
  const rows = report.rows.filter(({ layer }) => layer !== 'recovery-key' && layer !== 'backup')
  assertNames(t, { ...report, rows }, names)
}

test('a proxy that never answers, and TLS that never begins', async t => {
  const proxy = await startMeddlingProxy({ certificate, ca: authority.ca })
  t.teardown(() => proxy.close())
  const toml = withProxy({ url: proxy.url })
  const appliance = await startProxied({ toml })
  t.teardown(() => appliance.close())
  await appliance.enable()

  proxy.behave({ kind: 'hang' })
  await reload(appliance, toml)
  await assertQuick(t, appliance, {
    layer: 'proxy',
    verdict: 'failed',
    code: 'proxy-unreachable',
    // What its look-up took of the four seconds is gone.
    says: /opened no way to 127\.0\.0\.1:\d+ in (?:4|3\.\d) s/,
  })
  proxy.behave({ kind: 'mute' })
  await reload(appliance, toml)
  const names: Naming = {
    layer: 'tls',
    verdict: 'failed',
    code: 'timeout',
    says: /handshake with .* did not end in (?:4|3\.\d) s/,
  }
  await assertQuick(t, appliance, names)
  // Who asks while one is under way is answered by that one.
  await Promise.all([
    assertQuick(t, appliance, names),
    assertQuick(t, appliance, names),
    assertQuick(t, appliance, names),
  ])

  proxy.behave({ kind: 'tunnel' })
  await appliance.call('POST', '/v1/refresh')
  const { rows } = await checkOf(appliance)
  t.deepEqual(
    rows.filter(({ verdict }) => verdict === 'failed'),
    [],
  )
})

test('GitHub that takes calls and never answers', async t => {
  const appliance = await startProxied({ toml: withProxy({}) })
  t.teardown(() => appliance.close())
  await appliance.enable()
  await appliance.control('POST', 'faults', { kind: 'slow', ms: 6_000 })
  await assertQuick(t, appliance, {
    layer: 'host',
    verdict: 'failed',
    code: 'timeout',
    says: /did not answer in (?:4|3\.\d) s/,
  })
  await appliance.control('DELETE', 'faults')
  await appliance.control('POST', 'faults', { kind: 'slow', ms: 6_000, path: '/app' })
  await assertQuick(t, appliance, { layer: 'host', verdict: 'failed', code: 'timeout', says: /GitHub did not answer/ })
})

/** Takes each question and answers none. */
const startSilentResolver = async (t: ExecutionContext, place: Place): Promise<void> => {
  const script = `require('node:dgram').createSocket('udp4').bind(53, '${place.address}', () => console.log('ready'))`
  const [program = '', ...words] = place.enter([process.execPath, '-e', script])
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(async () => {
    const end = once(child, 'exit')
    child.kill('SIGKILL')
    await end
  })
  await once(child.stdout, 'data')
}

test('names that nobody answers for, again and again, and local callers all the while', async t => {
  const network = createNetwork()
  t.teardown(() => network.remove())
  const { inside, outside } = network
  // `ip netns exec` lays what is in this folder over /etc.
  const [, , , name = ''] = inside.enter([])
  const etc = join('/etc/netns', basename(name))
  mkdirSync(etc, { recursive: true })
  t.teardown(() => rmSync(etc, { recursive: true }))
  writeFileSync(join(etc, 'resolv.conf'), `nameserver ${outside.address}\n`)
  await startSilentResolver(t, outside)
  const appliance = await startProxied({
    github: { url: 'https://github.test', apiUrl: 'https://api.github.test' },
    toml: PROFILE,
    wrap: command => inside.enter(command),
  })
  t.teardown(() => appliance.close())
  for (let round = 0; round < 3; round++) {
    const checked = assertQuick(t, appliance, {
      layer: 'dns',
      verdict: 'failed',
      subject: 'api.github.test',
      code: 'dns',
      says: /look-up of api\.github\.test had no answer in 4 s|EAI_AGAIN/,
    })
    const before = performance.now()
    t.is((await appliance.ask('GET', '/livez')).status, 200)
    t.true(performance.now() - before < WITHOUT_WAITING_MS)
    await checked
  }
})
