// The doctor over fakes: done in time whatever hangs, one check for all who ask, silent where nothing may go out, gentle with GitHub.

import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import type { Passage } from '../../src/protocol/passage.ts'
import type { CheckReport, CheckRow } from '../../src/protocol/wire-check.ts'
import { checkStore, probeApp, readStoreFacts } from '../../src/core/probe.ts'
import { createDoctor } from '../../src/doctor/doctor.ts'
import type { Probe } from '../../src/doctor/probe.ts'
import type { Examination } from '../../src/core/outbound/probe.ts'
import { settle, START_MS } from '../support/fakes.ts'
import { connectedRig, readFakeKey } from '../support/operations-rig.ts'

const never = new Promise<never>(() => {})
const DAY_MS = 86_400_000

const wayOf =
  (clock: { now(): number }) =>
  async ({ url, onLookUp }: Examination): Promise<Passage> => {
    onLookUp?.()
    const answer = {
      status: 200,
      requestId: 'A:B',
      date: new Date(clock.now()).toUTCString(),
      sentAtMs: clock.now(),
      receivedAtMs: clock.now(),
      isWhole: true,
    }
    return {
      host: new URL(url).host,
      isTls: true,
      proxy: undefined,
      tookMs: 1,
      answer,
      connect: { tookMs: 1 },
      tls: { issuer: 'CA', tookMs: 1 },
    }
  }

const PROFILE = {
  name: 'a',
  installation: 'Octo-Org',
  repositories: ['web', 'api'],
  permissions: { contents: 'read' },
  allow: { users: [], groups: [], units: [] },
} as const

const examine = async (more: Partial<Probe> = {}) => {
  const rig = await connectedRig()
  const { store, clock, status, premises } = rig
  premises.disk.recoveryWrap = new Uint8Array()
  store.facts.put('last-export', { atMs: START_MS, generation: store.connection.read().generation })
  const recovery = { recipients: () => ['age1one'] }
  const parts = { ...rig, recovery, readKey: readFakeKey, membership: () => undefined }
  const facts = () => readStoreFacts(parts)
  const probe: Probe = {
    clock,
    standing: () => status.standing(),
    whyNotCalling: () => undefined,
    examine: wayOf(clock),
    addresses: () => ({ url: 'https://github.com', apiUrl: 'https://api.github.com' }),
    profiles: () => [PROFILE],
    userAgent: 'test',
    app: () => probeApp(parts),
    cluster: async () => 'this is a single node',
    configuration: () => ({ file: '/etc/ghconnectd/config.toml', doubts: [] }),
    examineStore() {
      checkStore(parts)
      return 'Whole.'
    },
    findStore: facts,
    ...more,
  }
  const doctor = createDoctor(probe)
  /** Time passes until the report is there. */
  const check = async (tell?: (row: CheckRow) => void): Promise<CheckReport> => {
    const report = doctor.check(tell)
    for (let ms = 0; ms < 10_000; ms += 500) await clock.advance(500)
    return report
  }
  return { ...rig, doctor, check, facts }
}

const told = ({ rows }: CheckReport): string[] =>
  rows
    .filter(({ verdict }) => verdict === 'failed' || verdict === 'warning')
    .map(({ layer, verdict }) => `${layer} ${verdict}`)

test('where all is well no row says otherwise, and GitHub is asked three times, with the token that is at hand', async t => {
  const { check, world } = await examine()
  const report = await check()
  t.deepEqual(told(report), [])
  t.is(report.verdict, 'ok')
  t.deepEqual(world.calls.toSorted(), ['getApp', 'listInstallations', 'peekRepositories'])
})

test('whatever hangs, the report is there before five seconds are over', async t => {
  const hanging: readonly (readonly [Partial<Probe>, string])[] = [
    [{ examine: () => never }, 'host failed'],
    [{ cluster: () => never }, 'cluster failed'],
  ]
  for (const [deps, expected] of hanging) {
    const { check } = await examine(deps)
    const report = await check()
    t.true(report.took_ms <= 4_500, `${report.took_ms}`)
    t.true(told(report).includes(expected), JSON.stringify(told(report)))
  }
  const { check, world } = await examine()
  for (const call of ['getApp', 'listInstallations'] as const) world.withhold(call)
  const report = await check()
  t.true(report.took_ms <= 4_500)
  t.deepEqual(told(report), ['host failed'])
})

test('who asks while a check is under way is told all of its rows, and GitHub is asked once', async t => {
  const { doctor, check, world } = await examine()
  const early: string[] = []
  const late: string[] = []
  const first = check(row => early.push(row.layer))
  const second = doctor.check(row => late.push(row.layer))
  t.is(await first, await second)
  t.deepEqual(late, early)
  t.is(world.count('getApp'), 1)
})

test('where nothing may go out nothing does', async t => {
  const examined: string[] = []
  const { check, world } = await examine({
    whyNotCalling: () => 'the credentials are quarantined',
    examine: async ({ url }) => {
      examined.push(url)
      return never
    },
  })
  const report = await check()
  t.deepEqual(examined, [])
  t.deepEqual(world.calls, [])
  t.deepEqual(told(report), [])
  t.is(report.rows.find(({ layer }) => layer === 'dns')?.evidence, 'Not asked: the credentials are quarantined.')
})

test('a name without an address is asked nothing, and neither is GitHub', async t => {
  const { check, world } = await examine({
    examine: async ({ url }) => {
      const failure = new Failure('dns', 'no address')
      const { hostname } = new URL(url)
      return {
        host: hostname,
        name: hostname,
        isTls: true,
        proxy: undefined,
        tookMs: 1,
        failure: { stage: 'dns', failure },
      }
    },
  })
  t.deepEqual(told(await check()), ['dns failed', 'dns warning', 'dns warning'])
  t.deepEqual(world.calls, [])
})

test('a refusal of the clock is learned from, and the question put once more', async t => {
  const { check, world } = await examine()
  world.refuse('getApp', 'clock-skew')
  world.refuse('listInstallations', 'clock-skew')
  t.deepEqual(told(await check()), [])
  t.is(world.count('getApp'), 2)
  world.refuse('getApp', 'clock-skew', { times: 2 })
  t.deepEqual(told(await check()), ['clock failed'])
})

test('a token that GitHub takes no more is replaced once', async t => {
  const { check, world } = await examine()
  await check()
  world.refuse('peekRepositories', 'bad-credentials')
  t.deepEqual(told(await check()), [])
  world.refuse('peekRepositories', 'bad-credentials', { times: 2 })
  t.deepEqual(told(await check()), ['installation failed'])
})

test('what profiles name is looked for among the repositories; what is hidden behind the first hundred by name', async t => {
  const { check, world } = await examine()
  const [held] = [...world.installations.values()]
  if (!held) throw new Error('no installation')
  held.repositories = [{ id: 1, name: 'WEB' }]
  t.deepEqual(told(await check()), ['repositories failed'])
  held.repositories = [...Array.from({ length: 150 }, (_, id) => ({ id, name: `r${id}` })), { id: 151, name: 'api' }]
  world.calls.length = 0
  const report = await check()
  t.regex(
    report.rows.find(({ layer }) => layer === 'repositories')?.evidence ?? '',
    /151 repositories of the installation: web\.$/,
  )
  t.is(world.count('hasRepository'), 2)
})

test('an export that is old, or of other keys, or none, is a warning', async t => {
  const { check, clock, store, facts } = await examine()
  await clock.advance(7 * DAY_MS)
  const old = await check()
  t.deepEqual(told(old), ['backup warning'])
  t.regex(
    old.rows.find(({ layer }) => layer === 'backup')?.evidence ?? '',
    /^The last export is of 2026-05-01T12:00Z \(7 days ago\)\.$/,
  )
  const { generation } = store.connection.read()
  store.facts.put('last-export', { atMs: clock.now(), generation: generation - 1 })
  t.regex((await check()).rows.find(({ layer }) => layer === 'backup')?.evidence ?? '', /with other keys/)
  store.facts.put('last-export', null)
  t.deepEqual(told(await check()), ['backup warning'])
  const follower = await examine({ findStore: () => ({ ...facts(), isFollower: true }) })
  t.deepEqual(told(await follower.check()), [], 'another node may be the one that is backed up')
})

test('a full disk is found at the store, before any write has failed', async t => {
  const { check, premises } = await examine()
  premises.disk.full = new Failure('disk-full', 'no space is left for audit.db', { next: 'Free some space.' })
  const report = await check()
  t.deepEqual(told(report), ['store failed'])
  t.like(
    report.rows.find(({ layer }) => layer === 'store'),
    { code: 'disk-full', next: 'Free some space.' },
  )
})

test('a store that is closed, a file that was refused and units that nobody knows are rows of the machine', async t => {
  const closed = await examine({
    app: () => 'the store is closed',
    findStore: () => undefined,
    examineStore: () => {
      throw new Failure('wrong-store-key', 'the key does not fit')
    },
  })
  const report = await closed.check()
  t.deepEqual(told(report), ['store failed'])
  t.is(report.rows.find(({ layer }) => layer === 'quota')?.evidence, 'Not asked: the store is closed.')
  const file = { file: 'config.toml' }
  const refused = await examine({ configuration: () => ({ ...file, refused: 'line 3', doubts: [] }) })
  t.deepEqual(told(await refused.check()), ['configuration failed'])
  const doubtful = await examine({
    configuration: () => ({ ...file, doubts: [{ said: 'The policy names x.service: unknown', next: 'Correct it.' }] }),
  })
  t.deepEqual(told(await doubtful.check()), ['configuration warning'])
})

test('what nobody foresaw ends the report, and leaves nothing that fails later with nobody to hear of it', async t => {
  const unheard: unknown[] = []
  const hear = (reason: unknown): void => void unheard.push(reason)
  process.on('unhandledRejection', hear)
  t.teardown(() => process.off('unhandledRejection', hear))
  const broken = (what: string) => (): never => {
    throw new Error(what)
  }
  const { doctor } = await examine({ configuration: broken('the configuration'), examine: broken('the way out') })
  await t.throwsAsync(doctor.check(), { message: 'the configuration' })
  await settle()
  t.deepEqual(unheard, [])
})
