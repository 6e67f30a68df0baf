// The doctor's rules: each problem has its layer, the worst row decides, hosts follow from two addresses, a clock is judged by a Date.

import test from 'ava'
import * as fc from 'fast-check'
import { failed, fails, type Layer, layerOf, ok, skipAll, verdictOf, warning } from '../../src/doctor/findings.ts'
import { exitOf, orderRows } from '../../src/protocol/wire-check.ts'
import { clockRow, clusterRow, isPublicHost } from '../../src/doctor/judge.ts'
import { hostsToAllow } from '../../src/doctor/probe.ts'
import { CATALOGUE, type Code, Failure, isCode } from '../../src/protocol/errors.ts'
import { CheckRow, LAYERS } from '../../src/protocol/wire-check.ts'
import type { ClusterStatus } from '../../src/protocol/wire.ts'

const codes = Object.keys(CATALOGUE).filter(isCode)

test('each problem is laid at a layer that there is', t => {
  for (const code of codes) t.true(LAYERS.includes(layerOf(code)), code)
  t.is(layerOf('proxy-authentication'), 'proxy')
  t.is(layerOf('clock-skew'), 'clock')
  t.is(layerOf('github-outage'), 'host')
  t.is(layerOf('cluster-unreachable'), 'cluster')
})

test('a fault is mended at its layer', t => {
  const layers: Partial<Record<Layer, readonly Code[]>> = {
    configuration: ['configuration'],
    store: [
      'locked',
      'wrong-store-key',
      'store-corrupt',
      'store-newer',
      'state-in-use',
      'disk-full',
      'io',
      'audit-unavailable',
    ],
    proxy: ['proxy-unreachable', 'proxy-auth-scheme', 'proxy-refused'],
    dns: ['dns'],
    tls: ['tls'],
    egress: ['ip-blocked'],
    key: ['key-rejected', 'invalid-key'],
    app: ['app-not-found'],
    installation: ['installation-not-found', 'suspended', 'bad-credentials', 'account-policy'],
    permissions: ['forbidden', 'permission-not-granted', 'scope-mismatch'],
    repositories: ['repository-not-accessible'],
    quota: ['quota'],
    host: ['timeout', 'unreachable', 'portal', 'github-unexpected', 'internal'],
    cluster: [
      'cluster-refused',
      'cluster-conflict',
      'cluster-secret',
      'cluster-behind',
      'cluster-member',
      'isolated',
      'replica',
    ],
  }
  for (const [layer, all] of Object.entries(layers))
    for (const code of all) t.is<string, string>(layerOf(code), layer, code)
})

test('a row tells how long it took in whole milliseconds, its advice and its problem, in sentences', t => {
  t.deepEqual(ok({ layer: 'dns', subject: 'x', tookMs: 4.6 }, 'Seen.'), {
    layer: 'dns',
    subject: 'x',
    took_ms: 5,
    verdict: 'ok',
    evidence: 'Seen.',
  })
  t.deepEqual(warning({ layer: 'clock', tookMs: -3 }, 'Late.', 'Set it.'), {
    layer: 'clock',
    took_ms: 0,
    verdict: 'warning',
    evidence: 'Late.',
    next: 'Set it.',
  })
  const quota = new Failure('quota', 'no request is left')
  t.deepEqual(failed({ layer: 'quota', tookMs: 7 }, quota), {
    layer: 'quota',
    took_ms: 7,
    verdict: 'failed',
    evidence: 'No request is left.',
    next: quota.next,
    code: 'quota',
  })
  t.is(failed({ layer: 'quota' }, quota, 'Wait.').next, 'Wait.')
  for (const [told, evidence] of [
    ['api.github.com is not there', 'api.github.com is not there.'],
    ['Is it there?', 'Is it there?'],
    ['it is gone!', 'It is gone!'],
  ] as const)
    t.is(failed({ layer: 'host' }, new Failure('portal', told)).evidence, evidence)
})

test('why something was not asked names what fails, as a person would', t => {
  t.deepEqual(skipAll(['key', 'app'], fails('dns'), 'octo-org'), [
    { layer: 'key', subject: 'octo-org', took_ms: 0, verdict: 'skipped', evidence: 'Not asked: DNS fails.' },
    { layer: 'app', subject: 'octo-org', took_ms: 0, verdict: 'skipped', evidence: 'Not asked: DNS fails.' },
  ])
  t.is(fails('host', 'github.com'), 'the host fails for github.com')
  t.is(fails('egress'), 'the IP allow list fails')
  t.is(fails('permissions'), 'permissions fails')
})

test('what fails without a known problem ends as an internal error', t => {
  const { code: _, ...row } = failed({ layer: 'host' }, new Failure('portal', 'seen'))
  t.is(exitOf([row]), 70)
  t.is(exitOf([{ ...row, code: 'of another year' }]), 70)
  t.is(
    exitOf([failed({ layer: 'quota' }, new Failure('quota', 'x')), failed({ layer: 'store' }, new Failure('io', 'x'))]),
    74,
  )
})

const row = fc.record({
  layer: fc.constantFrom(...LAYERS),
  subject: fc.constantFrom(undefined, 'a', 'b'),
  kind: fc.constantFrom('ok', 'warning', 'failed', 'skipped'),
  code: fc.constantFrom(...codes),
})

test('in any set of rows each layer and subject stands once, in the order of the layers, and the worst decides', t => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 30 }), all => {
      const rows = all.flatMap(({ layer, subject, kind, code }): CheckRow[] => {
        const of = { layer, subject }
        if (kind === 'ok') return [ok(of, 'seen.')]
        if (kind === 'warning') return [warning(of, 'seen.', 'do')]
        return kind === 'failed' ? [failed(of, new Failure(code, 'seen'))] : skipAll([layer], 'because', subject)
      })
      const ordered = orderRows(rows)
      const names = ordered.map(({ layer, subject }) => `${layer} ${subject ?? ''}`)
      t.is(new Set(names).size, names.length)
      t.deepEqual(
        names.toSorted(),
        [...new Set(rows.map(({ layer, subject }) => `${layer} ${subject ?? ''}`))].toSorted(),
      )
      const places = ordered.map(({ layer }) => LAYERS.indexOf(layer))
      t.deepEqual(
        places,
        places.toSorted((a, b) => a - b),
      )
      for (const each of ordered) t.deepEqual(CheckRow.parse(each), each)
      const first = ordered.find(({ verdict }) => verdict === 'failed')
      t.is(verdictOf(ordered) === 'failed', first !== undefined)
      t.is(
        exitOf(ordered),
        first?.code === undefined ? 0 : CATALOGUE[isCode(first.code) ? first.code : 'internal'].exit,
      )
    }),
  )
})

test('of two rows for the same layer and subject the later one stands', t => {
  const host = { layer: 'host', subject: 'api.github.com' } as const
  const rows = orderRows([ok(host, 'It answers.'), failed(host, new Failure('github-outage', 'it does not'))])
  t.deepEqual(
    rows.map(({ verdict, evidence }) => [verdict, evidence]),
    [['failed', 'It does not.']],
  )
  t.is(exitOf(rows), 75)
})

test('a warning alone is no failure, and what was not asked is well', t => {
  t.is(exitOf([warning({ layer: 'clock' }, 'late.', 'set it')]), 0)
  t.is(verdictOf([warning({ layer: 'clock' }, 'late.', 'set it')]), 'warning')
  t.is(verdictOf(skipAll(LAYERS, fails('dns'))), 'ok')
})

test('the hosts to allow follow from the addresses of the configuration', t => {
  const hostsOf = (url: string, apiUrl: string): string[] => hostsToAllow({ url, apiUrl }).map(({ host }) => host)
  t.deepEqual(hostsOf('https://github.com', 'https://api.github.com'), [
    'api.github.com',
    'github.com',
    'uploads.github.com',
  ])
  t.deepEqual(hostsOf('https://octo.ghe.com', 'https://api.octo.ghe.com'), [
    'api.octo.ghe.com',
    'octo.ghe.com',
    'uploads.octo.ghe.com',
  ])
  t.deepEqual(hostsOf('https://ghe.example.com', 'https://ghe.example.com/api/v3'), ['ghe.example.com'])
  t.deepEqual(hostsOf('http://127.0.0.1:8080', 'http://127.0.0.1:8080/api/v3'), ['127.0.0.1:8080'])
  const [api, pages] = hostsToAllow({ url: 'https://github.com', apiUrl: 'https://api.github.com' })
  t.like(api, { url: 'https://api.github.com/rate_limit', method: 'GET', neededBy: 'daemon' })
  t.like(pages, { url: 'https://github.com/', method: 'HEAD', neededBy: 'others' })
})

test('a public host is one below github.com or ghe.com, and none that only looks so', t => {
  for (const host of ['github.com', 'api.github.com', 'api.octo.ghe.com', 'github.com:8443'])
    t.true(isPublicHost(host), host)
  for (const host of ['github.com.example.com', 'notgithub.com', 'github.test', '127.0.0.1:80'])
    t.false(isPublicHost(host), host)
})

const NOW = Date.UTC(2026, 10, 22, 12)
const answer = (offsetMs: number, requestId: string | undefined = 'A:B') => ({
  status: 200,
  date: new Date(NOW + offsetMs).toUTCString(),
  sentAtMs: NOW - 100,
  receivedAtMs: NOW + 100,
  isWhole: true,
  ...(requestId !== undefined && { requestId }),
})

test('a clock is judged in both directions, by an answer of GitHub alone', t => {
  t.like(clockRow(answer(0), ''), { verdict: 'ok', evidence: "It agrees with GitHub's." })
  t.like(clockRow(answer(10_000), ''), { verdict: 'ok' })
  const behind = clockRow(answer(300_000), '')
  t.is(behind.verdict, 'warning')
  t.regex(behind.evidence, /is 30[01] s behind GitHub's: it says 2026-11-22T12:00:00\.000Z, GitHub 2026-11-22T12:05:00/)
  t.regex(clockRow(answer(-300_000), '').evidence, /is (299|300) s ahead of GitHub's/)
  const { requestId: _, ...foreign } = answer(300_000)
  t.like(clockRow(foreign, 'the host fails'), { verdict: 'skipped', evidence: 'Not asked: the host fails.' })
  t.like(clockRow({ ...answer(0), date: 'yesterday' }, 'no time'), { verdict: 'skipped' })
  t.like(clockRow(undefined, 'DNS fails'), { verdict: 'skipped', evidence: 'Not asked: DNS fails.' })
})

test('a clock that is off by less than half a minute is told and well, and more has its advice', t => {
  const at = (offsetMs: number) => clockRow({ ...answer(0), date: new Date(NOW + offsetMs).toUTCString() }, '')
  t.like(at(1_000), { verdict: 'ok', evidence: "This machine's clock is 2 s behind GitHub's." })
  t.like(at(-2_000), { verdict: 'ok', evidence: "It agrees with GitHub's." })
  t.like(at(28_000), { verdict: 'ok', evidence: "This machine's clock is 29 s behind GitHub's." })
  t.like(at(29_000), { verdict: 'warning', next: CATALOGUE['clock-skew'].next })
  t.like(at(-31_000), { verdict: 'warning' })
  t.is(at(0).layer, 'clock')
  const slow = { ...answer(0), sentAtMs: NOW - 9_500, receivedAtMs: NOW + 10_500 }
  t.is(clockRow(slow, '').evidence, "It agrees with GitHub's.", 'the middle of the call counts')
})

test('which host is for what is told, uploads with their port', t => {
  t.deepEqual(
    hostsToAllow({ url: 'https://github.com', apiUrl: 'https://api.github.com/' }).map(({ url, what, neededBy }) => [
      url,
      what,
      neededBy,
    ]),
    [
      ['https://api.github.com/rate_limit', "GitHub's API", 'daemon'],
      ['https://github.com/', "GitHub's pages and git", 'others'],
      ['https://uploads.github.com/', 'uploads of release assets', 'others'],
    ],
  )
  const [, , uploads] = hostsToAllow({ url: 'https://ghe.test:8443', apiUrl: 'https://api.ghe.test:8443' })
  t.like(uploads, { host: 'uploads.ghe.test:8443', url: 'https://uploads.ghe.test:8443/', method: 'HEAD' })
})

const clusterOf = (value: ClusterStatus | string): CheckRow => clusterRow({ value, tookMs: 5 })

const node = {
  cluster: 'ghe',
  node: 'one',
  joined: true,
  role: 'follower',
  in_touch: true,
  generation: 3,
  sequence: 7,
  cluster_sequence: 7,
  unsent: false,
  leader: 'two',
  tokens: 4,
  members: [],
} as const

test('a node in its cluster: well, without a leader, cut off, not joined, single', t => {
  t.like(clusterOf({ ...node, members: [] }), {
    verdict: 'ok',
    evidence: 'This node (one) is a follower, one of 0, and holds record 7 of 7; two leads.',
  })
  const { leader: _, ...headless } = node
  t.is(clusterOf({ ...headless, members: [] }).verdict, 'warning')
  t.like(clusterOf({ ...node, members: [], in_touch: false, trouble: 'no endpoint answers' }), {
    verdict: 'failed',
    code: 'cluster-unreachable',
    evidence: 'This node (one) has not heard of it yet: no endpoint answers.',
  })
  t.like(clusterOf({ ...node, members: [], trouble: 'it is sealed otherwise. Give it the secret.' }), {
    verdict: 'failed',
    code: 'cluster-behind',
    evidence: 'This node (one) lags behind it: it is sealed otherwise. Give it the secret.',
  })
  t.is(clusterOf({ ...node, members: [], joined: false }).verdict, 'skipped')
  t.is(clusterOf('this is a single node').evidence, 'Not asked: this is a single node.')
  const failure = new Failure('timeout', 'the cluster did not answer')
  t.like(clusterRow({ failure, tookMs: 5 }), { verdict: 'failed', code: 'timeout', took_ms: 5 })
})
