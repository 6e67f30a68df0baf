// The settings page: what holds for each request, and what is open to everybody. Owns @hono/node-server.

import { getRequestListener } from '@hono/node-server'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Context, Hono } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { SLOWED_MS } from '../service/limits.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import { isoTime } from '../protocol/wire.ts'
import { addAssetRoutes } from './assets.ts'
import { addReturnRoutes } from './callback.ts'
import { assertFromHere, findBase, findFront, isLanguage, languageOf, securityHeaders } from './guards.ts'
import { confirmModelOf } from './model-of.ts'
import { OPEN_ROUTES } from './model.ts'
import { type Env, frameOf, noteAction, type WebDeps } from './requests.ts'
import { addSessionRoutes } from './session-pages.ts'
import { createSessions, type Sessions, SESSION_COOKIE, type Visitor } from './sessions.ts'
import { localPath } from './views/parts.ts'
import { confirmPage, problemPage, signedOutPage, signInPage } from './views/plain.ts'

/** Not a secret, and sent to all pages: which language a person chose. */
const LANGUAGE_COOKIE = 'ghconnect_language'
const YEAR_S = 365 * 24 * 60 * 60
/** Where a web server in front vouches for its visitor, they need no link. */
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
    noteAction(deps, visitor, 'sign in')
    return c.redirect(`${session.prefix}/`, 303)
  }

  const showSignIn = (c: Context<Env>, expiresAtMs: number, path?: string): Response | Promise<Response> =>
    c.html(signInPage({ ...frameOf(deps, c, path), nowMs: deps.clock.now(), expiresAt: isoTime(expiresAtMs) }))

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
    if (c.get('front')?.user === undefined) return c.html(signedOutPage(frameOf(deps, c)))
    return showSignIn(c, deps.clock.now() + FRONT_MS, OPEN_ROUTES.signIn + FRONT_CODE)
  })
  app.get(OPEN_ROUTES.signedOut, c => c.html(signedOutPage(frameOf(deps, c))))
  app.get(`${OPEN_ROUTES.signIn}:code`, c => {
    const link = deps.links.find(c.req.param('code'))
    if (!link) throw new Failure('signed-out', USED)
    return showSignIn(c, link.expiresAtMs)
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
    c.html(confirmPage(confirmModelOf(deps, frameOf(deps, c), c.req.param('state')))),
  )
  addReturnRoutes(app, deps, sessions)
  addSessionRoutes(app, deps, sessions)

  app.notFound(c => showProblem(c, new Failure('unknown-route', c.req.path)))
  app.onError((error, c) => showProblem(c, asFailure(error)))

  const showProblem = (c: Context<Env>, failure: Failure): Response | Promise<Response> => {
    if (failure.code === 'internal') deps.log.error('a page failed', { path: withoutCodes(c.req.path), error: failure })
    protect(c)
    c.status(failure.entry.status)
    return c.html(problemPage(frameOf(deps, c), failure))
  }
  return app
}

/** Of an address that is known to nobody else: prefix of a session, code of a link, state of an enable. */
const withoutCodes = (path: string): string => path.replaceAll(/[0-9a-f]{32,}/g, '...')

const USED = 'the link was used, or has run out'
