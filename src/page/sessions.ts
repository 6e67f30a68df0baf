// Who is signed in to the page: one-time links, and the sessions that they begin, each under a path of its own that nobody can guess. In memory only.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Peer } from '../protocol/profile.ts'
import type { Clock, Timer } from '../service/clock.ts'
import type { Language, Said } from './model.ts'

const LINK_MS = 5 * 60_000
/** More at a time are asked for by a program in a loop: the oldest gives way. */
const MAX_LINKS = 32

export type Links = ReturnType<typeof createLinks>

/** Each link is good once and for five minutes, whoever opens it in the meantime. */
export const createLinks = ({ clock }: { clock: Pick<Clock, 'now' | 'monotonic'> }) => {
  // By the monotonic clock as well: a clock that is set back makes no link live longer.
  const links = new Map<string, { peer: Peer; expiresAtMs: number; endsAtMs: number }>()

  /** Looking does not use it up: browsers and mail programs look ahead. */
  const find = (code: string) => {
    const link = links.get(code)
    if (link && link.expiresAtMs > clock.now() && link.endsAtMs > clock.monotonic()) return link
    links.delete(code)
    return undefined
  }

  return {
    find,
    /** For whoever asked on admin.sock: what is done by way of the link is noted as done by them. */
    issue(peer: Peer): { readonly code: string; readonly expiresAtMs: number } {
      const code = randomBytes(16).toString('hex')
      const link = { peer, expiresAtMs: clock.now() + LINK_MS, endsAtMs: clock.monotonic() + LINK_MS }
      for (const known of links.keys()) find(known)
      const [oldest] = links.keys()
      if (links.size >= MAX_LINKS && oldest !== undefined) links.delete(oldest)
      links.set(code, link)
      return { code, expiresAtMs: link.expiresAtMs }
    },
    /** Uses it up. Undefined where it is unknown, was used, or has run out. */
    take(code: string): Peer | undefined {
      const link = find(code)
      links.delete(code)
      return link?.peer
    },
  }
}

/** `peer` asked for the link, or is the web server in front; `name` is what that one calls its visitor. */
export type Visitor = { readonly peer: Peer; readonly name?: string }

export type Session = {
  readonly visitor: Visitor
  /** Cookies are sent to every port of a host; only this path keeps ours from the other ports' servers. */
  readonly prefix: string
  readonly csrf: string
  language?: Language
  /** Shown by the next page, once. */
  said?: Said
}

type Entry = {
  readonly session: Session
  readonly cookieHash: Buffer
  readonly onEnd: Set<() => void>
  usedAtMs: number
  usedAtMonotonicMs: number
}

export const SESSION_COOKIE = 'ghconnect_session'
const IDLE_MS = 15 * 60_000
const CHECK_MS = 15_000
const MAX_SESSIONS = 32
/** Enables taken to GitHub: a person may begin again in another tab. */
const MAX_STATES = 32

export type Sessions = ReturnType<typeof createSessions>

/** They end after fifteen idle minutes. */
export const createSessions = ({ clock }: { clock: Pick<Clock, 'now' | 'monotonic' | 'every'> }) => {
  const sessions = new Map<string, Entry>()
  /** Of enables whose visitors are at GitHub: whoever comes back with one is led to its session. */
  const states = new Map<string, Session>()
  let sweeper: Timer | undefined

  const end = ({ prefix }: Session): void => {
    const held = sessions.get(prefix)
    if (!held) return
    sessions.delete(prefix)
    for (const callback of held.onEnd) callback()
  }
  /** By both clocks: the monotonic one stands still while the machine sleeps, the other may be set back. */
  const isIdle = ({ usedAtMs, usedAtMonotonicMs }: Entry): boolean =>
    clock.now() - usedAtMs >= IDLE_MS || clock.monotonic() - usedAtMonotonicMs >= IDLE_MS
  const sweep = (): void => {
    for (const held of sessions.values()) if (isIdle(held)) end(held.session)
    if (sessions.size > 0) return
    sweeper?.cancel()
    sweeper = undefined
  }
  const touch = (held: Entry): void => {
    held.usedAtMs = clock.now()
    held.usedAtMonotonicMs = clock.monotonic()
    // The map's order is that of use: where there are too many, the one that was idle longest goes.
    sessions.delete(held.session.prefix)
    sessions.set(held.session.prefix, held)
  }

  return {
    /** The cookie's value is in no page, log or store. */
    begin(visitor: Visitor): { readonly session: Session; readonly cookie: string } {
      sweep()
      const [oldest] = sessions.values()
      if (sessions.size >= MAX_SESSIONS && oldest) end(oldest.session)
      const cookie = randomBytes(32).toString('base64url')
      const session: Session = {
        visitor,
        prefix: `/s/${randomBytes(16).toString('hex')}`,
        csrf: randomBytes(24).toString('base64url'),
      }
      touch({ session, cookieHash: digest(cookie), onEnd: new Set(), usedAtMs: 0, usedAtMonotonicMs: 0 })
      sweeper ??= clock.every(CHECK_MS, sweep)
      return { session, cookie }
    },
    /** `use`: a person did something. What a page fetches by itself does not keep a session alive. */
    find(
      prefix: string,
      { cookie, name, use }: { cookie: string; name: string | undefined; use: boolean },
    ): Session | undefined {
      const held = sessions.get(prefix)
      if (!held || !timingSafeEqual(held.cookieHash, digest(cookie))) return undefined
      if (isIdle(held)) {
        end(held.session)
        return undefined
      }
      // The front says with each request who its visitor is: once that is another, or nobody, the session is not theirs.
      if (held.session.visitor.name !== name && held.session.visitor.name !== undefined) return undefined
      if (use) touch(held)
      return held.session
    },
    /** Whether a request for `path` with this Cookie header belongs to a session. Neither uses nor ends one. */
    covers(path: string, cookies: string): boolean {
      const held = sessions.get(PREFIX.exec(path)?.[0] ?? '')
      const cookie = COOKIE.exec(cookies)?.[1]
      return held !== undefined && cookie !== undefined && timingSafeEqual(held.cookieHash, digest(cookie))
    },
    /** Whether it has not ended yet. */
    has({ prefix }: Session): boolean {
      sweep()
      return sessions.has(prefix)
    },
    /** With the state of an enable GitHub's redirects lead back to the session that went there last. */
    keepState(session: Session, state: string): void {
      states.delete(state)
      states.set(state, session)
      const [oldest] = states.keys()
      if (states.size > MAX_STATES && oldest !== undefined) states.delete(oldest)
    },
    findByState(state: string | undefined): Session | undefined {
      sweep()
      const session = state === undefined ? undefined : states.get(state)
      return session && sessions.has(session.prefix) ? session : undefined
    },
    end,
    /** Calls back once, when the session ends by whatever cause. */
    onEnd(session: Session, callback: () => void): Timer {
      const held = sessions.get(session.prefix)
      if (!held) {
        callback()
        return { cancel() {} }
      }
      held.onEnd.add(callback)
      return { cancel: () => void held.onEnd.delete(callback) }
    },
  }
}

const PREFIX = /^\/s\/[0-9a-f]{32}(?=\/)/
const COOKIE = new RegExp(`(?:^|;\\s*)${SESSION_COOKIE}=([\\w-]+)`)

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
