// The catalogue: each code says what happened and what to do; whatever is thrown becomes one of them.

import test from 'ava'
import {
  asFailure,
  CATALOGUE,
  type Code,
  Failure,
  isCode,
  PROBLEM_PREFIX,
  toProblem,
} from '../../src/protocol/errors.ts'
import { Secret } from '../../src/protocol/secret.ts'
import { inspect } from 'node:util'

test('each code has a title, a next step, an HTTP status of an error and an exit code', t => {
  const titles = new Set<string>()
  for (const [code, { title, next, status, exit }] of Object.entries(CATALOGUE)) {
    t.regex(code, /^[a-z][a-z-]*[a-z]$/)
    t.regex(title, /^[A-Z].*[^.\s]$/, code)
    t.regex(next, /^[A-Z].*\.$/, code)
    t.true(status >= 400 && status < 600, code)
    t.true(exit >= 64 && exit <= 78, code)
    titles.add(title)
  }
  t.is(titles.size, Object.keys(CATALOGUE).length, 'no two codes have one title')
})

test('what was denied exits as not permitted, wherever GitHub or the policy said so', t => {
  t.is(CATALOGUE['not-permitted'].exit, 77)
  t.is(CATALOGUE['not-connected'].exit, 69)
  t.is(CATALOGUE.configuration.exit, 78)
  t.is(CATALOGUE['invalid-request'].exit, 65)
  t.is(CATALOGUE.usage.exit, 64)
})

test('a problem has the shape of RFC 9457 and the next step', t => {
  const failure = new Failure('quota', 'none left', { retryAfterSeconds: 3 })
  t.deepEqual(toProblem(failure, '/v1/tokens'), {
    type: `${PROBLEM_PREFIX}quota`,
    title: CATALOGUE.quota.title,
    status: 429,
    detail: 'none left',
    next: CATALOGUE.quota.next,
    instance: '/v1/tokens',
  })
  t.false('instance' in toProblem(failure))
  t.is(failure.retryAfterSeconds, 3)
})

test('codes are told from properties of every object', t => {
  t.true(isCode('quota'))
  t.false(isCode('toString'))
  t.false(isCode('__proto__'))
})

test('errors of the disk are named, failures pass, the rest is internal and keeps its cause', t => {
  const errno = (code: string): Error => Object.assign(new Error(`it says ${code}`), { code })
  const expected: Record<string, Code> = {
    ENOSPC: 'disk-full',
    EDQUOT: 'disk-full',
    SQLITE_FULL: 'disk-full',
    SQLITE_CORRUPT: 'store-corrupt',
    SQLITE_NOTADB: 'store-corrupt',
    SQLITE_IOERR_WRITE: 'io',
    SQLITE_READONLY: 'io',
    SQLITE_CANTOPEN: 'io',
    ESOMETHING: 'internal',
    SQLITE_BUSY: 'internal',
  }
  for (const code of OF_FILES) expected[code] = 'io'
  for (const [code, name] of Object.entries(expected)) {
    const thrown = errno(code)
    const failure = asFailure(thrown)
    t.is(failure.code, name, code)
    t.is(failure.cause, thrown, code)
  }
  const own = new Failure('usage', 'so')
  t.is(asFailure(own), own)
  for (const odd of [undefined, null, 'text', 7, {}]) t.is(asFailure(odd).code, 'internal')
  t.notRegex(asFailure(new Error('with ghs_secret in it')).message, /ghs_/, 'an unknown error says nothing to callers')
})

/** What a file, or a folder, or the process itself may be to one who opens it. */
const OF_FILES = [
  'EIO',
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOENT',
  'ENOTDIR',
  'EEXIST',
  'ELOOP',
  'ENAMETOOLONG',
  'EISDIR',
  'EMFILE',
  'ENFILE',
  'EBUSY',
  'EXDEV',
  'ETXTBSY',
  'ESTALE',
  'ENXIO',
]

test('an error of the disk names the path once, and a quota that is used up is told from a full disk', t => {
  const thrown = (code: string, message: string, path?: string): string =>
    asFailure(Object.assign(new Error(message), { code, ...(path !== undefined && { path }) })).message
  t.is(thrown('ENOSPC', 'write', '/var/lib/a'), '/var/lib/a: no space left on the device')
  t.is(thrown('SQLITE_FULL', 'database or disk is full'), 'no space left on the device')
  t.is(thrown('EDQUOT', 'write', '/var/lib/a'), "/var/lib/a: this user's disk quota is used up")
  t.is(thrown('EACCES', 'permission denied', '/etc/a'), '/etc/a: permission denied')
  t.is(thrown('ENOENT', "ENOENT: open '/etc/a'", '/etc/a'), "ENOENT: open '/etc/a'")
  t.is(thrown('SQLITE_CORRUPT', 'malformed'), 'a page of the store fails its check')
  t.is(asFailure(new Error('x')).message, 'unexpected error')
})

test('a problem gives the advice of this one failure where it has some', t => {
  const failure = new Failure('io', 'why', { next: 'Mend it.' })
  t.is(failure.next, 'Mend it.')
  t.is(toProblem(failure).next, 'Mend it.')
  t.is(failure.entry, CATALOGUE.io)
  t.is(failure.name, 'Failure')
  t.false('cause' in failure)
})

test('a secret shows itself nowhere', t => {
  const secret = new Secret('hush-hush')
  const shown = [String(secret), JSON.stringify({ secret }), inspect({ secret }, { depth: 9, showHidden: true })]
  for (const text of shown) {
    t.false(text.includes('hush'))
    t.true(text.includes('[secret]'))
  }
  t.is(secret.reveal(), 'hush-hush')
})

test('a failure leaves it to others to say where they were thrown', t => {
  const { stackTraceLimit } = Error
  const refused = new Failure('not-permitted', 'x')
  t.is(Error.stackTraceLimit, stackTraceLimit)
  t.notRegex(refused.stack ?? '', /errors\.test/)
  t.regex(new Failure('internal', 'x').stack ?? '', /errors\.test/)
  t.regex(new Error('x').stack ?? '', /errors\.test/)
})
