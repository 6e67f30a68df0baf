// What went wrong on the way out, named: the proxy's fault, the resolver's, the certificate's, or that of the far end.

import type { DetailedPeerCertificate } from 'node:tls'
import { Failure } from '../../protocol/errors.ts'
import type { ProxyAddress } from '../../service/proxy.ts'

/** Where a call has come to, so that an error can be laid at the right door. */
export type Progress = {
  /** Host and port of the target. */
  readonly host: string
  /** The proxy's address as `ProxyAddress` prints it; undefined: direct. */
  readonly proxy: string | undefined
  /** `proxy`: on the way to it, or waiting for it to open the way. */
  stage: 'proxy' | 'target'
  /** Who issued the certificate that the target showed. */
  issuer: string | undefined
  /** The proxy opened the way with the words of a page: most likely a portal's, and no way at all. */
  hasPage: boolean
  /** Monotonic times. To the target: where there is a tunnel, once it is open. */
  connectedAtMs?: number
  securedAtMs?: number
  /** This machine's end of the connection. */
  from?: string
  /** Also of a certificate that is refused. */
  chain?: DetailedPeerCertificate
}

export const progressOf = ({ host }: URL, proxy: ProxyAddress | undefined): Progress => ({
  host,
  proxy: proxy?.toString(),
  stage: proxy === undefined ? 'target' : 'proxy',
  issuer: undefined,
  hasPage: false,
})

/** The deadline passed. Only what lies behind an open way is GitHub's delay. */
export const explainDelay = (progress: Progress, deadlineMs: number): Failure => {
  // What a redirect left of it is an odd number.
  const seconds = `${Math.round(deadlineMs / 100) / 10} s`
  if (progress.stage === 'proxy') {
    return new Failure(
      'proxy-unreachable',
      `the proxy ${progress.proxy} opened no way to ${progress.host} in ${seconds}`,
    )
  }
  if (isPage(progress)) return explainPage(progress)
  return new Failure('timeout', `${progress.host} did not answer in ${seconds}`)
}

/** A CONNECT that the proxy did not answer with 200, or its 407 to a request without a tunnel. */
export const explainRefusal = (
  progress: Progress,
  answer: { status: number; reason: string; squid?: string; offers?: readonly string[] },
): Failure => {
  const { status, reason, squid, offers = [] } = answer
  const said = `the proxy ${progress.proxy} answered ${[status, reason, squid && `(${squid})`].filter(Boolean).join(' ')}`
  const detail = `${said} when asked for ${progress.host}`
  switch (status) {
    case 407:
      // With the right password too: an administrator who tries others may lock the account.
      if (offers.length > 0 && !offers.includes('basic')) {
        const schemes = offers.map(scheme => SCHEME_NAMES.get(scheme) ?? scheme).join(', ')
        return new Failure('proxy-auth-scheme', `${detail}: it offers ${schemes}, and only Basic is supported`)
      }
      return new Failure('proxy-authentication', detail)
    // It tried and did not get there: no rule of the proxy's that anyone could change.
    case 502:
    case 503:
    case 504:
      return new Failure('unreachable', detail)
    default:
      return new Failure('proxy-refused', detail)
  }
}

const SCHEME_NAMES: ReadonlyMap<string, string> = new Map([
  ['negotiate', 'Negotiate'],
  ['ntlm', 'NTLM'],
  ['digest', 'Digest'],
  ['kerberos', 'Kerberos'],
  ['bearer', 'Bearer'],
])

/** The schemes of `Proxy-Authenticate` (RFC 9110, 11.3), in lower case: each challenge is a scheme, alone or before its parameters. */
export const schemesOf = (header: string | readonly string[] | undefined): readonly string[] => {
  const challenges = (typeof header === 'string' ? [header] : (header ?? [])).flatMap(value =>
    value.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').split(','),
  )
  const schemes = challenges.flatMap(
    part => /^\s*([a-z][\w-]{0,30})(?:\s+[^=\s]|\s*$)/i.exec(part)?.[1]?.toLowerCase() ?? [],
  )
  return [...new Set(schemes)].slice(0, 10)
}

export const explainError = (progress: Progress, error: unknown): Failure => {
  if (error instanceof Failure) return error
  const message = error instanceof Error ? error.message : String(error)
  const [, lookUp, name] = /^getaddrinfo (ENOTFOUND|EAI_\w+) (\S+)$/.exec(message) ?? []
  const code = lookUp ?? codeOf(error)
  const atProxy = progress.stage === 'proxy'
  const who = atProxy ? `the proxy ${progress.proxy}` : progress.host
  const options = { cause: error }
  if (code === 'ENOTFOUND' || code.startsWith('EAI_')) {
    return new Failure('dns', `the name ${name ?? who}${atProxy ? ' of the proxy' : ''} has no address`, options)
  }
  if (isPage(progress)) return explainPage(progress, options)
  if (isTls(code) && NO_TLS.test(`${code} ${message}`)) {
    const said = `${who} does not speak TLS: ${message.split('\n')[0]}`
    return new Failure(atProxy ? 'proxy-unreachable' : 'portal', said, options)
  }
  if (isTls(code)) {
    const issuer = !atProxy && progress.issuer ? `, issued by ${progress.issuer}` : ''
    // Behind the semicolon is what Node advises to its own users.
    return new Failure('tls', `the certificate of ${who}${issuer}: ${message.split(/[\n;]/)[0]}`, options)
  }
  if (code.startsWith('HPE_')) return new Failure('portal', `${who} answered with what is no HTTP: ${message}`, options)
  const socks = explainSocks(progress, message)
  if (socks) return socks
  const way = !atProxy && progress.proxy ? ` by way of ${progress.proxy}` : ''
  return new Failure(atProxy ? 'proxy-unreachable' : 'unreachable', `${who}${way}: ${message}`, options)
}

/** The package `socks` gives its errors no codes, only messages. */
const explainSocks = (progress: Progress, message: string): Failure | undefined => {
  const [, reply] = /^Socks5 proxy rejected connection - (\w+)$/.exec(message) ?? []
  if (reply !== undefined) {
    const code = reply === 'NotAllowed' || reply === 'CommandNotSupported' ? 'proxy-refused' : 'unreachable'
    return new Failure(code, `the proxy ${progress.proxy} answered ${reply} when asked for ${progress.host}`)
  }
  if (!/Socks5 Authentication failed|no accepted authentication type/i.test(message)) return undefined
  return new Failure('proxy-authentication', `the proxy ${progress.proxy} does not accept the user or password`)
}

/** Before a certificate was seen; behind it GitHub itself speaks. */
const isPage = ({ hasPage, stage, issuer }: Progress): boolean => hasPage && stage === 'target' && issuer === undefined

const explainPage = ({ proxy, host }: Progress, options: { cause?: unknown } = {}): Failure =>
  new Failure('portal', `the proxy ${proxy} answered with a page of its own when asked for ${host}`, options)

/** What OpenSSL calls the words of a server that speaks something else. */
const NO_TLS = /wrong[ _]version[ _]number|packet[ _]length[ _]too[ _]long|http[ _]request/i

const isTls = (code: string): boolean =>
  /^(?:ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|EPROTO$)/.test(
    code,
  )

/** An error of several addresses tried in turn bears those of each; the first speaks for all. */
const codeOf = (error: unknown): string => {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
  if (typeof code === 'string') return code
  return error instanceof AggregateError && error.errors[0] instanceof Error ? codeOf(error.errors[0]) : ''
}
