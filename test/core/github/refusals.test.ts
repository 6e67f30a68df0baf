// Each refusal has its name, whatever else the answer bears, and no answer of a stranger counts as GitHub's.

import test from 'ava'
import * as fc from 'fast-check'
import type { Code } from '../../../src/protocol/errors.ts'
import { CATALOGUE } from '../../../src/protocol/errors.ts'
import type { AnswerHeaders } from '../../../src/core/github/refusals.ts'
import { classify } from '../../../src/core/github/refusals.ts'

const MINT = 'POST /app/installations/{installation_id}/access_tokens'
const APP = 'GET /app'
const REPOSITORIES = 'GET /installation/repositories'
const CONVERT = 'POST /app-manifests/{code}/conversions'
const ID = { 'x-github-request-id': 'AB12:34CD' }

const EXP_PAST =
  "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
const EXP_FAR = "'Expiration time' claim ('exp') is too far in the future"
const IAT = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
const ALLOW_LIST =
  'Although you appear to have the correct authorization credentials, the `octo-org` organization has an IP allow list enabled, and your IP address is not permitted to access this resource.'
const SAML =
  'Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization.'
const OAUTH =
  'Although you appear to have the correct authorization credentials, the `octo-org` organization has enabled OAuth App access restrictions, meaning that data access to third-parties is limited.'
const OUTSIDE = 'There is at least one repository that does not exist or is not accessible to the parent installation.'
const NO_SERVER = 'No server is currently available to service your request. Sorry about that.'

const TABLE: readonly [code: Code, status: number, message: string, route: string, headers?: AnswerHeaders][] = [
  ['key-rejected', 401, 'A JSON web token could not be decoded', MINT],
  ['key-rejected', 401, 'Integration must generate a public key', APP],
  ['app-not-found', 404, 'Integration not found', APP],
  ['app-not-found', 404, 'Integration not found', MINT],
  ['app-not-found', 401, "'Issuer' claim ('iss') must be an Integer", APP],
  ['clock-skew', 401, EXP_PAST, MINT],
  ['clock-skew', 401, EXP_FAR, MINT],
  ['clock-skew', 401, IAT, APP],
  ['suspended', 403, 'This installation has been suspended', MINT],
  ['installation-not-found', 404, 'Not Found', MINT],
  ['installation-not-found', 404, 'Not Found', 'GET /app/installations/{installation_id}'],
  ['installation-not-found', 404, 'Not Found', 'DELETE /app/installations/{installation_id}'],
  ['repository-not-accessible', 422, OUTSIDE, MINT],
  ['repository-not-accessible', 404, 'Not Found', 'GET /repos/{owner}/{repo}'],
  ['repository-not-accessible', 404, 'Not Found', 'GET /repositories/{repository_id}'],
  ['app-not-found', 404, 'Integration not found', 'DELETE /app/installations/{installation_id}'],
  ['account-policy', 403, 'Repository access blocked', 'GET /repos/{owner}/{repo}'],
  ['ip-blocked', 403, ALLOW_LIST, MINT, { 'retry-after': '30' }],
  ['quota', 403, 'Slow down', MINT, { 'x-ratelimit-remaining': '0' }],
  ['forbidden', 403, 'Slow down', MINT, { 'x-ratelimit-remaining': '7' }],
  ['github-unexpected', 401, 'words of another year', MINT],
  ['permission-not-granted', 422, 'The permissions requested are not granted to this installation.', MINT],
  ['bad-credentials', 401, 'Bad credentials', REPOSITORIES],
  ['bad-credentials', 401, 'Requires authentication', 'DELETE /installation/token'],
  ['bad-credentials', 401, 'words of another year', REPOSITORIES],
  ['forbidden', 403, 'Resource not accessible by integration', REPOSITORIES],
  ['forbidden', 403, 'Resource not accessible by integration', REPOSITORIES, { 'x-ratelimit-remaining': '0' }],
  ['forbidden', 403, 'words of another year', REPOSITORIES],
  ['quota', 403, 'You have triggered an abuse detection mechanism. Please wait a few minutes.', REPOSITORIES],
  ['ip-blocked', 403, ALLOW_LIST, MINT],
  ['account-policy', 403, SAML, REPOSITORIES],
  ['account-policy', 403, OAUTH, MINT],
  [
    'account-policy',
    403,
    'Forbidden',
    REPOSITORIES,
    { 'x-github-sso': 'required; url=https://github.com/orgs/octo-org/sso' },
  ],
  ['account-policy', 403, 'Sorry. Your account was suspended.', MINT],
  ['quota', 403, 'API rate limit exceeded for installation ID 7', REPOSITORIES, { 'x-ratelimit-remaining': '0' }],
  ['quota', 429, 'API rate limit exceeded for installation ID 7', REPOSITORIES, { 'x-ratelimit-remaining': '0' }],
  ['quota', 403, 'You have exceeded a secondary rate limit.', MINT],
  ['quota', 403, 'Slow down', MINT, { 'retry-after': '30' }],
  ['quota', 429, '', MINT],
  ['github-outage', 503, NO_SERVER, MINT],
  ['github-outage', 500, '', MINT],
  ['code-rejected', 404, 'Not Found', CONVERT],
  ['code-rejected', 422, 'Validation Failed', CONVERT],
  ['github-unexpected', 401, 'words of another year', APP],
  ['github-unexpected', 404, 'Not Found', REPOSITORIES],
  ['github-unexpected', 422, 'Validation Failed', MINT],
  ['github-unexpected', 418, 'teapot', MINT],
  ['github-unexpected', 301, 'Moved Permanently', MINT],
  ['github-unexpected', 200, '', MINT],
]

for (const [code, status, message, route, headers = {}] of TABLE) {
  const bears = Object.keys(headers).join()
  test(`${status} ${message.slice(0, 50) || 'without words'} ${bears} of ${route} is ${code}`, t => {
    const failure = classify({ status, headers: { ...ID, ...headers }, body: { message }, route })
    t.is(failure.code, code)
    t.true(failure.message.includes(message), 'bears what GitHub said')
    t.true(failure.message.includes('AB12:34CD'), 'bears the request id')
    t.is(failure.retryAfterSeconds !== undefined, code === 'quota')
  })
}

for (const status of [502, 503, 504]) {
  test(`an HTML page with ${status} is an outage where it bears GitHub's request id, and a portal's where not`, t => {
    const headers = { 'content-type': 'text/html; charset=utf-8', server: 'squid/6' }
    const body = '<!DOCTYPE html><html><head><title>Unicorn!\n · GitHub</title></head><body>...</body></html>'
    const outage = classify({ status, headers: { ...headers, ...ID }, body, route: MINT })
    t.is(outage.code, 'github-outage')
    t.regex(outage.message, /Unicorn! · GitHub/)
    const portal = classify({ status, headers, body, route: MINT })
    t.is(portal.code, 'portal')
    t.regex(portal.message, new RegExp(`${status}.*text/html.*server squid/6.*title "Unicorn! · GitHub"`))
  })
}

test('the missing permission is named where GitHub names it', t => {
  const headers = { ...ID, 'x-accepted-github-permissions': 'contents=read' }
  const body = { message: 'Resource not accessible by integration' }
  t.regex(classify({ status: 403, headers, body, route: REPOSITORIES }).message, /needs contents=read/)
})

test('the details of a validation error are part of what GitHub said', t => {
  const body = { message: 'Validation Failed', errors: ['name is taken', { message: 'too long' }, 7, null] }
  t.regex(
    classify({ status: 422, headers: ID, body, route: MINT }).message,
    /Validation Failed; name is taken; too long/,
  )
})

const waitOf = (headers: AnswerHeaders): number | undefined =>
  classify({ status: 403, headers: { ...ID, ...headers }, body: { message: 'rate limit' }, route: MINT })
    .retryAfterSeconds

const DATE = 'Mon, 01 Jun 2026 12:00:00 GMT'
const reset = (seconds: number): AnswerHeaders => ({
  date: DATE,
  'x-ratelimit-remaining': '0',
  'x-ratelimit-reset': String(Date.parse(DATE) / 1000 + seconds),
})

test('the time to wait comes from retry-after, then from the reset by the date of the answer, else it is a minute', t => {
  t.is(waitOf({ 'retry-after': '17' }), 17)
  t.is(waitOf({ ...reset(900), 'retry-after': '17' }), 17)
  t.is(waitOf({ date: DATE, 'retry-after': 'Mon, 01 Jun 2026 12:02:00 GMT' }), 120)
  t.is(waitOf(reset(900)), 900)
  t.is(waitOf(reset(-5)), 1)
  t.is(waitOf({ ...reset(900), 'x-ratelimit-remaining': '12' }), 60)
  t.is(waitOf({ ...reset(900), date: undefined }), 60)
  t.is(waitOf({}), 60)
  t.is(waitOf({ 'retry-after': '86400' }), 86_400, 'a day is honoured')
  t.is(waitOf({ 'retry-after': '864000' }), 86_400, 'and no more')
  t.is(waitOf({ 'retry-after': '0' }), 1)
  t.is(waitOf({ 'retry-after': '-3' }), 60)
  t.is(waitOf({ 'retry-after': 'soon' }), 60)
  t.is(waitOf(reset(9_000)), 3600, 'no window of GitHub is longer than an hour')
  t.is(waitOf({ date: DATE, 'retry-after': 'Mon, 01 Jun 2026 11:00:00 GMT' }), 1)
  t.is(waitOf({ 'retry-after': 'Mon, 01 Jun 2026 12:02:00 GMT' }), 60, 'without a date of the answer')
})

test('an outage says when to come back where GitHub says so', t => {
  const outage = (headers: AnswerHeaders) =>
    classify({ status: 503, headers: { ...ID, ...headers }, body: '', route: MINT }).retryAfterSeconds
  t.is(outage({ 'retry-after': '17' }), 17)
  t.is(outage({ 'x-ratelimit-remaining': '0' }), undefined)
})

test('a detail is cut at 400 characters, what is not text is left out, and a header that came twice is one text', t => {
  const told = (body: unknown, headers: AnswerHeaders = ID) =>
    classify({ status: 422, headers, body, route: MINT }).message
  t.regex(told({ message: 'word '.repeat(1_000) }), /^.{400}… \(request AB12:34CD\)$/)
  const room = 400 - `GitHub answered ${MINT} with 422: `.length
  const fits = 'a.'.repeat(room).slice(0, room)
  t.is(told({ message: fits }), `GitHub answered ${MINT} with 422: ${fits} (request AB12:34CD)`)
  t.is(told({ message: `${fits}!` }), `GitHub answered ${MINT} with 422: ${fits}… (request AB12:34CD)`)
  t.is(told({ message: 7, errors: 'no' }), `GitHub answered ${MINT} with 422 (request AB12:34CD)`)
  t.is(told('<p>without a title</p>'), `GitHub answered ${MINT} with 422 (request AB12:34CD)`)
  t.is(told('plain words'), `GitHub answered ${MINT} with 422: plain words (request AB12:34CD)`)
  t.regex(told('', { 'x-github-request-id': ['A', 'B'] }), /\(request A, B\)$/)
})

const anyText = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom(EXP_PAST, ALLOW_LIST, OUTSIDE))
const anyBody = fc.oneof(fc.anything(), anyText, fc.record({ message: anyText, errors: fc.anything() }))
const anyStatus = fc.oneof(fc.integer({ min: 100, max: 599 }), fc.constantFrom(401, 403, 404, 422, 429), fc.integer())
const anyRoute = fc.constantFrom(MINT, APP, REPOSITORIES, CONVERT)
const NAMES = ['retry-after', 'date', 'server', 'content-type', 'x-ratelimit-remaining', 'x-ratelimit-reset'] as const
const anyValue = fc.oneof(anyText, fc.integer().map(String), fc.double().map(String), fc.constant(undefined))
const anyHeaders: fc.Arbitrary<AnswerHeaders> = fc.dictionary(fc.constantFrom(...NAMES), anyValue)

test('whatever is answered without a request id is a portal', t => {
  fc.assert(
    fc.property(anyStatus, anyHeaders, anyBody, anyRoute, (status, headers, body, route) => {
      t.is(classify({ status, headers, body, route }).code, 'portal')
      t.is(classify({ status, headers: { ...headers, 'x-github-request-id': ' ' }, body, route }).code, 'portal')
    }),
  )
})

test('whatever GitHub answers has a code of the catalogue, a short line and a bounded wait', t => {
  fc.assert(
    fc.property(anyStatus, anyHeaders, anyBody, anyRoute, (status, headers, body, route) => {
      const failure = classify({ status, headers: { ...headers, ...ID }, body, route })
      t.true(Object.hasOwn(CATALOGUE, failure.code))
      t.notRegex(failure.message, /[\r\n\0]/)
      t.true(failure.message.length < 1000)
      const wait = failure.retryAfterSeconds
      t.true(wait === undefined || (Number.isInteger(wait) && wait >= 1 && wait <= 86_400))
    }),
  )
})

test('no detail bears a token or a JWT, wherever in the answer it stands', t => {
  const word = fc.string({ unit: fc.constantFrom(...'abcXYZ019_'.split('')), minLength: 36, maxLength: 520 })
  const secret = fc.oneof(
    word.map(text => `ghs_${text}`),
    word.map(text => `eyJ${text}.eyJ${text}.${text}`),
  )
  fc.assert(
    fc.property(secret, anyStatus, anyRoute, fc.boolean(), fc.nat(600), (token, status, route, own, before) => {
      const message = `${'words '.repeat(before / 6)}${token} after`
      const headers = { ...(own ? ID : {}), server: token, 'x-accepted-github-permissions': token }
      for (const body of [message, { message, errors: [token] }, `<html><title>${message}</title>`]) {
        t.false(classify({ status, headers, body, route }).message.includes(token.slice(0, 30)))
      }
    }),
  )
})
