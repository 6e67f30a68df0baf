// What handlers ask of a request again and again: its frame, the fields of its form, its session, and a note of who did what.

import type { Context } from 'hono'
import { asFailure, Failure } from '../protocol/errors.ts'
import { sameText } from '../protocol/secret.ts'
import type { Env, WebDeps } from './deps.ts'
import type { Frame, Notice, RouteName } from './model.ts'
import type { Session, Visitor } from './sessions.ts'

/** `path`: of the page that is shown, where it is not the one that was asked for. */
export const frameOf = (deps: Pick<WebDeps, 'settings'>, c: Context<Env>, path = c.req.path): Frame => {
  const session = c.get('session')
  return {
    language: c.get('language') ?? 'en',
    prefix: session?.prefix ?? '',
    csrf: session?.csrf ?? '',
    path,
    hostname: deps.settings().hostname,
  }
}

export type Fields = {
  /** Empty where it is absent. */
  text(name: string): string
  flag(name: string): boolean
  /** What was pasted as `name`, else the file of the field `file`. */
  textOrFile(name: string, file: string): Promise<string>
  /** What may be shown again in the form; never a key. */
  readonly typed: Readonly<Record<string, string>>
}

/** Views that show the whole model. */
export type PageView = 'overview' | 'importApp' | 'disable' | 'check' | 'keys'

/** What a form does; it gives the page to go to and what is said there. A Failure is shown on the form's own page, which is `view`. */
export type Deed = (fields: Fields, session: Session) => Promise<{ to: RouteName; notice?: Notice }>
export type AddForm = (route: RouteName, view: PageView, deed: Deed) => void

/** Throws `invalid-request` for what is no form, and `cross-site` where the form is not one of this session's pages. */
export const readFields = async (c: Context<Env>): Promise<Fields> => {
  const body = await c.req.parseBody().catch((cause: unknown) => {
    throw new Failure('invalid-request', 'the form cannot be read', { cause })
  })
  const text = (name: string): string => {
    const value = body[name]
    return typeof value === 'string' ? value.trim() : ''
  }
  if (!sameText(text('csrf'), c.get('session').csrf))
    throw new Failure('cross-site', 'the form is not one of this session')
  return {
    text,
    flag: name => text(name) === 'on',
    async textOrFile(name, file) {
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
 * Who did what, before it is done: in the name of whoever asked for the link. Where the log is closed, or cannot be written, the deed goes
 * on, as on admin.sock: it may be the remedy. Whether it was noted.
 */
export const noteDeed = (deps: Pick<WebDeps, 'operations' | 'log'>, { peer, name }: Visitor, deed: string): boolean => {
  try {
    deps.operations().noteRequest(peer, `page: ${deed}${name === undefined ? '' : ` by ${name}`}`)
    return true
  } catch (error) {
    const { uid, unit } = peer
    deps.log.warn('what was done on the page is not in the audit log', {
      deed,
      uid,
      ...(unit !== undefined && { unit }),
      ...(name !== undefined && { name }),
      error: asFailure(error),
    })
    return false
  }
}

const SECRET = new Set(['csrf', 'private_key', 'identity', 'key_file', 'identity_file'])
