// The settings page: what holds for each request, what is open to everybody, and the way back from GitHub. Owns @hono/node-server.

import { getRequestListener } from '@hono/node-server'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Context, Hono } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { SLOWED_MS } from '../service/allowance.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import { addAssetRoutes } from './asset-routes.ts'
import { addReturnRoutes } from './callback.ts'
import { confirmModel } from './confirm.ts'
import type { Env, WebDeps } from './deps.ts'
import { assertFromHere, findBase, findFront, securityHeaders } from './guards.ts'
import { isLanguage, languageOf } from './language.ts'
import { failureFacts } from './model-of.ts'
import { OPEN_ROUTES } from './model.ts'
import { frameOf, noteDeed } from './requests.ts'
import { createReturns } from './returns.ts'
import { addSessionRoutes } from './session-routes.ts'
import { createSessions, type Sessions, SESSION_COOKIE, type Visitor } from './sessions.ts'
import { localPath } from './views/parts.ts'
import { views } from './views/views.ts'

export type { AppForm, WebDeps } from './deps.ts'

/** Not a secret, and sent to all pages: which language a person chose. */
const LANGUAGE_COOKIE = 'ghconnect_language'
const YEAR_S = 365 * 24 * 60 * 60
/** Where a web server in front vouches for its visitor, he needs no link. */
const FRONT_CODE = 'front'
const FRONT_MS = 5 * 60_000

export const createWeb = (deps: WebDeps): ((incoming: IncomingMessage, outgoing: ServerResponse) => void) => {
  const sessions = createSessions(deps)
  const app = createApp(deps, sessions)
  const listener = getRequestListener((request, env) => app.fetch(request, env), { overrideGlobalObjects: false })
  return (incoming, outgoing) => {
    const { url = '', headers } = incoming
    if (sessions.covers(url, headers.cookie ?? '') || deps.takeStranger()) {
      void listener(incoming, outgoing)
      return
    }
    const refuse = (): void =>
      void outgoing
        .writeHead(429, { 'content-type': 'text/plain', 'retry-after': '1', connection: 'close' })
        .end('Too many requests without a session. Try again in a moment.\n')
    deps.clock.after(SLOWED_MS, () => deps.inTurn(refuse))
  }
}

const createApp = (deps: WebDeps, sessions: Sessions): Hono<Env> => {
  const app = new Hono<Env>({ strict: false })
  const returns = createReturns()

  /** What each answer bears, also one that is refused before its path is looked at. */
  const protect = (c: Context<Env>): void => {
    for (const [name, value] of securityHeaders(deps.settings().githubUrl)) c.header(name, value)
    if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
  }

  const signIn = (c: Context<Env>, visitor: Visitor): Response => {
    const { session, cookie } = sessions.begin(visitor)
    setCookie(c, SESSION_COOKIE, cookie, {
      path: session.prefix,
      httpOnly: true,
      sameSite: 'Strict',
      secure: c.get('base').protocol === 'https:',
    })
    noteDeed(deps, visitor, 'sign in')
    return c.redirect(`${session.prefix}/`, 303)
  }

  app.use(async (c, next): Promise<Response | undefined> => {
    const { bases, frontUid } = deps.settings()
    const header = (name: string): string | undefined => c.req.header(name)
    const front = findFront(deps.peerOf(c.env.incoming), { frontUid, header })
    const base = findBase(bases, { header, front })
    if (!base) {
      protect(c)
      return c.text('This page is not served under that name.', 421)
    }
    c.set('base', base)
    c.set('front', front)
    c.set('language', languageOf(getCookie(c, LANGUAGE_COOKIE), header('accept-language')))
    await next()
    protect(c)
    return undefined
  })
  app.get('*', async (c, next): Promise<Response | undefined> => {
    const chosen = c.req.query('lang')
    if (!isLanguage(chosen)) {
      await next()
      return undefined
    }
    const secure = c.get('base').protocol === 'https:'
    setCookie(c, LANGUAGE_COOKIE, chosen, { path: '/', maxAge: YEAR_S, httpOnly: true, sameSite: 'Lax', secure })
    return c.redirect(localPath(new URL(c.req.url).pathname), 303)
  })

  addAssetRoutes(app)
  app.get('/', c => {
    if (c.get('front')?.user === undefined) return c.html(views.signedOut(frameOf(deps, c)))
    const nowMs = deps.clock.now()
    const frame = frameOf(deps, c, OPEN_ROUTES.signIn + FRONT_CODE)
    return c.html(views.signIn({ ...frame, nowMs, expiresAtMs: nowMs + FRONT_MS }))
  })
  app.get(OPEN_ROUTES.signedOut, c => c.html(views.signedOut(frameOf(deps, c))))
  app.get(`${OPEN_ROUTES.signIn}:code`, c => {
    const link = deps.links.find(c.req.param('code'))
    if (!link) throw new Failure('signed-out', USED)
    return c.html(views.signIn({ ...frameOf(deps, c), nowMs: deps.clock.now(), expiresAtMs: link.expiresAtMs }))
  })
  app.post(`${OPEN_ROUTES.signIn}:code`, c => {
    assertFromHere(c.get('base'), name => c.req.header(name))
    const code = c.req.param('code')
    const front = c.get('front')
    if (code === FRONT_CODE && front?.user !== undefined) return signIn(c, { peer: front.peer, name: front.user })
    const peer = deps.links.take(code)
    if (!peer) throw new Failure('signed-out', USED)
    return signIn(c, { peer })
  })
  app.get('/enable/:state{[0-9a-f]{32}}', c =>
    c.html(views.confirm(confirmModel(deps, frameOf(deps, c), c.req.param('state')))),
  )
  addReturnRoutes(app, deps, { returns, sessions })
  addSessionRoutes(app, deps, { sessions, returns, cookieOf: c => getCookie(c, SESSION_COOKIE) ?? '' })

  app.notFound(c => errorPage(c, new Failure('unknown-route', c.req.path)))
  app.onError((error, c) => errorPage(c, asFailure(error)))

  const errorPage = (c: Context<Env>, failure: Failure): Response | Promise<Response> => {
    if (failure.code === 'internal') deps.log.error('a page failed', { path: withoutCodes(c.req.path), error: failure })
    protect(c)
    c.status(failure.entry.status)
    return c.html(views.error({ ...frameOf(deps, c), failure: failureFacts(failure) }))
  }
  return app
}

/** Of an address that is known to nobody else: prefix of a session, code of a link, state of an enable. */
const withoutCodes = (path: string): string => path.replaceAll(/[0-9a-f]{32,}/g, '...')

const USED = 'the link was used, or has run out'
