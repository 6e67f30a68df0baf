// Each way in which a call can fail is laid at one door: the proxy's, the resolver's, the certificate's, a portal's or the target's.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import {
  explainDelay,
  explainError,
  explainRefusal,
  type Progress,
  schemesOf,
} from '../../../src/core/outbound/errors.ts'

const progress = (more: Partial<Progress> = {}): Progress => ({
  host: 'api.github.com',
  proxy: undefined,
  stage: 'target',
  issuer: undefined,
  hasPage: false,
  ...more,
})
const PROXY = 'http://robot@proxy:3128'
const toProxy = progress({ proxy: PROXY, stage: 'proxy' })
const behind = progress({ proxy: PROXY })
const page = progress({ proxy: PROXY, hasPage: true })

const error = (code: string, message = `connect ${code}`): Error => Object.assign(new Error(message), { code })
const told = ({ code, message }: Failure): string => `${code}: ${message}`

test('what the system says is told with its code and who it concerns', t => {
  const cases: readonly (readonly [Progress, unknown, string])[] = [
    [progress(), error('ECONNREFUSED'), 'unreachable: api.github.com: connect ECONNREFUSED'],
    [behind, error('ECONNRESET'), `unreachable: api.github.com by way of ${PROXY}: connect ECONNRESET`],
    [toProxy, error('ECONNREFUSED'), `proxy-unreachable: the proxy ${PROXY}: connect ECONNREFUSED`],
    [progress(), 'odd', 'unreachable: api.github.com: odd'],
    [progress(), error('ENOTFOUND'), 'dns: the name api.github.com has no address'],
    [progress(), error('EAI_AGAIN'), 'dns: the name api.github.com has no address'],
    [progress(), new Error('getaddrinfo EAI_AGAIN other.test'), 'dns: the name other.test has no address'],
    [toProxy, new Error('getaddrinfo ENOTFOUND proxy'), 'dns: the name proxy of the proxy has no address'],
    [
      progress(),
      error('HPE_INVALID_CONSTANT', 'Expected HTTP/'),
      'portal: api.github.com answered with what is no HTTP: Expected HTTP/',
    ],
    [
      page,
      error('ECONNRESET'),
      `portal: the proxy ${PROXY} answered with a page of its own when asked for api.github.com`,
    ],
  ]
  for (const [where, what, says] of cases) t.is(told(explainError(where, what)), says)
  const known = new Failure('timeout', 'x')
  t.is(explainError(toProxy, known), known)
  const cause = error('ECONNREFUSED')
  t.is(explainError(progress(), cause).cause, cause)
  // Several addresses tried in turn: the first speaks for all.
  const both = new AggregateError([error('CERT_HAS_EXPIRED'), error('ECONNREFUSED')], 'certificate has expired')
  t.is(explainError(progress(), both).code, 'tls')
})

test('a certificate that is refused is named with its issuer, and what Node advises to others is left out', t => {
  for (const code of [
    'CERT_HAS_EXPIRED',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'HOSTNAME_MISMATCH',
    'INVALID_CA',
    'INVALID_PURPOSE',
    'PATH_LENGTH_EXCEEDED',
    'CRL_HAS_EXPIRED',
    'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
    'ERR_OSSL_EVP_UNSUPPORTED',
    'EPROTO',
  ]) {
    const seen = progress({ issuer: 'Firm CA' })
    const says = 'tls: the certificate of api.github.com, issued by Firm CA: it is bad'
    t.is(told(explainError(seen, error(code, 'it is bad; try --use-system-ca\nmore'))), says, code)
  }
  const atProxy = { ...toProxy, issuer: 'Firm CA' }
  t.is(
    told(explainError(atProxy, error('CERT_HAS_EXPIRED', 'expired'))),
    `tls: the certificate of the proxy ${PROXY}: expired`,
  )
  // Behind a certificate GitHub itself speaks, whatever the proxy said before.
  t.is(explainError({ ...page, issuer: 'GitHub' }, error('ECONNRESET')).code, 'unreachable')
})

test('whoever does not speak TLS is a portal, or no proxy', t => {
  for (const message of ['wrong version number', 'packet length too long', 'http request']) {
    t.is(
      told(explainError(progress(), error('EPROTO', `${message}\nmore`))),
      `portal: api.github.com does not speak TLS: ${message}`,
    )
    t.is(explainError(toProxy, error('ERR_SSL_WRONG_VERSION_NUMBER', message)).code, 'proxy-unreachable')
  }
})

test('what a SOCKS proxy answers is its rule, its try, or the password', t => {
  const answers = [
    ['Socks5 proxy rejected connection - NotAllowed', 'proxy-refused'],
    ['Socks5 proxy rejected connection - CommandNotSupported', 'proxy-refused'],
    ['Socks5 proxy rejected connection - HostUnreachable', 'unreachable'],
    ['Socks5 proxy rejected connection - ConnectionRefused', 'unreachable'],
    ['Socks5 Authentication failed', 'proxy-authentication'],
    ['Received invalid Socks5 initial handshake (no accepted authentication type)', 'proxy-authentication'],
    ['Socket closed', 'proxy-unreachable'],
  ] as const
  for (const [message, code] of answers) t.is(explainError(toProxy, new Error(message)).code, code, message)
})

test('what a web proxy answers is its rule, its try, or the password', t => {
  const codes = [
    [403, 'proxy-refused'],
    [400, 'proxy-refused'],
    [500, 'proxy-refused'],
    [502, 'unreachable'],
    [503, 'unreachable'],
    [504, 'unreachable'],
    [407, 'proxy-authentication'],
  ] as const
  for (const [status, code] of codes) t.is(explainRefusal(toProxy, { status, reason: '' }).code, code, String(status))
  t.is(
    told(explainRefusal(toProxy, { status: 403, reason: 'Forbidden', squid: 'ERR_ACCESS_DENIED 0' })),
    `proxy-refused: the proxy ${PROXY} answered 403 Forbidden (ERR_ACCESS_DENIED 0) when asked for api.github.com`,
  )
  const offering = (...offers: string[]): Failure => explainRefusal(toProxy, { status: 407, reason: 'No', offers })
  t.is(offering('negotiate', 'basic').code, 'proxy-authentication')
  t.regex(
    told(offering('kerberos', 'x-own')),
    /^proxy-auth-scheme: .*: it offers Kerberos, x-own, and only Basic is supported$/,
  )
})

test('the schemes that a proxy offers are read out of one header or several, each once and in small letters', t => {
  t.deepEqual(schemesOf(undefined), [])
  t.deepEqual(schemesOf('Basic realm="a, Digest b"'), ['basic'])
  t.deepEqual(schemesOf('Negotiate, NTLM, BASIC realm="x"'), ['negotiate', 'ntlm', 'basic'])
  t.deepEqual(schemesOf(['Basic realm="x"', 'basic realm="y"', 'Digest nonce="\\"", qop="auth"']), ['basic', 'digest'])
  t.is(schemesOf(Array.from({ length: 30 }, (_, at) => `Own${at} a=b`)).length, 10)
})

test("a deadline that passes is the proxy's before it has opened the way, and the target's behind it", t => {
  t.is(
    told(explainDelay(toProxy, 30_000)),
    `proxy-unreachable: the proxy ${PROXY} opened no way to api.github.com in 30 s`,
  )
  t.is(told(explainDelay(behind, 1_234)), 'timeout: api.github.com did not answer in 1.2 s')
  t.is(explainDelay(page, 1_000).code, 'portal')
  t.is(explainDelay({ ...page, issuer: 'GitHub' }, 1_000).code, 'timeout')
})
