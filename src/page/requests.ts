// What the handlers of the page are given, and what they ask of a request: its frame, the fields of its form, and a note of who did what.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context } from 'hono'
import { asFailure, Failure } from '../protocol/errors.ts'
import type { FeatureName } from '../protocol/features.ts'
import type { Peer, Policy } from '../protocol/profile.ts'
import { sameText, type Secret } from '../protocol/secret.ts'
import type { PublicStatus, Status } from '../protocol/wire.ts'
import type { CheckReport, CheckRow } from '../protocol/wire-check.ts'
import type { Events } from '../core/audit/events.ts'
import type { Engine } from '../core/engine.ts'
import type { Clock } from '../service/clock.ts'
import type { Log } from '../service/log.ts'
import type { Front } from './guards.ts'
import type { Frame, Language } from './model.ts'
import type { Links, Session, Visitor } from './sessions.ts'

export type WebSettings = {
  /** Addresses by which a browser may reach this page; any other name was made to point here (DNS rebinding). */
  readonly bases: readonly string[]
  readonly frontUid: number | undefined
  readonly githubUrl: string
  readonly apiUrl: string
  readonly hostname: string
  readonly policy: Policy
  /** Those of GitHub Connect that are switched on. */
  readonly features: readonly FeatureName[]
}

/** Everything that the page shows and does goes through these. */
export type WebDeps = {
  readonly links: Links
  /** Throws while the store is closed. */
  readonly operations: () => Engine
  readonly status: () => Status | PublicStatus
  /** Throws `invalid-request`. */
  readonly readIdentities: (text: string) => Promise<readonly Secret[]>
  /** The doctor; `tell` is called with each row as it is known. Also where the store is closed. */
  readonly check: (tell: (row: CheckRow) => void) => Promise<CheckReport>
  /** Also where the store is closed. */
  readonly unlock: (identities: readonly Secret[]) => Promise<void>
  /** Who is at the other end; undefined where the page listens on a port. */
  readonly peerOf: (incoming: IncomingMessage) => Peer | undefined
  /** The user that the daemon runs as. */
  readonly ownUid: number
  readonly events: Events
  readonly clock: Clock
  readonly log: Log
  readonly settings: () => WebSettings
  /** For a request without a session; all of them share one allowance. False where it is used up. */
  readonly takeStranger: () => boolean
  /** Runs the task, which refuses, in a turn of the event loop that is not full of such. */
  readonly inTurn: (task: () => void) => void
}

/** A request as the handlers see it. */
export type Env = {
  Bindings: { incoming: IncomingMessage; outgoing: ServerResponse }
  Variables: { base: URL; front: Front | undefined; language: Language; session: Session }
}

/** `path`: of the page that is shown, where it is not the one that was asked for. */
export const frameOf = (deps: WebDeps, c: Context<Env>, path = c.req.path): Frame => {
  const session = c.get('session')
  return {
    language: c.get('language') ?? 'en',
    prefix: session?.prefix ?? '',
    csrf: session?.csrf ?? '',
    path,
    hostname: deps.settings().hostname,
  }
}

/** Shown again in the form that failed: everything but these. */
const SECRET = new Set(['csrf', 'private_key', 'identity', 'key_file', 'identity_file'])

export type Fields = Awaited<ReturnType<typeof readFields>>

/** Throws `invalid-request` for what is no form, and `cross-site` where the form is not one of this session's pages. */
export const readFields = async (c: Context<Env>) => {
  const body = await c.req.parseBody().catch((cause: unknown) => {
    throw new Failure('invalid-request', 'the form cannot be read', { cause })
  })
  /** Empty where it is absent. */
  const text = (name: string): string => {
    const value = body[name]
    return typeof value === 'string' ? value.trim() : ''
  }
  if (!sameText(text('csrf'), c.get('session').csrf))
    throw new Failure('cross-site', 'the form is not one of this session')
  return {
    text,
    flag: (name: string): boolean => text(name) === 'on',
    /** What was pasted as `name`, else the file of the field `file`. */
    async textOrFile(name: string, file: string): Promise<string> {
      const value = body[file]
      return text(name) || (value instanceof File ? (await value.text()).trim() : '')
    },
    typed: Object.fromEntries(
      Object.keys(body)
        .filter(name => !SECRET.has(name))
        .map(name => [name, text(name)]),
    ),
  }
}

/**
 * Who did what, before it is done: in the name of whoever asked for the link. Where the log is closed, or cannot be written, the action goes
 * on, as on admin.sock: it may be the remedy. Whether it was noted.
 */
export const noteAction = (deps: WebDeps, { peer, name }: Visitor, action: string): boolean => {
  try {
    deps.operations().noteRequest(peer, `page: ${action}${name === undefined ? '' : ` by ${name}`}`)
    return true
  } catch (error) {
    const { uid, unit } = peer
    deps.log.warn('what was done on the page is not in the audit log', {
      deed: action,
      uid,
      ...(unit !== undefined && { unit }),
      ...(name !== undefined && { name }),
      error: asFailure(error),
    })
    return false
  }
}
