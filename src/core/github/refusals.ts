// What GitHub's refusals mean: status, headers and text of an answer become a Failure of the catalogue.

import type { Code } from '../../protocol/errors.ts'
import { Failure } from '../../protocol/errors.ts'
import { redact } from '../../service/log.ts'

/** Names in lower case, as Octokit and Node give them. */
export type AnswerHeaders = Readonly<Record<string, string | number | readonly string[] | undefined>>

/** `route` is the template (`GET /app/installations/{installation_id}`), so that no code or id gets into a detail. */
export type Answer = {
  readonly status: number
  readonly headers: AnswerHeaders
  readonly body: unknown
  readonly route: string
}

type Rule = {
  readonly status: readonly number[]
  readonly says?: RegExp
  readonly route?: RegExp
  readonly when?: (headers: AnswerHeaders) => boolean
  readonly code: Code
}

/** The account, and not the App, forbids it: single sign-on, restrictions of access, an account that GitHub suspended. */
const POLICY =
  /although you appear to have the correct authorization credentials|SAML enforcement|access restrictions|your account was suspended|repository access blocked/i

/** The first that matches decides: what a text says goes before what a status or a header alone would. */
const RULES: readonly Rule[] = [
  { status: [404, 422], route: /\/app-manifests\/\{code\}\/conversions$/, code: 'code-rejected' },
  { status: [401], says: /json web token could not be decoded/i, code: 'key-rejected' },
  { status: [401], says: /must generate a public key/i, code: 'key-rejected' },
  { status: [401], says: /claim \('(exp|iat)'\)/i, code: 'clock-skew' },
  { status: [401], says: /claim \('iss'\)/i, code: 'app-not-found' },
  { status: [404], says: /integration not found/i, code: 'app-not-found' },
  { status: [404], route: / \/app\/installations\/\{/, code: 'installation-not-found' },
  // Absent or hidden: GitHub answers alike.
  {
    status: [404],
    route: / \/(?:repos\/\{owner\}\/\{repo\}|repositories\/\{repository_id\})$/,
    code: 'repository-not-accessible',
  },
  { status: [403], says: /installation has been suspended/i, code: 'suspended' },
  { status: [403], says: /IP allow list/i, code: 'ip-blocked' },
  { status: [403], says: POLICY, code: 'account-policy' },
  { status: [403], when: headers => /required/i.test(textOf(headers, 'x-github-sso')), code: 'account-policy' },
  { status: [403], says: /resource not accessible by/i, code: 'forbidden' },
  { status: [422], says: /repository that does not exist or is not accessible/i, code: 'repository-not-accessible' },
  { status: [422], says: /permissions requested are not granted/i, code: 'permission-not-granted' },
  { status: [429], code: 'quota' },
  // The older wording of a secondary limit, which servers of GitHub Enterprise still use.
  { status: [403], says: /rate limit|abuse detection/i, code: 'quota' },
  { status: [403], when: headers => textOf(headers, 'retry-after') !== '', code: 'quota' },
  { status: [403], when: headers => textOf(headers, 'x-ratelimit-remaining') === '0', code: 'quota' },
  { status: [401], says: /bad credentials|requires authentication/i, code: 'bad-credentials' },
  // A refusal in words yet unknown proves nothing about the App's key, but of a token it is said either way.
  { status: [401], route: /^(?!\S+ \/app(\/|$))/, code: 'bad-credentials' },
  { status: [403], code: 'forbidden' },
]

/** Names an answer that was not what was asked for. Never throws; the detail bears GitHub's words and request id, and no secret. */
export const classify = (answer: Answer): Failure => {
  const { status, headers, route } = answer
  if (!isGitHubs(headers)) return interception(answer)
  const message = messageOf(answer.body)
  const permissions = textOf(headers, 'x-accepted-github-permissions')
  const detail = clean(
    `GitHub answered ${route} with ${status}${message && `: ${message}`}${permissions && ` (needs ${permissions})`}`,
  )
  const words = `${detail} (request ${clean(textOf(headers, REQUEST_ID))})`
  if (status >= 500) {
    const seconds = retryAfter(headers)
    return new Failure('github-outage', words, seconds === undefined ? {} : { retryAfterSeconds: seconds })
  }
  const code = RULES.find(rule => matches(rule, answer, message))?.code ?? 'github-unexpected'
  return new Failure(code, words, code === 'quota' ? { retryAfterSeconds: untilQuota(headers) } : {})
}

/** Every answer of GitHub's bears a request id. One without comes from something on the way, and proves nothing. */
export const isGitHubs = (headers: AnswerHeaders): boolean => textOf(headers, REQUEST_ID) !== ''

export const textOf = (headers: AnswerHeaders, name: string): string => {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined
  return typeof value === 'object' ? value.join(', ').trim() : String(value ?? '').trim()
}

const REQUEST_ID = 'x-github-request-id'

const matches = (rule: Rule, { status, headers, route }: Answer, message: string): boolean =>
  rule.status.includes(status) &&
  (rule.says?.test(message) ?? true) &&
  (rule.route?.test(route) ?? true) &&
  (rule.when?.(headers) ?? true)

const interception = ({ status, headers, body, route }: Answer): Failure => {
  const marks = [
    textOf(headers, 'content-type').split(';')[0],
    textOf(headers, 'server') && `server ${textOf(headers, 'server')}`,
    typeof body === 'string' && titleOf(body) && `title "${titleOf(body)}"`,
  ].filter(Boolean)
  const described = marks.length > 0 ? ` (${clean(marks.join(', '))})` : ''
  return new Failure('portal', `${route} was answered with ${status}${described} and without GitHub's request id`)
}

/** The whole of it, as half a token in it would not be known for one. */
const titleOf = (html: string): string => /<title[^>]*>([^<]+)</i.exec(html.slice(0, LONGEST_TEXT))?.[1]?.trim() ?? ''

const messageOf = (body: unknown): string => {
  if (typeof body === 'string') return titleOf(body) || (body.includes('<') ? '' : body)
  if (typeof body !== 'object' || body === null) return ''
  const message = 'message' in body && typeof body.message === 'string' ? body.message : ''
  const errors = 'errors' in body && Array.isArray(body.errors) ? body.errors.map(errorText) : []
  return [message, ...errors].filter(Boolean).join('; ')
}

const errorText = (error: unknown): string => {
  if (typeof error === 'string') return error
  return typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string'
    ? error.message
    : ''
}

/** Of what a stranger sends, no more than this is looked at. */
const LONGEST_TEXT = 16_384
const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g

/** One line, without secrets; a text is redacted before it is cut, as half a token would not be known for one. */
const clean = (text: string): string => {
  const whole = text.length > LONGEST_TEXT ? text.slice(0, LONGEST_TEXT).replace(/\S+$/, '') : text
  const line = redact(whole)
    .replaceAll(JWT, '[secret]')
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  return line.length > 400 ? `${line.slice(0, 400)}…` : line
}

/** The longest window of GitHub's limits. */
const LONGEST_WAIT_S = 3600
/** What `retry-after` says counts up to a day. */
const LONGEST_TOLD_S = 86_400
/** What GitHub asks for where a secondary limit names no time. */
const USUAL_WAIT_S = 60

const bounded = (seconds: number, longestS = LONGEST_WAIT_S): number =>
  Math.min(Math.max(Math.ceil(seconds), 1), longestS)

const untilQuota = (headers: AnswerHeaders): number => {
  const told = retryAfter(headers)
  if (told !== undefined) return told
  const resetS = Number(textOf(headers, 'x-ratelimit-reset') || Number.NaN)
  // By GitHub's clock alone: this machine's may be wrong.
  const left = resetS - Date.parse(textOf(headers, 'date')) / 1000
  return textOf(headers, 'x-ratelimit-remaining') === '0' && Number.isFinite(left) ? bounded(left) : USUAL_WAIT_S
}

/** `retry-after` in seconds, or as a date. */
const retryAfter = (headers: AnswerHeaders): number | undefined => {
  const text = textOf(headers, 'retry-after')
  if (/^\d+$/.test(text)) return bounded(Number(text), LONGEST_TOLD_S)
  const seconds = /[a-z]/i.test(text) ? (Date.parse(text) - Date.parse(textOf(headers, 'date'))) / 1000 : Number.NaN
  return Number.isFinite(seconds) ? bounded(seconds, LONGEST_TOLD_S) : undefined
}
