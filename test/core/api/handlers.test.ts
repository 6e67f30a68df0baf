// The route table: which operation each route calls, with what, for whom, and what it makes of the answer.

import test, { type ExecutionContext } from 'ava'
import { openApiDocument } from '../../../src/core/api/openapi.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Peer, Policy } from '../../../src/protocol/profile.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { Engine } from '../../../src/core/engine.ts'
import { createApiRig, type Spoken } from '../../support/api-rig.ts'
import { createChecker } from '../../support/openapi-answers.ts'
import { peerOf } from '../../support/operations-rig.ts'

const TIME = '2026-05-01T12:00:00.000Z'
const AT = Date.parse(TIME)
const PRINT = `SHA256:${'A'.repeat(43)}=`
const RECIPIENT = `age1${'q'.repeat(58)}`
const JSON_TYPE = 'content-type: application/json'

const KEYS = [{ fingerprint: PRINT, added_at: TIME, signs: true, state: 'works' as const }]
const STATE = { state: 'connected', meaning: 'It is connected.', next: 'Nothing.' }
const CLUSTER = { cluster: 'prod', node: 'a', joined: true, role: 'leader' }
const INSTALLATION = {
  id: 7,
  account: { type: 'organization', login: 'octo-org' },
  repository_selection: 'all',
  permissions: { contents: 'read' },
  html_url: 'https://github.com/organizations/octo-org/settings/installations/7',
}
const ROW = { sequence: 6, at: TIME, event: 'state', hash: 'ff' }
const REPORT = { verdict: 'ok' as const, state: 'connected', checked_at: TIME, took_ms: 3, rows: [] }

/** What an operation was given, as it can be compared. */
const plain = (given: unknown): unknown => {
  if (given instanceof Secret) return `secret ${given.reveal()}`
  if (given instanceof Uint8Array) return `bytes ${Buffer.from(given).toString()}`
  if (Array.isArray(given)) return given.map(plain)
  if (typeof given !== 'object' || given === null) return given
  if ('attested' in given && 'socket' in given) return `${String(given.socket)}.sock of ${peerName(given.attested)}`
  if ('uid' in given) return peerName({ peer: given })
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, plain(value)]))
}
const peerName = (attested: unknown): string => `uid ${(attested as { peer: Peer }).peer.uid}`

/** Engine that note what they are called with, and give what each route has to make an answer of. */
const setUp = async (t: ExecutionContext, socket: 'admin' | 'token' = 'admin') => {
  const calls: unknown[][] = []
  const now: { status: object; closed?: Failure; noteFails: boolean; unlockFails: boolean } = {
    status: { ...STATE, since: TIME, version: '1', installations: [INSTALLATION] },
    noteFails: false,
    unlockFails: false,
  }
  const of =
    (name: string, answer?: unknown) =>
    (...given: unknown[]): unknown => {
      calls.push([name, ...given.map(plain)])
      return answer
    }
  const cluster = {
    status: of('cluster.status', CLUSTER),
    join: of('cluster.join'),
    leave: of('cluster.leave'),
    promote: of('cluster.promote'),
    reseal: of('cluster.reseal', Promise.resolve(12)),
  }
  const operations = {
    enable: {
      begin: of('enable.begin', Promise.resolve({ url: 'http://x/', expiresAtMs: AT, how: 'manifest' })),
      complete: of('enable.complete'),
    },
    importApp: of('importApp'),
    disable: { begin: of('disable.begin') },
    revokeAll: { begin: of('revokeAll.begin', { revoked: 2, remaining: 0, failed: [] }) },
    keys: {
      list: of('keys.list', KEYS),
      add: of('keys.add', Promise.resolve({ added: PRINT, alreadyHeld: true })),
      retire: of('keys.retire', Promise.resolve({ retired: [PRINT], deleteOnGitHub: 'http://github/' })),
    },
    issuer: { answer: of('issuer.answer', { token: 'ghs_x' }) },
    status: { standing: () => ({ ...STATE, since: TIME, version: '1' }), reasonsNotReady: () => [] },
    snapshots: {
      export: of('snapshots.export', Buffer.from('bundle')),
      adopt: of('adopt'),
      exportsWaiting: () => false,
    },
    recovery: {
      recipients: () => [RECIPIENT],
      signer: () => ({ publicKey: 'signer' }),
      add: of('recovery.add', Promise.resolve()),
    },
    auditLog: {
      read: of('audit.read', [ROW]),
      verify: of('audit.verify', { intact: true, first: 1, last: 6, last_hash: 'ff' }),
    },
    explain: of('explain', { caller: {}, decision: { outcome: 'granted', detail: 'x' }, profiles: [] }),
    cluster: () => Promise.resolve(cluster),
    features: { list: of('features.list', Promise.resolve([])) },
    refresh: of('refresh', Promise.resolve({ refreshed: 3, failed: [] })),
    noteRequest(peer: Peer, detail: string) {
      if (now.noteFails) throw new Failure('audit-unavailable', 'the log is closed')
      calls.push(['noted', peerName({ peer }), detail])
    },
  } as unknown as Engine
  const rig = await createApiRig(t, {
    socket,
    operations,
    closed: () => now.closed,
    backend: {
      status: caller => (of('status')(caller), now.status as never),
      readRedirect: text => (of('readRedirect')(text), { code: 'c', state: 's' }),
      readIdentities: async text => (of('readIdentities')(text), [new Secret(`of ${text}`)]),
      restore: async (bundle, wish) => {
        of('restore')(bundle, wish)
        const configuration = [{ path: '/etc/x.toml', text: 'x' }]
        return { outcome: 'restored', header: {} as never, warnings: ['beware'], configuration }
      },
      unlock: async identities => {
        of('unlock')(identities)
        now.noteFails = false
        if (now.unlockFails) throw new Failure('bundle-wrong-identity', 'it opens nothing')
      },
      issueLink: peer => (of('issueLink')(peer), { url: 'http://page/', expiresAtMs: AT }),
      reload: () => (of('reload')(), '/etc/ghconnectd.toml'),
      check: async () => (of('check')(), REPORT),
    },
  })
  const ask = (line: string, body?: unknown): Promise<Spoken> =>
    body === undefined ? rig.ask(line) : rig.ask(line, [JSON_TYPE], JSON.stringify(body))
  return { ...rig, askFor: ask, calls, now }
}

const ACCOUNT = { type: 'organization', login: 'octo-org' }
const INSTALLED = { installations: [INSTALLATION] }
const LISTED = { keys: KEYS }
const RECOVERY = { recipients: [RECIPIENT], signer: 'signer' }
const RESTORED = {
  outcome: 'restored',
  warnings: ['beware'],
  ...STATE,
  configuration: [{ path: '/etc/x.toml', text: 'x' }],
}

type Case = readonly [line: string, body: unknown, calls: readonly unknown[][], answer: unknown, status?: number]
const READS: readonly Case[] = [
  ['GET /v1/installations', undefined, [['status', 'admin.sock of uid 1000']], INSTALLED],
  ['GET /v1/keys', undefined, [['keys.list']], LISTED],
  ['GET /v1/recovery-keys', undefined, [], RECOVERY],
  ['GET /v1/audit', undefined, [['audit.read', { limit: 100 }]], { rows: [ROW] }],
  ['GET /v1/audit?follow=false', undefined, [['audit.read', { limit: 100 }]], { rows: [ROW] }],
  ['GET /v1/audit?after=5&limit=7', undefined, [['audit.read', { after: 5, limit: 7 }]], { rows: [ROW] }],
  ['GET /v1/audit?after=0&limit=1001', undefined, [['audit.read', { after: 0, limit: 1000 }]], { rows: [ROW] }],
  ['GET /v1/audit/verdict', undefined, [['audit.verify']], { intact: true, first: 1, last: 6, last_hash: 'ff' }],
  ['GET /v1/cluster', undefined, [['cluster.status']], CLUSTER],
  ['GET /v1/features', undefined, [['features.list']], { features: [] }],
  ['GET /v1/check', undefined, [['check']], REPORT],
  [
    'POST /v1/policy/explain',
    { user: 'ci', profile: 'x' },
    [['explain', { user: 'ci', profile: 'x' }, 'uid 1000']],
    { caller: {}, decision: { outcome: 'granted', detail: 'x' }, profiles: [] },
  ],
  [
    'POST /v1/tokens',
    { profile: 'x' },
    [['issuer.answer', { profile: 'x' }, 'admin.sock of uid 1000']],
    { token: 'ghs_x' },
  ],
]
const CHANGES: readonly Case[] = [
  [
    'POST /v1/connection',
    { account: ACCOUNT },
    [['enable.begin', ACCOUNT]],
    { url: 'http://x/', expires_at: TIME, how: 'manifest' },
    202,
  ],
  [
    'POST /v1/connection/completion',
    { redirected: 'http://x/?code=c' },
    [
      ['readRedirect', 'http://x/?code=c'],
      ['enable.complete', { code: 'c', state: 's', trusted: true }],
    ],
    STATE,
  ],
  [
    'POST /v1/connection/import',
    { app_id: 5, private_key: 'pem', account: 'octo-org' },
    [['importApp', { appId: 5, account: 'octo-org', pem: 'secret pem' }]],
    STATE,
  ],
  [
    'POST /v1/connection/import',
    { client_id: 'Iv1', private_key: 'pem' },
    [['importApp', { clientId: 'Iv1', pem: 'secret pem' }]],
    STATE,
  ],
  ...(
    [
      ['', { local: false, wait: true }],
      ['?local=true', { local: true, wait: true }],
      ['?local=false&wait=true', { local: false, wait: true }],
      ['?wait=false', { local: false, wait: false }],
      ['?yes=true', { local: false, wait: false }],
      ['?yes=false', { local: false, wait: true }],
    ] as const
  ).map(([query, wish]): Case => [`DELETE /v1/connection${query}`, undefined, [['disable.begin', wish]], STATE, 202]),
  ['POST /v1/revoke', { all: true }, [['revokeAll.begin']], { revoked: 2, remaining: 0, failed: [] }],
  ['POST /v1/refresh', undefined, [['refresh']], { refreshed: 3, failed: [] }],
  ['POST /v1/ui-links', undefined, [['issueLink', 'uid 1000']], { url: 'http://page/', expires_at: TIME }, 201],
  [
    'POST /v1/snapshots/restore',
    { bundle: Buffer.from('bundle').toString('base64'), identity: 'id', force: true },
    [
      ['readIdentities', 'id'],
      ['restore', 'bytes bundle', { identities: ['secret of id'], force: true }],
    ],
    RESTORED,
  ],
  [
    'POST /v1/snapshots/restore',
    { bundle: Buffer.from('bundle').toString('base64') },
    [['restore', 'bytes bundle', { identities: [], force: false }]],
    RESTORED,
  ],
  [
    'POST /v1/unlock',
    { identity: 'id' },
    [
      ['readIdentities', 'id'],
      ['unlock', ['secret of id']],
    ],
    STATE,
  ],
  ['POST /v1/adopt', undefined, [['adopt']], STATE],
  [
    'POST /v1/keys',
    { private_key: 'pem' },
    [['keys.add', 'secret pem'], ['keys.list']],
    { added: PRINT, already_held: true, keys: KEYS },
  ],
  ...(
    [
      ['', undefined],
      [`?fingerprint=${encodeURIComponent(PRINT)}`, PRINT],
    ] as const
  ).map(
    ([query, named]): Case => [
      `DELETE /v1/keys${query}`,
      undefined,
      [['keys.retire', named], ['keys.list']],
      { retired: [PRINT], keys: KEYS, delete_on_github: 'http://github/' },
    ],
  ),
  ['POST /v1/cluster', {}, [['cluster.join', { replica: false, force: false }], ['cluster.status']], CLUSTER],
  [
    'POST /v1/cluster',
    { replica: true, force: false },
    [['cluster.join', { replica: true, force: false }], ['cluster.status']],
    CLUSTER,
  ],
  [
    'POST /v1/cluster',
    { replica: false, force: true },
    [['cluster.join', { replica: false, force: true }], ['cluster.status']],
    CLUSTER,
  ],
  ['DELETE /v1/cluster', undefined, [['cluster.leave', { keep: false }], ['cluster.status']], CLUSTER],
  ['DELETE /v1/cluster?keep=true', undefined, [['cluster.leave', { keep: true }], ['cluster.status']], CLUSTER],
  ['DELETE /v1/cluster?keep=false', undefined, [['cluster.leave', { keep: false }], ['cluster.status']], CLUSTER],
  ['POST /v1/cluster/promotion', undefined, [['cluster.promote'], ['cluster.status']], CLUSTER],
  ['POST /v1/cluster/secret', undefined, [['cluster.reseal']], { resealed: 12 }],
  ['POST /v1/reload', undefined, [['reload']], { file: '/etc/ghconnectd.toml' }],
]

test('each route for administrators gives its operation what was asked for, and answers with what came of it', async t => {
  const { askFor, calls } = await setUp(t)
  for (const [line, body, expected, answer, status = 200] of READS) {
    calls.length = 0
    const spoken = await askFor(line, body)
    t.is(spoken.status, status, `${line}: ${spoken.text}`)
    t.deepEqual(JSON.parse(spoken.text), answer, line)
    t.deepEqual(calls, expected, `${line} changes nothing, and so notes nothing`)
  }
})

test('each change is noted with who asks for it before it is made, and answered with what came of it', async t => {
  const { askFor, calls } = await setUp(t)
  for (const [line, body, expected, answer, status = 200] of CHANGES) {
    calls.length = 0
    const spoken = await askFor(line, body)
    t.is(spoken.status, status, `${line}: ${spoken.text}`)
    t.deepEqual(JSON.parse(spoken.text), answer, line)
    t.deepEqual(calls, [['noted', 'uid 1000', line.split('?')[0]], ...expected], line)
  }
})

test('each answer is one that the OpenAPI document describes', async t => {
  const { askFor } = await setUp(t)
  const { check } = createChecker(openApiDocument({ socket: 'admin', version: '1' }))
  for (const [line, body] of [...READS, ...CHANGES, ['POST /v1/nothing', undefined] as const]) {
    // The answers of the rig's cluster, its issuer and its features are not whole.
    if (/cluster|tokens/.test(line)) continue
    const { status, head, text } = await askFor(line, body)
    const type = /^content-type: (.*)$/im.exec(head)?.[1] ?? ''
    const [method = '', path = ''] = line.split(' ')
    const answer = { status, headers: { 'content-type': type.trim() }, text, body: JSON.parse(text) }
    t.deepEqual(check({ method, path, answer }), [], line)
  }
})

test('a bundle is sent as bytes that nobody keeps, and the memory that it took is given back', async t => {
  const bundle = new Uint8Array(100_000).fill(7)
  const rig = await createApiRig(t, {
    socket: 'admin',
    operations: {
      snapshots: { export: async () => bundle, exportsWaiting: () => false },
      recovery: { recipients: () => [RECIPIENT] },
      noteRequest() {},
    } as unknown as Engine,
  })
  const sent = await rig.ask('POST /v1/snapshots')
  t.is(sent.status, 200)
  t.regex(sent.head, /^content-type: application\/octet-stream\r?$/im)
  t.regex(sent.head, /^cache-control: no-store\r?$/im)
  t.true(sent.text.includes('\u0007'.repeat(100_000)))
  for (let turns = 0; turns < 100 && bundle.byteLength > 0; turns += 1) await new Promise(setImmediate)
  t.is(bundle.byteLength, 0)
})

test('what is for administrators is refused on token.sock, told apart from what there is not, and calls nothing', async t => {
  const { askFor, calls } = await setUp(t, 'token')
  for (const [line, body] of [
    ...READS,
    ...CHANGES,
    ['GET /metrics', undefined] as const,
    ['POST /v1/snapshots', undefined] as const,
  ]) {
    if (line === 'POST /v1/tokens') continue
    const { status, text } = await askFor(line, body)
    t.is(status, 403, line)
    const { type, detail, instance } = JSON.parse(text)
    const path = line.split(/[ ?]/)[1]
    t.is(type, 'urn:ghconnect:problem:not-permitted')
    t.is(detail, `${path} is served on admin.sock only`)
    t.is(instance, path)
  }
  t.deepEqual(calls, [])
  t.regex((await askFor('GET /v1/nothing')).text, /unknown-route/)
})

test('a token, the status and the profiles are had on token.sock, as what the caller is there', async t => {
  const { askFor, calls } = await setUp(t, 'token')
  const given = await askFor('POST /v1/tokens', { profile: 'x' })
  t.deepEqual(JSON.parse(given.text), { token: 'ghs_x' })
  t.is((await askFor('GET /v1/status')).status, 200)
  t.deepEqual(calls, [
    ['issuer.answer', { profile: 'x' }, 'token.sock of uid 1000'],
    ['status', 'token.sock of uid 1000'],
  ])
})

test('a request that says less or more than it may is refused before anything is done', async t => {
  const { askFor, calls } = await setUp(t)
  for (const [line, body, field] of [
    ['POST /v1/revoke', {}, 'all'],
    ['POST /v1/revoke', { all: true, more: 1 }, 'more'],
    ['DELETE /v1/connection?locale=true', undefined, 'locale'],
    ['DELETE /v1/cluster?keep=1', undefined, 'keep'],
    ['DELETE /v1/keys?fingerprint=x', undefined, 'fingerprint'],
    ['GET /v1/audit?limit=x', undefined, 'limit'],
    ['GET /v1/audit?after=-1&follow=true', undefined, 'after'],
    ['POST /v1/snapshots?config=1', undefined, 'config'],
  ] as const) {
    const { status, text } = await askFor(line, body)
    t.is(status, 400, line)
    t.true(JSON.parse(text).detail.startsWith(`${field}: `), text)
  }
  t.deepEqual(
    calls.filter(([name]) => name !== 'noted'),
    [],
  )
})

test('where no note can be written, the change that mends it is noted once it was made; one that failed is not', async t => {
  const { askFor, calls, now } = await setUp(t)
  now.noteFails = true
  t.is((await askFor('POST /v1/unlock', { identity: 'id' })).status, 200)
  t.deepEqual(calls, [
    ['readIdentities', 'id'],
    ['unlock', ['secret of id']],
    ['noted', 'uid 1000', 'POST /v1/unlock'],
  ])
  calls.length = 0
  Object.assign(now, { noteFails: true, unlockFails: true })
  t.is((await askFor('POST /v1/unlock', { identity: 'id' })).status, 422)
  t.deepEqual(
    calls.map(([name]) => name),
    ['readIdentities', 'unlock'],
  )
})

test('installations are told where they are known; while the store is closed they are not said to be none', async t => {
  const { askFor, now } = await setUp(t)
  now.status = { ...STATE, since: TIME, version: '1' }
  t.deepEqual(JSON.parse((await askFor('GET /v1/installations')).text), { installations: [] })
  now.closed = new Failure('locked', 'the store is closed')
  t.regex((await askFor('GET /v1/installations')).text, /urn:ghconnect:problem:locked/)
})

test('profiles are shown to whom they admit, and to administrators all of them, with whom they admit', async t => {
  const allow = (id: number) => ({
    users: [{ name: `user ${id}`, id }],
    groups: [{ name: 'ci', id: 5 }],
    units: ['a.service'],
  })
  const policy: Policy = {
    profiles: [
      {
        name: 'whole',
        installation: 'octo-org',
        repositories: ['web'],
        permissions: { contents: 'read' },
        allow: { ...allow(1000), groups: [], units: [] },
      },
      { name: 'theirs', allow: allow(2000) },
    ],
  }
  const show = async (socket: 'admin' | 'token') => {
    const rig = await createApiRig(t, { socket, peer: () => peerOf(1000), backend: { policy: () => policy } })
    return JSON.parse((await rig.ask('GET /v1/profiles')).text).profiles
  }
  const whole = { name: 'whole', installation: 'octo-org', repositories: ['web'], permissions: { contents: 'read' } }
  t.deepEqual(await show('token'), [whole])
  t.deepEqual(await show('admin'), [
    { ...whole, allow: { users: ['user 1000'], groups: [], units: [] } },
    { name: 'theirs', allow: { users: ['user 2000'], groups: ['ci'], units: ['a.service'] } },
  ])
})
