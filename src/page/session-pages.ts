// The pages and forms of whoever is signed in, under the path of their session.

import { type Context, Hono } from 'hono'
import { getCookie } from 'hono/cookie'
import { asFailure, Failure } from '../protocol/errors.ts'
import type { CheckReport } from '../protocol/wire-check.ts'
import { createForms, type FormRoute, PAGE_OF } from './forms.ts'
import { assertFromHere } from './guards.ts'
import { createLive } from './live.ts'
import { confirmModelOf, modelOf } from './model-of.ts'
import { OPEN_ROUTES, type PageModel, ROUTES, type Said } from './model.ts'
import { type Env, frameOf, noteAction, readFields, type WebDeps } from './requests.ts'
import { type Sessions, SESSION_COOKIE } from './sessions.ts'
import { checkPage, checkRow, checkSummary } from './views/check.ts'
import { disablePage } from './views/disable.ts'
import type { Html } from './views/html.ts'
import { keysPage } from './views/keys.ts'
import { failureBanner } from './views/layout.ts'
import { overviewPage } from './views/overview.ts'
import { confirmPage } from './views/plain.ts'
import { importPage } from './views/setup.ts'

/** The pages that show the whole model, by their routes. */
export const PAGES = {
  overview: overviewPage,
  importForm: importPage,
  disableForm: disablePage,
  checkPage,
  keysPage,
} as const satisfies Record<string, (model: PageModel) => Html>
export type PageRoute = keyof typeof PAGES

const MAX_FORM_BYTES = 128 * 1024
const LINES = 'application/x-ndjson'

export const addSessionRoutes = (app: Hono<Env>, deps: WebDeps, sessions: Sessions): void => {
  const live = createLive(deps, sessions)
  const inside = new Hono<Env>({ strict: false })
  let checked: CheckReport | undefined

  inside.use(async (c, next) => {
    const [, , id = ''] = c.req.path.split('/')
    const isGet = c.req.method === 'GET' || c.req.method === 'HEAD'
    const cookie = getCookie(c, SESSION_COOKIE) ?? ''
    // A person opens documents and sends forms; the rest is fetched by the page itself.
    const use = !isGet || isDocument(c)
    const session = sessions.find(`/s/${id}`, { cookie, name: c.get('front')?.user, use })
    if (!session) throw new Failure('signed-out', 'the session has ended, or it is that of another browser')
    if (!isGet) assertFromHere(c.get('base'), header => c.req.header(header))
    c.set('session', session)
    await next()
  })
  inside.post('*', async (c, next) => {
    // A browser tells the length of a form; what has none cannot be bounded before it is read.
    const length = c.req.header('content-length')
    if (length === undefined) throw new Failure('invalid-request', 'a form needs a content-length')
    if (Number(length) > MAX_FORM_BYTES)
      throw new Failure('body-too-large', `a form has at most ${MAX_FORM_BYTES / 1024} KiB`)
    await next()
  })

  const show = (c: Context<Env>, route: PageRoute, said: Said = {}): Response | Promise<Response> => {
    const session = c.get('session')
    live.shown(session)
    const frame = frameOf(deps, c, session.prefix + ROUTES[route].path)
    return c.html(PAGES[route](modelOf(deps, frame, { ...said, ...(checked && { check: checked }) })))
  }
  for (const route of Object.keys(PAGES) as PageRoute[]) {
    inside.get(ROUTES[route].path, c => {
      const session = c.get('session')
      const { said } = session
      if (isDocument(c)) delete session.said
      return show(c, route, said)
    })
  }
  const forms = createForms(deps)
  for (const route of Object.keys(forms) as FormRoute[]) {
    const { path } = ROUTES[route]
    inside.post(path, async c => {
      const session = c.get('session')
      const fields = await readFields(c)
      const note = (): boolean => noteAction(deps, session.visitor, path.slice(1))
      const noted = note()
      try {
        const { to, notice } = await forms[route](fields, session)
        // The log was closed until now, as with an unlock.
        if (!noted) note()
        if (notice) session.said = { notice }
        return c.redirect(session.prefix + ROUTES[to].path, 303)
      } catch (error) {
        const failure = asFailure(error)
        if (failure.code === 'internal') deps.log.error('a form failed', { path: route, error: failure })
        c.status(failure.entry.status)
        return show(c, PAGE_OF[route] ?? 'overview', { failure, typed: fields.typed })
      }
    })
  }

  inside.get(ROUTES.confirm.path, c => {
    const { connection } = deps.operations().connectionState.read()
    const session = c.get('session')
    if (connection.kind !== 'awaiting-app' || connection.conversion || connection.account.type === 'enterprise')
      return c.redirect(`${session.prefix}/`, 303)
    // Also for one that was begun elsewhere: whoever goes on from here comes back here.
    sessions.keepState(session, connection.state)
    return c.html(confirmPage(confirmModelOf(deps, frameOf(deps, c), connection.state)))
  })
  inside.get(ROUTES.events.path, c => live.stream(c.get('session')))
  inside.post(ROUTES.signOut.path, async c => {
    await readFields(c)
    const session = c.get('session')
    noteAction(deps, session.visitor, 'sign out')
    sessions.end(session)
    return c.redirect(OPEN_ROUTES.signedOut, 303)
  })
  inside.post(ROUTES.check.path, async c => {
    await readFields(c)
    const { visitor, prefix } = c.get('session')
    noteAction(deps, visitor, 'check')
    if (c.req.header('accept') === LINES) return c.body(checkLines(c), 200, { 'content-type': LINES })
    checked = await deps.check(() => {})
    return c.redirect(prefix + ROUTES.checkPage.path, 303)
  })

  /** A line for each row as it comes, one for the whole at the end, or for what it broke off with. */
  const checkLines = (c: Context<Env>): ReadableStream<Uint8Array> => {
    const language = c.get('language')
    const encoder = new TextEncoder()
    let isRead = true
    return new ReadableStream({
      async start(controller) {
        const send = async (name: 'row' | 'summary', part: Html): Promise<void> => {
          const text = String(await part)
          if (isRead) controller.enqueue(encoder.encode(`${JSON.stringify({ [name]: text })}\n`))
        }
        const sending: Promise<void>[] = []
        try {
          checked = await deps.check(row => void sending.push(send('row', checkRow(row, language))))
          await Promise.all(sending)
          await send('summary', checkSummary(checked, { language, nowMs: deps.clock.now() }))
        } catch (error) {
          const failure = asFailure(error)
          deps.log.error('a check broke off', { error: failure })
          await send('summary', failureBanner(failure, language))
        }
        if (isRead) controller.close()
      },
      cancel() {
        isRead = false
      },
    })
  }

  app.route('/s/:id', inside)
}

/** What a browser opens for a person, and not what the page fetches by itself. */
const isDocument = (c: Context<Env>): boolean => (c.req.header('sec-fetch-dest') ?? 'document') === 'document'
