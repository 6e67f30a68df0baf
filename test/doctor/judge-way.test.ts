// The way out judged: one fault, one layer, whatever it hides.

import test from 'ava'
import { judgeWay } from '../../src/doctor/judge.ts'
import { type HostToAllow, hostsToAllow, type Trip } from '../../src/doctor/probe.ts'
import { type Code, Failure } from '../../src/protocol/errors.ts'
import type { Passage, Root, Stage } from '../../src/protocol/passage.ts'
import type { CheckRow } from '../../src/protocol/wire-check.ts'

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

const rowsOf = (rows: readonly CheckRow[], layer: CheckRow['layer']) => rows.filter(row => row.layer === layer)
const told = (rows: readonly CheckRow[], layer: CheckRow['layer']) =>
  rowsOf(rows, layer).map(({ evidence }) => evidence)

test('a way without a fault is told: the addresses, that no proxy is in it, who vouches, what each host answers', t => {
  const { rows } = judge(to =>
    good(to, to.neededBy === 'daemon' ? { lookUp: { addresses: ['a', 'b', 'c', 'd', 'e'], tookMs: 3 } } : {}),
  )
  t.deepEqual(told(rows, 'dns'), [
    'api.github.com is a, b, c and 2 more.',
    'github.com is 192.0.2.1.',
    'uploads.github.com is 192.0.2.1.',
  ])
  t.deepEqual(told(rows, 'proxy'), ['Not asked: no proxy is configured for these hosts; calls go out directly.'])
  t.is(told(rows, 'tls')[0], 'Issued by Sectigo under USERTrust ECC, a public authority.')
  t.deepEqual(told(rows, 'host'), [
    "It answers with 200: GitHub's API.",
    "It answers with 200: GitHub's pages and git.",
    'It answers with 200: uploads of release assets.',
  ])
  t.deepEqual(
    (['dns', 'tls', 'host'] as const).map(layer => rowsOf(rows, layer)[0]?.took_ms),
    [3, 20, 40],
  )
  const unnamed = judge(({ host }) => ({ host, isTls: false, proxy: undefined, tookMs: 1 }))
  t.deepEqual(told(unnamed.rows, 'dns'), ['Not asked: the hosts are addresses.'])
  t.is(told(unnamed.rows, 'tls')[0], 'Not asked: it is called by http, which is allowed on loopback only.')
  const noTls = judge(to => {
    const { tls: _, ...passage } = good(to)
    return passage
  })
  t.is(told(noTls.rows, 'tls')[0], 'Not asked: no connection came about.')
})

test('a proxy that works is told: to how many hosts, as whom, and how many go past it; names are its own affair', t => {
  const some = judge(to => (to.neededBy === 'daemon' ? good(to) : good(to, PROXY)))
  t.deepEqual(told(some.rows, 'proxy'), ['It opened the way to 2 of 2 hosts, as robot; 1 more is excluded from it.'])
  t.like(rowsOf(some.rows, 'proxy')[0], { subject: PROXY.proxy, took_ms: 10 })
  t.true(told(some.rows, 'dns').includes('The proxy: proxy.example.com is 192.0.2.1.'))
  const plain = { proxy: 'http://192.0.2.9:3128' }
  const one = judge(to => {
    const { name: _, ...passage } = good(to, to.host === 'github.com' ? plain : {})
    return passage
  })
  t.deepEqual(told(one.rows, 'proxy'), ['It opened the way to 1 of 1 hosts; 2 more are excluded from it.'])
  t.deepEqual(told(one.rows, 'dns'), ['Not asked: the proxy is an address, and looks the hosts up.'])
})

test('what is to be done about a name depends on whose it is, and what stops only others is a warning that says so', t => {
  const own = judge(to => ending(to, 'dns', 'dns'))
  t.regex(rowsOf(own.rows, 'dns')[0]?.next ?? '', /^Check the DNS of this machine .* or configure \[proxy\]/)
  t.is(
    told(own.rows, 'dns')[1],
    "Dns at github.com. The daemon does not need it; browsers and jobs do (GitHub's pages and git).",
  )
  t.is(own.closedBy, 'DNS fails')
  const proxys = judge(to => ending(to, 'dns', 'dns', PROXY))
  t.regex(rowsOf(proxys.rows, 'dns')[0]?.next ?? '', /^Check \[proxy\] url, and the DNS of this machine/)
  t.deepEqual(
    told(proxys.rows, 'host'),
    Array.from({ length: 3 }, () => 'Not asked: DNS fails.'),
  )
  const shut = judge(to => ending(to, 'proxy', 'proxy-refused', PROXY))
  for (const layer of ['tls', 'host'] as const)
    t.deepEqual(
      told(shut.rows, layer),
      Array.from({ length: 3 }, () => 'Not asked: the proxy fails.'),
    )
  t.is(judge(to => ending(to, 'tls', 'tls')).closedBy, 'TLS fails for api.github.com')
})

test('what is no answer of GitHub names status, kind and request id', t => {
  const answer = { status: 503, sentAtMs: NOW, receivedAtMs: NOW, isWhole: true, contentType: 'text/html; charset=x' }
  const evidence = (given: object) =>
    told(
      judge(to => (to.neededBy === 'daemon' ? good(to, { answer: { ...answer, ...given } }) : good(to))).rows,
      'host',
    )[0]
  t.is(evidence({}), "api.github.com answered with 503 (text/html) and without GitHub's request id.")
  t.is(evidence({ requestId: 'A:B' }), 'api.github.com answered with 503 (text/html) (request A:B).')
  t.is(
    evidence({ requestId: 'A:B', status: 200, isWhole: false }),
    'api.github.com answered with JSON that is cut or changed on the way.',
  )
  const pages = judge(to => (to.neededBy === 'daemon' ? good(to) : good(to, { answer })))
  t.regex(told(pages.rows, 'host')[1] ?? '', /answered with 503 \(text\/html\) \(request without an id\)/)
})

test('a private authority is well on a host of the firm, and renewed two weeks before its end where it was found', t => {
  const own = hostsToAllow({ url: 'https://ghe.example.com', apiUrl: 'https://ghe.example.com/api/v3' })
  const row = (root: Partial<Root>, hosts = own) =>
    rowsOf(
      judgeWay(
        hosts.map(to => ({
          to,
          passage: good(to, {
            tls: { issuer: 'Firm Root', root: { ...PUBLIC, name: 'Firm Root', ...root }, tookMs: 1 },
          }),
        })),
        NOW,
      ).rows,
      'tls',
    )[0]
  const evidence = "A private authority: issued by Firm Root, which this system's certificates hold."
  t.like(row({ kind: 'system' }), { verdict: 'ok', evidence })
  t.like(row({ kind: 'system', validToMs: NOW + 14 * DAY_MS }), { verdict: 'ok' })
  t.like(row({ kind: 'system', validToMs: NOW + 14 * DAY_MS - 1 }), {
    verdict: 'warning',
    evidence: `${evidence} It ends in 13 days.`,
    next: "Renew it, and put it into this system's certificates.",
  })
  t.like(row({ kind: 'configured', validToMs: NOW - 1 }, HOSTS), {
    verdict: 'warning',
    evidence: 'TLS is inspected on the way: issued by Firm Root, which [proxy] ca_file names. It ends in 0 days.',
    next: 'Renew it, and put it into [proxy] ca_file.',
  })
  t.like(row({ kind: 'public', validToMs: NOW + 1 }), { verdict: 'ok' })
})
