// What a request is before anybody looks at its path: under which name it came, who stands in front, whether this page sent it, and its language.

import { Failure } from '../protocol/errors.ts'
import type { Peer } from '../protocol/profile.ts'
import { LANGUAGES, type Language } from './model.ts'

/** Headers by their name in small letters; undefined where absent. */
export type Header = (name: string) => string | undefined

/** What a trusted web server in front says of the request. */
export type Front = { readonly peer: Peer; readonly user?: string; readonly host?: string; readonly proto?: string }

/**
 * Undefined unless the process at the other end of the unix socket is the front's own user: anybody can send these headers.
 * `X-Forwarded-User` is whom the front let in, `X-Forwarded-Host` and `-Proto` are what the browser asked for.
 */
export const findFront = (
  peer: Peer | undefined,
  { frontUid, header }: { frontUid: number | undefined; header: Header },
): Front | undefined => {
  if (peer === undefined || frontUid === undefined || peer.uid !== frontUid) return undefined
  const [user, host, proto] = ['x-forwarded-user', 'x-forwarded-host', 'x-forwarded-proto'].map(
    name => header(name) || undefined,
  )
  // It ends up in the audit log, and on a page.
  if (user !== undefined && !/^[\p{L}\p{N}][\p{L}\p{N}._@+ -]{0,127}$/u.test(user))
    throw new Failure('invalid-request', 'X-Forwarded-User: is no name of a user')
  return { peer, ...(user !== undefined && { user }), ...(host !== undefined && { host }), ...(proto && { proto }) }
}

/**
 * The address by which the browser reached this page, out of those it may be reached by. Undefined for any other: a name that was
 * made to point here (DNS rebinding), or plain http where it is to be https.
 */
export const findBase = (bases: readonly string[], { header, front }: { header: Header; front: Front | undefined }) => {
  const host = (front?.host ?? header('host') ?? '').toLowerCase()
  const base = bases.map(text => new URL(text)).find(url => url.host === host)
  return front?.proto !== undefined && `${front.proto}:` !== base?.protocol ? undefined : base
}

/** Throws `cross-site` unless the browser says that this page sent the request. A browser cannot leave out both headers on a POST. */
export const assertFromHere = (base: URL, header: Header): void => {
  const site = header('sec-fetch-site')
  const origin = header('origin')
  if (site !== undefined && site !== 'same-origin')
    throw new Failure('cross-site', 'it was sent from a page of another site')
  if (origin === undefined ? site === undefined : origin !== base.origin)
    throw new Failure('cross-site', 'it does not say that it was sent from here')
}

export const securityHeaders = (githubUrl: string): readonly (readonly [string, string])[] => [
  [
    'content-security-policy',
    // GitHub's form is posted to from here; nothing else may be loaded, framed or posted to.
    `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self' ${new URL(githubUrl).origin}; frame-ancestors 'none'; base-uri 'none'`,
  ],
  ['x-frame-options', 'DENY'],
  ['x-content-type-options', 'nosniff'],
  ['cross-origin-opener-policy', 'same-origin'],
  ['cross-origin-resource-policy', 'same-origin'],
  // The origin alone, and never the path: that is a session's. (`no-referrer` would make forms send `Origin: null`.)
  ['referrer-policy', 'strict-origin'],
]

export const isLanguage = (text: string | undefined): text is Language =>
  (LANGUAGES as readonly (string | undefined)[]).includes(text)

/** The most of the header that is looked at. */
const LONGEST = 256

/** The one that was chosen, else the first that the browser asks for and that there is. */
export const languageOf = (chosen: string | undefined, acceptLanguage: string | undefined): Language => {
  if (isLanguage(chosen)) return chosen
  const wanted = (acceptLanguage ?? '')
    .slice(0, LONGEST)
    .split(',')
    .map(part => {
      const [range = '', ...parameters] = part.split(';').map(text => text.trim().toLowerCase())
      const quality = parameters.find(text => text.startsWith('q='))?.slice(2)
      return { language: range.split('-')[0], quality: quality === undefined ? 1 : Number(quality) || 0 }
    })
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality)
  for (const { language } of wanted) if (isLanguage(language)) return language
  return 'en'
}
