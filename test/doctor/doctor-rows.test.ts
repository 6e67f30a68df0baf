// The doctor's rows from end to end: what each layer says of a connection that is not as it should be, and what is not asked then.

import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import type { Passage } from '../../src/protocol/passage.ts'
import { Secret } from '../../src/protocol/secret.ts'
import type { CheckReport, CheckRow } from '../../src/protocol/wire-check.ts'
import { checkStore, probeApp, readStoreFacts } from '../../src/core/probe.ts'
import { createDoctor } from '../../src/doctor/doctor.ts'
import type { Probe } from '../../src/doctor/probe.ts'
import { within } from '../../src/service/limits.ts'
import type { Examination } from '../../src/core/outbound/probe.ts'
import { createFakeClock, failureOf, START_MS } from '../support/fakes.ts'
import { connectedRig, readFakeKey } from '../support/operations-rig.ts'
import { QUIET_SEAT } from '../support/quiet-membership.ts'

const MINUTE = 60_000

const passageOf = ({ url }: Examination, nowMs: number): Passage => ({
  host: new URL(url).host,
  isTls: true,
  proxy: undefined,
  tookMs: 1,
  answer: {
    status: 200,
    requestId: 'A:B',
    date: new Date(nowMs).toUTCString(),
    sentAtMs: nowMs,
    receivedAtMs: nowMs,
    isWhole: true,
  },
  connect: { from: '10.0.0.5', tookMs: 1 },
  tls: { issuer: 'CA', tookMs: 1 },
})

const examining = async (more: Partial<Probe> = {}) => {
  const all = await connectedRig()
  const { rig, clock, status } = all
  const recovery = { recipients: () => ['age1one'] }
  const parts = { ...rig, recovery, readKey: readFakeKey, membership: () => undefined }
  const { check } = createDoctor({
    clock,
    standing: () => status.standing(),
    whyNotCalling: () => undefined,
    examine: async examination => {
      examination.onLookUp?.()
      return passageOf(examination, clock.now())
    },
    addresses: () => ({ url: 'https://github.com', apiUrl: 'https://api.github.com' }),
    profiles: () => [],
    userAgent: 'ghconnectd/1',
    app: () => probeApp(parts),
    cluster: async () => 'this is a single node',
    configuration: () => ({ file: 'c.toml', doubts: [] }),
    examineStore: () => 'Whole.',
    findStore: () => undefined,
    ...more,
  })
  const run = async (): Promise<CheckReport> => {
    const report = check()
    for (let ms = 0; ms < 10_000; ms += 500) await clock.advance(500)
    return report
  }
  return { ...all, parts, check, run }
}

const of = ({ rows }: CheckReport, layer: CheckRow['layer']): CheckRow | undefined =>
  rows.find(row => row.layer === layer)
const why = (report: CheckReport): string[] =>
  report.rows
    .filter(({ verdict }) => verdict === 'skipped')
    .map(({ layer, subject = '', evidence }) => `${layer} ${subject}: ${evidence}`)
const told = ({ rows }: CheckReport): string[] =>
  rows
    .filter(({ verdict }) => verdict === 'failed' || verdict === 'warning')
    .map(({ layer, verdict, code = '' }) => `${layer} ${verdict} ${code}`)

test('a report tells when it began, how long it took, and the state; each host is asked in its own way', async t => {
  const asked: unknown[] = []
  const { run } = await examining({
    examine: async ({ url, method, deadlineMs, userAgent, onLookUp }) => {
      asked.push([url, method, deadlineMs, userAgent])
      onLookUp?.()
      return passageOf({ url, method, deadlineMs, userAgent }, START_MS)
    },
    cluster: async () => 'one has not joined it',
  })
  const report = await run()
  t.like(report, { verdict: 'ok', state: 'connected', checked_at: new Date(START_MS).toISOString(), took_ms: 0 })
  t.deepEqual(asked, [
    ['https://api.github.com/rate_limit', 'GET', 4_000, 'ghconnectd/1'],
    ['https://github.com/', 'HEAD', 4_000, 'ghconnectd/1'],
    ['https://uploads.github.com/', 'HEAD', 4_000, 'ghconnectd/1'],
  ])
  t.like(of(report, 'cluster'), { evidence: 'Not asked: one has not joined it.' })
  const single = await examining()
  t.is(of(await single.run(), 'cluster')?.evidence, 'Not asked: this is a single node.')
})

test('GitHub is asked once the name of its API is known, not for the sake of another host', async t => {
  const { run, world } = await examining({
    examine: async examination => {
      if (!examination.url.includes('api.')) examination.onLookUp?.()
      return passageOf(examination, START_MS)
    },
  })
  const report = await run()
  t.deepEqual(world.calls, [])
  t.true(why(report).includes('key : Not asked: the host fails.'))
})

test('a state without tokens is a failure of its own where no row shows another; during a disable nothing is wrong', async t => {
  const standing = (state: string) => () => ({ state, meaning: 'It is so.', next: 'Do this.' })
  const lost = await (await examining({ standing: standing('key-lost') })).run()
  t.deepEqual(told(lost), ['app failed key-lost'])
  t.like(
    lost.rows.find(({ code }) => code === 'key-lost'),
    { evidence: 'It is so.', next: 'Do this.' },
  )
  t.is(lost.verdict, 'failed')
  for (const state of ['disconnected', 'disconnecting', 'connected', 'awaiting-app', 'daemon-absent'])
    t.deepEqual(told(await (await examining({ standing: standing(state) })).run()), [], state)
  const other = await examining({
    standing: standing('blocked'),
    examineStore: () => {
      throw new Failure('store-corrupt', 'page 3')
    },
  })
  t.deepEqual(told(await other.run()), ['store failed store-corrupt'])
})

test('while GitHub wants to be left alone the doctor asks nothing either, and says until when', async t => {
  const { run, world, drift, clock } = await examining()
  world.refuse('listInstallations', 'quota', { retryAfterSeconds: 600 })
  await drift.check()
  world.calls.length = 0
  const until = new Date(clock.now() + 10 * MINUTE).toISOString()
  const report = await run()
  t.deepEqual(world.calls, [])
  t.deepEqual(told(report), ['quota failed quota'])
  t.like(of(report, 'quota'), {
    evidence: `GitHub wants no calls of the App until ${until}, as its rate limit said.`,
    next: 'It goes on by itself then; `ghconnect refresh` asks now.',
  })
  t.deepEqual(
    why(report)
      .filter(line => line.includes('rate limit'))
      .map(line => line.split(' ')[0]),
    ['egress', 'key', 'app', 'installation', 'permissions', 'repositories'],
  )
})

test('an installation that rests is not asked for a token', async t => {
  const { run, world, tokens, installation } = await examining()
  world.refuse('mint', 'quota', { retryAfterSeconds: 600 })
  await failureOf(tokens.obtain({ profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }))
  world.calls.length = 0
  t.deepEqual(told(await run()), ['quota failed quota'])
  t.false(world.calls.includes('mint') || world.calls.includes('peekRepositories'))
})

test('where the App is installed nowhere, or suspended, what needs a token is not asked, and the reason is said', async t => {
  const { run, world, installation, connectionState } = await examining()
  world.suspend(installation.id, true)
  const suspended = await run()
  t.deepEqual(told(suspended), ['installation failed suspended'])
  t.deepEqual(
    why(suspended).filter(line => line.includes('suspended')),
    ['egress', 'permissions', 'repositories', 'quota'].map(
      layer => `${layer} Octo-Org: Not asked: the installation is suspended.`,
    ),
  )
  world.uninstall(installation.id)
  const nowhere = await run()
  t.regex(of(nowhere, 'installation')?.evidence ?? '', /^GitHub lists no installation of the App/)
  t.deepEqual(
    why(nowhere).filter(line => line.includes('installed')),
    ['egress', 'permissions', 'repositories', 'quota'].map(layer => `${layer} : Not asked: the App is not installed.`),
  )
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({ ...connection, kind: 'awaiting-installation' })
  t.regex(of(await run(), 'installation')?.evidence ?? '', /^The App is not installed yet/)
})

test('each key is asked on its own, and where none works nothing is asked as the App', async t => {
  const { run, world, app, pem, keys } = await examining()
  const added = world.addKey(app.id)

  await keys.add(new Secret(added))
  world.revokeKey(app.id, pem)
  const one = await run()
  t.deepEqual(
    one.rows.filter(({ layer }) => layer === 'key').map(({ subject, verdict }) => [subject, verdict]),
    [
      [added, 'ok'],
      [pem, 'warning'],
    ],
  )
  world.revokeKey(app.id, added)
  const none = await run()
  t.deepEqual(
    none.rows.filter(({ layer }) => layer === 'key').map(({ subject, verdict }) => [subject, verdict]),
    [
      [added, 'failed'],
      [pem, 'failed'],
    ],
  )
  t.true(why(none).includes('quota : Not asked: the key fails.'))
})

test('a clock that is off and a proxy on the way show in the rows that they concern', async t => {
  const { run } = await examining({
    examine: async examination => {
      examination.onLookUp?.()
      const passage = passageOf(examination, START_MS)
      const date = new Date(START_MS + 5 * MINUTE).toUTCString()
      const answer = passage.answer && { ...passage.answer, date }
      return { ...passage, ...(answer && { answer }), proxy: 'http://proxy:3128', name: 'proxy' }
    },
  })
  const report = await run()
  t.deepEqual(told(report), ['clock warning '])
  t.regex(of(report, 'egress')?.evidence ?? '', /in the way of http:\/\/proxy:3128;/)
  const direct = await (await examining()).run()
  t.regex(of(direct, 'egress')?.evidence ?? '', /in the way of 10\.0\.0\.5;/)
})

test('a quota that is nearly used up is a warning from where refreshing ahead stops', async t => {
  for (const [remaining, expected] of [
    [101, []],
    [100, ['quota warning ']],
    [0, ['quota failed quota']],
  ] as const) {
    const { run, world, clock } = await examining()
    world.quota = { limit: 5_000, remaining, resetAtMs: clock.now() + MINUTE }
    t.deepEqual(told(await run()), [...expected], String(remaining))
  }
})

test('of the names in profiles twenty are looked up behind the first hundred, no pattern, each once, and none at an enterprise', async t => {
  const { parts, world, installation } = await examining()
  const app = probeApp(parts)
  const held = world.installations.get(installation.id)
  if (!held) throw new Error('no installation')
  held.repositories = Array.from({ length: 150 }, (_, id) => ({ id, name: `r${id}` }))
  const allow = { users: [], groups: [], units: [] }
  const names = Array.from({ length: 25 }, (_, at) => `n${at}`)
  const profiles = [
    { name: 'a', repositories: [...names, 'R1', 'team-*'], allow },
    { name: 'b', repositories: ['n0', 'n1'], allow },
    { name: 'c', allow },
  ]
  const look = await app.look({ installation, profiles })
  t.deepEqual(look, { total: 150, missing: names.slice(0, 20), unasked: 5 })
  t.is(world.count('hasRepository'), 20)
  held.repositories = held.repositories.slice(0, 100)
  world.quota = { limit: 5_000, remaining: 4_000, resetAtMs: START_MS }
  const whole = await app.look({ installation, profiles })
  t.deepEqual(whole, { total: 100, missing: names, unasked: 0, quota: world.quota })
  held.repositories = Array.from({ length: 150 }, (_, id) => ({ id, name: `r${id}` }))
  const enterprise = { ...installation, account: { type: 'enterprise', login: 'acme' } } as const
  t.like(await app.look({ installation: enterprise, profiles }), { missing: [], unasked: 25 })
  t.is(world.count('hasRepository'), 20)
})

test('what the store tells of itself: its connection, its recovery keys, and whether another node leads', async t => {
  const { parts, store, connectionState, clock, premises } = await examining()
  const facts = () => readStoreFacts(parts)
  const { generation, connection } = connectionState.read()
  t.deepEqual(facts(), {
    generation,
    isLive: true,
    recipients: ['age1one'],
    isFollower: false,
    isWrapped: false,
    lastExport: undefined,
  })
  premises.disk.recoveryWrap = new Uint8Array()
  store.facts.put('last-export', { atMs: 1, generation })
  t.like(facts(), { isWrapped: true, lastExport: { atMs: 1, generation } })
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({ ...connection, kind: 'disconnecting', step: 'revoke', deadlineMs: clock.now() })
  t.false(facts().isLive)
  for (const [role, isFollower] of [
    ['single', false],
    ['leader', false],
    ['follower', true],
    ['replica', true],
  ] as const)
    t.is(
      readStoreFacts({ ...parts, membership: () => ({ ...QUIET_SEAT, role: () => role }) }).isFollower,
      isFollower,
      role,
    )
})

test('a store whose pages are damaged, or whose log cannot be written, does not pass', async t => {
  const damaged = new Failure('store-corrupt', 'page 3')
  const { store, audit } = await connectedRig()
  const check = (): void => {
    throw damaged
  }
  t.is(
    t.throws(() => checkStore({ store: { ...store, check }, audit })),
    damaged,
  )
  const full = new Failure('disk-full', 'no space')
  t.is(
    t.throws(() => checkStore({ store, audit: { ...audit, findTrouble: () => full } })),
    full,
  )
})

test('a question ends with its answer, its failure, or its time, and leaves no timer', async t => {
  const clock = createFakeClock()
  const ask = <T>(question: Promise<T>) =>
    within(question, { clock, untilMs: clock.monotonic() + 1_500, what: 'GitHub' })
  t.deepEqual(await ask(Promise.resolve(7)), { value: 7, tookMs: 0 })
  t.is(clock.waiting(), 0)
  const failure = new Failure('dns', 'no address')
  t.deepEqual(await ask(Promise.reject(failure)), { failure, tookMs: 0 })
  t.is((await ask(Promise.reject(new Error('x')))).failure?.code, 'internal')
  const late = ask(new Promise<never>(() => {}))
  await clock.advance(1_500)
  const asked = await late
  t.is(asked.failure?.code, 'timeout')
  t.is(asked.failure?.message, 'GitHub did not answer in 1.5 s')
  t.is(asked.tookMs, 1_500)
})
