// A key is changed while tokens are minted without a pause: no request fails, whichever key GitHub ceases to take.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { z } from 'zod'
import { KeysAnswer } from '../../src/protocol/wire.ts'
import type { Appliance } from '../support/appliance.ts'
import { enabled, ghconnect } from '../support/probes.ts'

const LOADERS = 4
/** Their subsets are 4,095 scopes, each asked for once: every answer is a mint. */
const REPOSITORIES = ['web', 'api', 'docs', 'infra', ...Array.from({ length: 8 }, (_, n) => `more-${n}`)]

const Generated = z.object({ pem: z.string(), fingerprint: z.string() })
const AppBody = z.object({ app: z.object({ id: z.int() }) })

/** What the App's owner has: a way to its settings page, and an administrator's shell. */
const ownerOf = async (appliance: Appliance) => {
  const { app } = AppBody.parse((await appliance.call('GET', '/v1/status')).body)
  const keys = (...args: string[]) => ghconnect('keys', ...args, '--socket', appliance.runtime)
  return {
    async generate() {
      const made = Generated.parse(await appliance.control('POST', `apps/${app.id}/generate-key`))
      const file = join(appliance.folder, `${app.id}.pem`)
      writeFileSync(file, made.pem, { mode: 0o600 })
      return { ...made, file }
    },
    revoke: (fingerprint: string) => appliance.control('POST', `apps/${app.id}/revoke-keys`, { fingerprint }),
    keys,
    list: async () => KeysAnswer.parse((await appliance.call('GET', '/v1/keys')).body).keys,
  }
}

const startLoad = (appliance: Appliance, t: ExecutionContext) => {
  let asked = 0
  const over = new AbortController()
  const failed: string[] = []
  const waiting: { readonly until: number; readonly resolve: () => void }[] = []
  const loop = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const number = ++asked
      const repositories = REPOSITORIES.filter((_, bit) => ((number >> bit) & 1) === 1)
      const answer = await appliance.call('POST', '/v1/tokens', { repositories, permissions: { contents: 'read' } })
      if (answer.status !== 200) failed.push(answer.text)
      for (const { until, resolve } of waiting) if (asked >= until) resolve()
    }
  }
  t.teardown(() => over.abort())
  const loops = Array.from({ length: LOADERS }, loop)
  return {
    async stop() {
      over.abort()
      await Promise.all(loops)
      return { asked, failed }
    },
    /** Resolves when so many more were asked for; meanwhile all that are held are minted anew. */
    async more(count: number) {
      const { promise, resolve } = Promise.withResolvers<void>()
      waiting.push({ until: asked + count, resolve })
      const refreshed = await appliance.call('POST', '/v1/refresh')
      t.deepEqual(refreshed.body['failed'], [])
      await promise
    },
  }
}

test('rotation under load: a key is added, the old one revoked on GitHub, retired, and no request fails', async t => {
  const appliance = await enabled()
  t.teardown(() => appliance.close())
  await appliance.control('POST', 'settings', { hourly_quota: 1_000_000 })
  for (const name of REPOSITORIES.slice(4)) await appliance.control('POST', 'repositories', { owner: 'octo-org', name })
  // So that there are mints under way at each moment.
  await appliance.control('POST', 'faults', { kind: 'slow', ms: 40, method: 'POST', path: '/app/installations' })
  const owner = await ownerOf(appliance)
  const [first] = await owner.list()
  if (!first) throw new Error('no key')
  const load = startLoad(appliance, t)
  await load.more(20)

  const second = await owner.generate()
  const added = await owner.keys('add', second.file)
  t.is(added.code, 0, added.output)
  t.true(added.output.includes(`${second.fingerprint} signs now.`))
  await load.more(50)
  await owner.revoke(first.fingerprint)
  await load.more(50)
  const retired = await owner.keys('retire', '--yes')
  t.is(retired.code, 0, retired.output)
  t.regex(retired.output, /settings\/apps\/appliance-test$/m)
  t.true(retired.output.includes(first.fingerprint), 'as GitHub shows it')
  await load.more(50)

  // And the new one dies while the one before it is the fallback.
  const third = await owner.generate()
  t.is((await owner.keys('add', third.file)).code, 0)
  await load.more(50)
  await owner.revoke(third.fingerprint)
  await load.more(50)
  t.deepEqual(
    (await owner.list()).map(({ fingerprint, signs, state }) => ({ fingerprint, signs, state })),
    [
      { fingerprint: third.fingerprint, signs: true, state: 'rejected' },
      { fingerprint: second.fingerprint, signs: false, state: 'works' },
    ],
  )
  const { output } = await ghconnect('status', '--socket', appliance.runtime)
  t.regex(output, /^Warning +key-fallback: GitHub rejects the key SHA256:/m)
  t.is((await owner.keys('retire', '--yes')).code, 69, 'what stays has to work')
  t.is((await owner.keys('retire', '--yes', '--fingerprint', third.fingerprint)).code, 0)
  await load.more(50)

  const { asked, failed } = await load.stop()
  t.deepEqual(failed, [])
  t.log(`${asked} requests, each a mint, none failed`)
  t.is((await owner.keys('retire', '--yes', '--fingerprint', second.fingerprint)).code, 65, 'the last key stays')
  t.is((await appliance.call('GET', '/readyz')).status, 200)
  t.false(appliance.log().includes('PRIVATE KEY'))
  t.deepEqual(appliance.wrong, [])
})

test('a snapshot carries both keys, and a restore brings both back', async t => {
  const appliance = await enabled()
  t.teardown(() => appliance.close())
  const owner = await ownerOf(appliance)
  const [first] = await owner.list()
  const second = await owner.generate()
  t.is((await owner.keys('add', second.file)).code, 0)
  const bundle = join(appliance.folder, 'two-keys.tar')
  const exported = await ghconnect('snapshot', 'export', '--output', bundle, '--config', appliance.configFile)
  t.is(exported.code, 0, exported.output)
  t.is((await owner.keys('retire', '--yes')).code, 0)
  t.is((await owner.list()).length, 1)
  const restored = await ghconnect('snapshot', 'restore', '--input', bundle, '--config', appliance.configFile)
  t.is(restored.code, 0, restored.output)
  t.deepEqual(
    (await owner.list()).map(({ fingerprint, signs }) => ({ fingerprint, signs })),
    [
      { fingerprint: second.fingerprint, signs: true },
      { fingerprint: first?.fingerprint, signs: false },
    ],
  )
  // Either one serves: the one that signs dies on GitHub.
  await owner.revoke(second.fingerprint)
  t.is((await appliance.call('POST', '/v1/tokens', { repositories: ['docs'] })).status, 200)
})
