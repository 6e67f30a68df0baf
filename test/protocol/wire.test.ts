// The API's shapes: what is unknown or malformed is refused, and the refusal names the field.

import test from 'ava'
import * as fc from 'fast-check'
import type { z } from 'zod'
import { FEATURES } from '../../src/protocol/features.ts'
import { readGatewayTarget } from '../../src/core/tokens/gateway-target.ts'
import {
  AddKeyRequest,
  CompleteRequest,
  DisableQuery,
  EnableRequest,
  ImportRequest,
  isoTime,
  parseWith,
  RecoveryKeyRequest,
  RestoreRequest,
  RetireKeyQuery,
  RevokeRequest,
  SeenStatus,
  Status,
  TokenAnswer,
  TokenRequest,
  UnlockRequest,
} from '../../src/protocol/wire.ts'
import { AuditQuery, AuditRowBody, ExplainRequest } from '../../src/protocol/wire-policy.ts'
import { parseConfig } from '../../src/service/config.ts'
import { codeOf, thrownBy } from '../support/fakes.ts'

const complaint = (schema: z.ZodType, value: unknown): string | undefined => {
  const failure = thrownBy(() => parseWith(schema, value))
  return failure && `${failure.code} ${failure.message}`
}

test('a request for a token is refused with the name of the field that is wrong', t => {
  const wrong: [unknown, string][] = [
    [{ permission: { contents: 'read' } }, 'permission: there is no such field'],
    [{ repositories: 'web' }, 'repositories: '],
    [{ repositories: [] }, 'repositories: '],
    [{ repositories: ['octo-org/web'] }, 'repositories.0: '],
    [{ repositories: ['web*'] }, 'repositories.0: '],
    [{ repositories: Array.from({ length: 501 }, (_, n) => `r${n}`) }, 'repositories: '],
    [{ repository_ids: [0] }, 'repository_ids.0: '],
    [{ repository_ids: ['7'] }, 'repository_ids.0: '],
    [{ repositories: ['7'], repository_ids: [7] }, 'body: give repositories or repository_ids'],
    [{ permissions: {} }, 'permissions: '],
    [{ permissions: { contents: 'all' } }, 'permissions.contents: '],
    [{ permissions: { 'Contents-': 'read' } }, 'permissions.Contents-: '],
    [{ permissions: ['contents'] }, 'permissions: '],
    [{ installation: true }, 'installation: '],
    [{ installation: -4 }, 'installation: '],
    [{ installation: 'a b' }, 'installation: '],
    [{ profile: '' }, 'profile: '],
    [{ min_ttl_seconds: 2401 }, 'min_ttl_seconds: '],
    [{ min_ttl_seconds: 1.5 }, 'min_ttl_seconds: '],
    [{ rejected: 'ghs_token' }, 'rejected: '],
    [[], 'body: '],
    [null, 'body: '],
    ['text', 'body: '],
  ]
  for (const [value, expected] of wrong) {
    const said = complaint(TokenRequest, value)
    t.true(said?.startsWith(`invalid-request ${expected}`), `${JSON.stringify(value)}: ${said}`)
  }
})

test('a request for a token may name everything, or nothing', t => {
  t.deepEqual(parseWith(TokenRequest, {}), {})
  const whole = {
    profile: 'ci',
    installation: 'octo-org',
    repositories: ['web', '.github'],
    permissions: { contents: 'read', organization_self_hosted_runners: 'write' },
    min_ttl_seconds: 2400,
    rejected: 'A'.repeat(43),
  }
  t.deepEqual(parseWith(TokenRequest, whole), whole as never)
  t.is(complaint(TokenRequest, { rejected: `${'A'.repeat(43)}=`, installation: 4 }), undefined)
  t.is(complaint(TokenRequest, { installation: '12345' }), undefined)
})

test('the other requests refuse unknown fields and halves', t => {
  const account = { type: 'organization', login: 'octo-org' }
  t.is(complaint(EnableRequest, { account }), undefined)
  t.is(complaint(EnableRequest, { account, force: true }), 'invalid-request force: there is no such field')
  t.is(
    complaint(EnableRequest, { account: { ...account, id: 1 } }),
    'invalid-request account.id: there is no such field',
  )
  t.regex(complaint(EnableRequest, { account: { ...account, type: 'team' } }) ?? '', /account\.type: /)
  t.regex(complaint(EnableRequest, { account: { ...account, login: 'a/../b' } }) ?? '', /account\.login: /)
  t.is(complaint(ImportRequest, { app_id: 1, private_key: 'k' }), undefined)
  t.regex(complaint(ImportRequest, { private_key: 'k' }) ?? '', /body: give either/)
  t.regex(complaint(ImportRequest, { app_id: 1, client_id: 'a', private_key: 'k' }) ?? '', /body: give either/)
  t.regex(complaint(ImportRequest, { app_id: 1 }) ?? '', /private_key: /)
  t.is(complaint(CompleteRequest, { redirected: 'x', state: 'y' }), 'invalid-request state: there is no such field')
  t.is(complaint(DisableQuery, { Local: 'true' }), 'invalid-request Local: there is no such field')
  t.regex(complaint(DisableQuery, { local: '1' }) ?? '', /local: /)
})

test('a refusal never repeats the value', t => {
  const secret = 'ghs_0123456789012345678901234567890123456789'
  t.false(complaint(TokenRequest, { rejected: secret })?.includes(secret))
  t.false(complaint(ImportRequest, { app_id: 1, private_key: [secret] })?.includes(secret))
})

test('answers have no unknown fields either', t => {
  const answer = { token: 't', expires_at: isoTime(0), installation: 1, account: 'a', permissions: {} }
  t.true(TokenAnswer.safeParse(answer).success)
  t.false(TokenAnswer.safeParse({ ...answer, hashed: 'x' }).success)
  t.false(Status.safeParse({ state: 'connected' }).success)
})

test('property: a request names a profile exactly as the configuration may call it', t => {
  const surroundings = { hostname: 'h', findUser: () => 1, findGroup: () => 1 }
  const mayBeCalled = (name: string): boolean => {
    try {
      parseConfig(`[[profiles]]\nname = ${JSON.stringify(name)}\n`, { file: 'c.toml', surroundings })
      return true
    } catch {
      return false
    }
  }
  const asked = (name: string): readonly boolean[] => [
    TokenRequest.safeParse({ profile: name }).success,
    ExplainRequest.safeParse({ profile: name }).success,
    codeOf(() => readGatewayTarget('/v1/github/meta', `profile=${encodeURIComponent(name)}`)) === undefined,
  ]
  const names = fc.oneof(
    fc.stringMatching(/^[A-Za-z0-9._-]{0,70}$/),
    fc.string({ unit: 'grapheme', maxLength: 6 }),
    fc.constantFrom('ci\n', '\nci', 'a\rb', 'a\u001bb', 'a\u202eb', 'a\u0085b', ''),
  )
  fc.assert(
    fc.property(
      names.filter(name => !(name in FEATURES)),
      name => {
        const may = mayBeCalled(name)
        t.deepEqual(asked(name), [may, may, may])
      },
    ),
    { numRuns: 300 },
  )
})

test('no name in a request for an explanation begins a line', t => {
  for (const text of ['a\nb', 'a\rb', 'a\u001bb', 'a\u0085b', 'a\u2028b', 'a\u202eb'])
    for (const field of ['user', 'group', 'unit']) t.false(ExplainRequest.safeParse({ [field]: text }).success)
  t.true(ExplainRequest.safeParse({ user: 'git', group: 'DOMAIN\\ci users', unit: 'a@b.service' }).success)
})

test('a question about the policy is for a process or for a description, and one about the log has bounds', t => {
  const isExplained = (value: unknown): boolean => ExplainRequest.safeParse(value).success
  t.true(isExplained({ pid: 7, profile: 'ci', repositories: ['web'] }))
  for (const more of [{ user: 'git' }, { group: 'adm' }, { unit: 'a.service' }]) {
    t.true(isExplained(more))
    t.is(
      complaint(ExplainRequest, { pid: 7, ...more }),
      'invalid-request body: give either pid or user, group and unit',
    )
  }
  for (const value of [
    { pid: 0 },
    { pid: '7' },
    { unit: 'a.timer' },
    { user: 'x'.repeat(257) },
    { min_ttl_seconds: 1 },
  ])
    t.false(isExplained(value))
  const isAsked = (value: unknown): boolean => AuditQuery.safeParse(value).success
  for (const value of [
    {},
    { after: '0' },
    { after: '9'.repeat(15) },
    { limit: '9999' },
    { follow: 'true' },
    { follow: 'false' },
  ])
    t.true(isAsked(value), JSON.stringify(value))
  for (const value of [
    { after: '-1' },
    { after: '9'.repeat(16) },
    { after: '' },
    { limit: '10000' },
    { limit: '1.5' },
    { follow: 'yes' },
    { x: '1' },
  ])
    t.false(isAsked(value), JSON.stringify(value))
  const row = { sequence: 1, at: isoTime(5), event: 'token.grant', hash: 'abc' }
  t.true(AuditRowBody.safeParse(row).success)
  t.false(AuditRowBody.safeParse({ ...row, token: 'ghs_x' }).success)
})

test('what is just within its bounds is taken, and what is just beyond them is not', t => {
  const names = (count: number) => Array.from({ length: count }, (_, at) => `r${at}`)
  const cases: [z.ZodType, (length: number) => unknown, number][] = [
    [TokenRequest, length => ({ repositories: names(length) }), 500],
    [TokenRequest, length => ({ repository_ids: names(length).map((_, at) => at + 1) }), 500],
    [TokenRequest, length => ({ repositories: ['r'.repeat(length)] }), 100],
    [TokenRequest, length => ({ installation: 'o'.repeat(length) }), 100],
    [TokenRequest, length => ({ permissions: { ['p'.repeat(length)]: 'read' } }), 64],
    [CompleteRequest, length => ({ redirected: 'x'.repeat(length) }), 4096],
    [ImportRequest, length => ({ app_id: 1, private_key: 'x'.repeat(length) }), 16_384],
    [ImportRequest, length => ({ client_id: 'x'.repeat(length), private_key: 'x' }), 64],
    [AddKeyRequest, length => ({ private_key: 'x'.repeat(length) }), 16_384],
    [UnlockRequest, length => ({ identity: 'x'.repeat(length) }), 16_384],
    [RestoreRequest, length => ({ bundle: '', identity: 'x'.repeat(length) }), 16_384],
  ]
  for (const [schema, valueOf, most] of cases) {
    t.is(complaint(schema, valueOf(most)), undefined, JSON.stringify(valueOf(most)).slice(0, 60))
    t.regex(complaint(schema, valueOf(most + 1)) ?? '', /^invalid-request /)
    t.regex(complaint(schema, valueOf(0)) ?? '', /^invalid-request /)
  }
  for (const seconds of [0, 2400]) t.is(complaint(TokenRequest, { min_ttl_seconds: seconds }), undefined)
  t.regex(complaint(TokenRequest, { min_ttl_seconds: -1 }) ?? '', /min_ttl_seconds: /)
})

test('the requests for keys, recovery and revocation take what is theirs, and nothing else', t => {
  const fingerprint = `SHA256:${'A'.repeat(43)}=`
  t.is(complaint(RetireKeyQuery, {}), undefined)
  t.is(complaint(RetireKeyQuery, { fingerprint }), undefined)
  for (const odd of [fingerprint.slice(0, -1), fingerprint.toLowerCase(), `${fingerprint}x`, `x${fingerprint}`])
    t.regex(
      complaint(RetireKeyQuery, { fingerprint: odd }) ?? '',
      /^invalid-request fingerprint: must be a fingerprint/,
    )
  const recipient = `age1${'q'.repeat(58)}`
  t.is(complaint(RecoveryKeyRequest, { recipient }), undefined)
  for (const odd of [
    recipient.slice(0, -1),
    `${recipient}q`,
    recipient.toUpperCase(),
    `AGE-SECRET-KEY-1${'Q'.repeat(58)}`,
  ])
    t.regex(complaint(RecoveryKeyRequest, { recipient: odd }) ?? '', /recipient: must be an age recipient/)
  t.is(complaint(RevokeRequest, { all: true }), undefined)
  for (const odd of [{}, { all: false }, { all: 'true' }, { all: true, profile: 'ci' }])
    t.regex(complaint(RevokeRequest, odd) ?? '', /^invalid-request /)
  t.is(complaint(RestoreRequest, { bundle: 'YQ==', force: true }), undefined)
  for (const odd of [{}, { bundle: 'no base64!' }, { bundle: 'YQ==', force: 'true' }, { bundle: 'YQ==', trust: true }])
    t.regex(complaint(RestoreRequest, odd) ?? '', /^invalid-request /)
})

test('a client takes the public part of a status alone, and nothing less', t => {
  const told = { state: 'locked', since: isoTime(0), meaning: 'm', next: 'n', version: 'v' }
  t.true(SeenStatus.safeParse(told).success)
  for (const name of Object.keys(told)) {
    const { [name]: _, ...less } = told as Record<string, string>
    t.false(SeenStatus.safeParse(less).success, name)
  }
})

test('a time is told whatever it is, and never thrown at who wants to see it', t => {
  t.is(isoTime(Date.UTC(2026, 4, 1)), '2026-05-01T00:00:00.000Z')
  t.is(isoTime(Number.NaN), '1970-01-01T00:00:00.000Z')
  t.is(isoTime(Number.POSITIVE_INFINITY), '+275760-09-13T00:00:00.000Z')
  t.is(isoTime(-1e300), '-271821-04-20T00:00:00.000Z')
})

test('a refusal names a field within another one, known or not', t => {
  t.is(
    complaint(EnableRequest, { account: { type: 'user', login: 'x', deep: { er: 1 } } }),
    'invalid-request account.deep: there is no such field',
  )
  t.regex(complaint(TokenRequest, { repository_ids: [1, 'x'] }) ?? '', /^invalid-request repository_ids\.1: /)
})
