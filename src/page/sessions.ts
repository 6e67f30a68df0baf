// Who is signed in to the page: sessions of fifteen idle minutes, in memory only, each under a path of its own that nobody can guess.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Peer } from '../protocol/profile.ts'
import type { Clock, Timer } from '../service/clock.ts'
import type { FailureFacts, Language, Notice } from './model.ts'

/** `peer` asked for the link, or is the web server in front; `name` is what that one calls its visitor. */
export type Visitor = { readonly peer: Peer; readonly name?: string }

export type Session = {
  readonly visitor: Visitor
  /** Cookies are sent to every port of a host; only this path keeps ours from the other ports' servers. */
  readonly prefix: string
  readonly csrf: string
  language?: Language
  /** Shown by the next page, once. */
  said?: { readonly notice?: Notice; readonly failure?: FailureFacts }
}

export type Sessions = {
  /** The cookie's value is in no page, log or store. */
  begin(visitor: Visitor): { readonly session: Session; readonly cookie: string }
  /** `use`: a person did something. What a page fetches by itself does not keep a session alive. */
  find(prefix: string, options: { cookie: string; name: string | undefined; use: boolean }): Session | undefined
  /** Whether a request for `path` with this Cookie header belongs to a session. Neither uses nor ends one. */
  covers(path: string, cookies: string): boolean
  /** Whether it has not ended yet. */
  has(session: Session): boolean
  end(session: Session): void
  /** Calls back once, when the session ends by whatever cause. */
  onEnd(session: Session, callback: () => void): Timer
}

export const SESSION_COOKIE = 'ghconnect_session'
const IDLE_MS = 15 * 60_000
const CHECK_MS = 15_000
const MAX_SESSIONS = 32

type Held = {
  readonly session: Session
  readonly cookieHash: Buffer
  readonly onEnd: Set<() => void>
  usedAtMs: number
  usedAtMonotonicMs: number
}

export const createSessions = ({ clock }: { clock: Pick<Clock, 'now' | 'monotonic' | 'every'> }): Sessions => {
  const sessions = new Map<string, Held>()
  let sweeper: Timer | undefined

  const end = ({ prefix }: Session): void => {
    const held = sessions.get(prefix)
    if (!held) return
    sessions.delete(prefix)
    for (const callback of held.onEnd) callback()
  }
  /** By both clocks: the monotonic one stands still while the machine sleeps, the other may be set back. */
  const isIdle = ({ usedAtMs, usedAtMonotonicMs }: Held): boolean =>
    clock.now() - usedAtMs >= IDLE_MS || clock.monotonic() - usedAtMonotonicMs >= IDLE_MS
  const sweep = (): void => {
    for (const held of sessions.values()) if (isIdle(held)) end(held.session)
    if (sessions.size > 0) return
    sweeper?.cancel()
    sweeper = undefined
  }
  const touch = (held: Held): void => {
    held.usedAtMs = clock.now()
    held.usedAtMonotonicMs = clock.monotonic()
    // The map's order is that of use: where there are too many, the one that was idle longest goes.
    sessions.delete(held.session.prefix)
    sessions.set(held.session.prefix, held)
  }

  return {
    begin(visitor) {
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
    find(prefix, { cookie, name, use }) {
      const held = sessions.get(prefix)
      if (!held || !timingSafeEqual(held.cookieHash, digest(cookie))) return undefined
      if (isIdle(held)) {
        end(held.session)
        return undefined
      }
      // The front says with each request who its visitor is: once that is another, or nobody, the session is not his.
      if (held.session.visitor.name !== name && held.session.visitor.name !== undefined) return undefined
      if (use) touch(held)
      return held.session
    },
    covers(path, cookies) {
      const held = sessions.get(PREFIX.exec(path)?.[0] ?? '')
      const cookie = COOKIE.exec(cookies)?.[1]
      return held !== undefined && cookie !== undefined && timingSafeEqual(held.cookieHash, digest(cookie))
    },
    has({ prefix }) {
      sweep()
      return sessions.has(prefix)
    },
    end,
    onEnd(session, callback) {
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
