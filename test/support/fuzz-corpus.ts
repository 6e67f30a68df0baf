// What the fuzzer begins with: a valid request for every route of a socket, and of the settings page. A route without one is an error.

import { generateKeyPairSync } from 'node:crypto'
import { endpointNames, endpointOf } from '../../src/protocol/endpoints.ts'
import { OPEN_ROUTES, ROUTES as PAGE_ROUTES } from '../../src/page/model.ts'

export type Sample = {
  readonly method: string
  readonly target: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body?: string
  /** How often it is chosen, beside the others. */
  readonly weight: number
}

const PEM = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
const RECIPIENT = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p'
const IDENTITY = 'AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX'
const PROFILE = { repositories: ['web'], permissions: { contents: 'read' } }

/** By method and path. The bundle is one that this daemon wrote. */
const bodies = (bundle: string): Readonly<Record<string, readonly unknown[]>> => ({
  'POST /v1/connection': [{ account: { type: 'organization', login: 'octo-org' } }],
  'POST /v1/connection/completion': [{ redirected: 'http://localhost/callback?code=0123456789abcdef&state=00' }],
  'POST /v1/connection/import': [{ app_id: 1, private_key: PEM, account: 'octo-org' }],
  'POST /v1/tokens': [
    PROFILE,
    { permissions: { contents: 'read', issues: 'write' } },
    { ...PROFILE, profile: 'test', installation: 'octo-org', min_ttl_seconds: 60 },
    { repository_ids: [1], permissions: { issues: 'read' }, rejected: `${'A'.repeat(43)}=` },
  ],
  'POST /v1/revoke': [{ all: true }],
  'POST /v1/snapshots/restore': [{ bundle }, { bundle, force: true, identity: IDENTITY }],
  'POST /v1/unlock': [{ identity: IDENTITY }],
  'POST /v1/recovery-keys': [{ recipient: RECIPIENT }],
  'POST /v1/keys': [{ private_key: PEM }],
  'POST /v1/policy/explain': [
    { user: 'root', ...PROFILE },
    { pid: 1, profile: 'test', unit: undefined },
  ],
  'POST /v1/cluster': [{ replica: true }, { force: true }],
})

const QUERIES: Readonly<Record<string, readonly string[]>> = {
  'GET /v1/audit': ['', '?after=1&limit=10', '?follow=true'],
  'DELETE /v1/connection': ['?local=true', '?wait=false'],
  'DELETE /v1/keys': ['', `?fingerprint=${encodeURIComponent(`SHA256:${'A'.repeat(43)}=`)}`],
  'DELETE /v1/cluster': ['', '?keep=true'],
}

/**
 * What costs seconds of work or ends the connection is chosen seldom. The fuzzer enables again after a disable; nothing is left out.
 */
const WEIGHTS: Readonly<Record<string, number>> = {
  'DELETE /v1/connection': 0.002,
  'POST /v1/connection': 0.05,
  'POST /v1/adopt': 0.01,
  'POST /v1/snapshots': 0.02,
  'POST /v1/snapshots/restore': 0.05,
  'POST /v1/keys': 0.05,
  'POST /v1/connection/import': 0.05,
  'POST /v1/recovery-keys': 0.05,
  'POST /v1/refresh': 0.002,
  'POST /v1/revoke': 0.002,
  'GET /v1/audit': 0.2,
  'GET /v1/check': 0.002,
  'GET /v1/audit/verdict': 0.01,
  'POST /v1/tokens': 4,
}

const JSON_TYPE = ['content-type', 'application/json'] as const
const HOST = ['host', 'localhost'] as const

export const socketCorpus = (socket: 'token' | 'admin', bundle: Buffer): Sample[] => {
  const bodyOf = bodies(bundle.toString('base64'))
  const samples: Sample[] = endpointNames.flatMap(name => {
    const { answer, body } = endpointOf(name)
    // The others are below.
    if (!answer && name !== 'POST /v1/snapshots') return []
    const [method = '', path = ''] = name.split(' ')
    const { [name]: found } = bodyOf
    if (body && !found) throw new Error(`the fuzzer has no body for ${name}`)
    const weight = socket === 'admin' ? (WEIGHTS[name] ?? 1) : name === 'POST /v1/tokens' ? 8 : 0.5
    return (QUERIES[name] ?? ['']).flatMap(query =>
      (found ?? [undefined]).map(one => ({
        method,
        target: path + query,
        headers: one === undefined ? [HOST] : [HOST, JSON_TYPE],
        ...(one !== undefined && { body: JSON.stringify(one) }),
        weight,
      })),
    )
  })
  const credential = 'protocol=https\nhost=github.com\npath=octo-org/web.git\n\n'
  const text = ['accept', 'application/x-git-credential'] as const
  return [
    ...samples,
    {
      method: 'POST',
      target: '/v1/tokens',
      headers: [HOST, text, ['content-type', 'application/x-git-credential']],
      body: credential,
      weight: 1,
    },
    ...['/v1/events', '/metrics', '/'].map(target => ({
      method: 'GET',
      target,
      headers: [HOST],
      weight: 0.3,
    })),
    { method: 'GET', target: '/v1/github/repos/octo-org/web/issues?per_page=2', headers: [HOST], weight: 0.3 },
    {
      method: 'POST',
      target: '/v1/github/repos/octo-org/web/issues',
      headers: [HOST, JSON_TYPE],
      body: '{"title":"x"}',
      weight: 0.2,
    },
  ]
}

export type PageSession = {
  readonly host: string
  readonly prefix: string
  readonly cookie: string
  readonly csrf: string
}

const FIELDS: Readonly<Record<string, string>> = {
  type: 'organization',
  login: 'octo-org',
  terms: 'on',
  without_recovery_key: 'on',
  id: '1',
  private_key: PEM,
  account: 'octo-org',
  fingerprint: `SHA256:${'A'.repeat(43)}=`,
  recipient: RECIPIENT,
  identity: IDENTITY,
}
/** The others of the page have 1: to sign out ends the session, and the fuzzer signs in again. */
const PAGE_WEIGHTS: Readonly<Record<string, number>> = {
  signOut: 0.002,
  disable: 0.002,
  finishDisable: 0.02,
  check: 0.002,
  refresh: 0.01,
  adopt: 0.05,
  import: 0.1,
  addKey: 0.1,
  recoveryKey: 0.1,
}

export const pageCorpus = ({ host, prefix, cookie, csrf }: PageSession): Sample[] => {
  const common = [
    ['host', host],
    ['cookie', cookie],
  ] as const
  const inside = Object.entries(PAGE_ROUTES).map(([name, { method, path, fields }]): Sample => {
    const weight = PAGE_WEIGHTS[name] ?? 1
    if (method === 'GET') return { method, target: prefix + path, headers: common, weight }
    const form = new URLSearchParams({ csrf })
    for (const field of fields) form.set(field.replace('?', ''), FIELDS[field.replace('?', '')] ?? '')
    const headers = [
      ...common,
      ['origin', `http://${host}`],
      ['content-type', 'application/x-www-form-urlencoded'],
    ] as const
    return { method, target: prefix + path, headers, body: String(form), weight }
  })
  const boundary = 'fuzz'
  const part = (name: string, value: string): string =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const multipart = `${part('csrf', csrf)}${part('private_key', 'x')}--${boundary}--\r\n`
  const open = [
    ...Object.values(OPEN_ROUTES),
    '/',
    '/done',
    '/setup',
    '/callback?code=x&state=y',
    `/enable/${'0'.repeat(32)}`,
  ]
  return [
    ...inside,
    {
      method: 'POST',
      target: `${prefix}/keys`,
      headers: [...common, ['origin', `http://${host}`], ['content-type', `multipart/form-data; boundary=${boundary}`]],
      body: multipart,
      weight: 1,
    },
    ...open.map(target => ({ method: 'GET', target, headers: [common[0]], weight: 1 })),
    {
      method: 'POST',
      target: `${OPEN_ROUTES.signIn}${'0'.repeat(32)}`,
      headers: [common[0], ['origin', `http://${host}`]],
      body: '',
      weight: 1,
    },
  ]
}
