// The way out judged: one fault, one layer, whatever it hides.

import test from 'ava'
import { type HostToAllow, hostsToAllow } from '../../src/domain/check-hosts.ts'
import { judgeWay, type Trip } from '../../src/domain/check-way.ts'
import { type Code, Failure } from '../../src/domain/errors.ts'
import type { Passage, Root, Stage } from '../../src/domain/passage.ts'
import type { CheckRow } from '../../src/domain/wire-check.ts'

const NOW = Date.UTC(2026, 10, 22, 12)
const DAY_MS = 86_400_000
const HOSTS = hostsToAllow({ url: 'https://github.com', apiUrl: 'https://api.github.com' })
const PUBLIC: Root = { name: 'USERTrust ECC', kind: 'public', validToMs: NOW + 3_000 * DAY_MS }

const good = ({ host }: HostToAllow, more: Partial<Passage> = {}): Passage => ({
  host,
  isTls: true,
  proxy: undefined,
  name: host,
  lookUp: { addresses: ['192.0.2.1'], tookMs: 3 },
  connect: { from: '10.0.0.5', tookMs: 10 },
  tls: { issuer: 'Sectigo', root: PUBLIC, tookMs: 20 },
  answer: { status: 200, requestId: 'A:B', sentAtMs: NOW, receivedAtMs: NOW, isWhole: true },
  tookMs: 40,
  ...more,
})

const ending = (to: HostToAllow, stage: Stage, code: Code, more: Partial<Passage> = {}): Passage => {
  const { answer: _, ...passage } = good(to, more)
  return { ...passage, failure: { stage, failure: new Failure(code, `${code} at ${to.host}`) } }
}

const judge = (passageOf: (to: HostToAllow) => Passage) =>
  judgeWay(
    HOSTS.map((to): Trip => ({ to, passage: passageOf(to) })),
    NOW,
  )
const amiss = (rows: readonly CheckRow[]): string[] =>
  rows
    .filter(({ verdict }) => verdict === 'failed' || verdict === 'warning')
    .map(({ layer, subject, verdict }) => `${layer} ${subject ?? ''} ${verdict}`)

test('where all is well each host has its row, and GitHub may be asked', t => {
  const { rows, closedBy } = judge(to => good(to))
  t.deepEqual(amiss(rows), [])
  t.is(closedBy, undefined)
  t.is(rows.filter(({ layer }) => layer === 'host').length, 3)
  t.regex(rows.find(({ layer }) => layer === 'tls')?.evidence ?? '', /under USERTrust ECC, a public authority/)
})

test('a fault that stops all is named once for what the daemon needs, and nothing behind it is asked', t => {
  for (const [stage, code] of [
    ['dns', 'dns'],
    ['tls', 'tls'],
    ['tls', 'timeout'],
    ['host', 'unreachable'],
  ] as const) {
    const { rows, closedBy } = judge(to => ending(to, stage, code))
    t.deepEqual(amiss(rows), [
      `${stage} api.github.com failed`,
      `${stage} github.com warning`,
      `${stage} uploads.github.com warning`,
    ])
    t.truthy(closedBy)
  }
})

const PROXY = { proxy: 'http://robot@proxy.example.com:3128', name: 'proxy.example.com' }

test('a proxy that lets nobody pass is one row; one that refuses a single host is that host', t => {
  const shut = judge(to => ending(to, 'proxy', 'proxy-refused', PROXY))
  t.deepEqual(amiss(shut.rows), [`proxy ${PROXY.proxy} failed`])
  t.is(shut.closedBy, 'the proxy fails')
  const picky = judge(to => (to.host === 'github.com' ? ending(to, 'proxy', 'proxy-refused', PROXY) : good(to, PROXY)))
  t.deepEqual(amiss(picky.rows), ['host github.com warning'])
  t.is(picky.closedBy, undefined)
  const apiOnly = judge(to =>
    to.neededBy === 'daemon' ? ending(to, 'proxy', 'proxy-refused', PROXY) : good(to, PROXY),
  )
  t.deepEqual(amiss(apiOnly.rows), ['host api.github.com failed'])
  t.is(apiOnly.closedBy, 'the host fails for api.github.com')
  const nameless = judge(to => ending(to, 'dns', 'dns', PROXY))
  t.deepEqual(amiss(nameless.rows), ['dns proxy.example.com failed'])
  const proxy = nameless.rows.find(({ layer }) => layer === 'proxy')
  t.is(proxy?.evidence, 'Not asked: DNS fails.')
})

test('an answer counts only when it is of GitHub itself, whole, and no outage', t => {
  const answer = { status: 200, sentAtMs: NOW, receivedAtMs: NOW, isWhole: true, contentType: 'text/html' }
  const cases = [
    [{ ...answer }, 'portal'],
    [{ ...answer, requestId: 'A:B', status: 503 }, 'github-outage'],
    [{ ...answer, requestId: 'A:B', isWhole: false }, 'github-unexpected'],
  ] as const
  for (const [given, code] of cases) {
    const { rows } = judge(to => (to.neededBy === 'daemon' ? good(to, { answer: given }) : good(to)))
    t.deepEqual(amiss(rows), ['host api.github.com failed'])
    t.is(rows.find(({ verdict }) => verdict === 'failed')?.code, code)
  }
  const elsewhere = judge(to => (to.neededBy === 'daemon' ? good(to) : good(to, { answer })))
  t.deepEqual(amiss(elsewhere.rows), [], 'a public authority vouches for the pages')
  const tls = { issuer: 'Proxy CA', root: { ...PUBLIC, kind: 'configured' as const }, tookMs: 1 }
  const inspected = judge(to => (to.neededBy === 'daemon' ? good(to) : good(to, { answer, tls })))
  t.deepEqual(amiss(inspected.rows), ['host github.com warning', 'host uploads.github.com warning'])
  const { rows } = judge(to => good(to, { answer: { ...answer, requestId: 'A:B', status: 403 } }))
  t.deepEqual(amiss(rows), [], 'a refusal is an answer, too')
})

test('who inspects TLS is named: chosen in ca_file it is well, found on the system it is a warning, and one near its end too', t => {
  const signedBy = (root: Partial<Root>) =>
    judge(to => good(to, { tls: { issuer: 'Proxy CA', root: { ...PUBLIC, name: 'Firm Root', ...root }, tookMs: 1 } }))
  const chosen = signedBy({ kind: 'configured' })
  t.deepEqual(amiss(chosen.rows), [])
  t.is(
    chosen.rows.find(({ layer }) => layer === 'tls')?.evidence,
    'TLS is inspected on the way: issued by Proxy CA under Firm Root, which [proxy] ca_file names.',
  )
  t.is(amiss(signedBy({ kind: 'system' }).rows).length, 3)
  t.regex(signedBy({ kind: 'system' }).rows.find(({ layer }) => layer === 'tls')?.next ?? '', /who reads along/)
  const late = signedBy({ kind: 'configured', validToMs: NOW + 1.5 * DAY_MS }).rows.find(({ layer }) => layer === 'tls')
  t.regex(late?.evidence ?? '', /It ends in 1 day\.$/)
})

test('a certificate that is out of date makes one look at the clock', t => {
  const { rows } = judge(to => {
    const passage = ending(to, 'tls', 'tls')
    return { ...passage, failure: { stage: 'tls', failure: new Failure('tls', 'certificate has expired') } }
  })
  t.regex(
    rows.find(({ verdict }) => verdict === 'failed')?.next ?? '',
    /^Is the clock right\? It says 2026-11-22T12:00/,
  )
})
