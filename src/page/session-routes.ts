// The pages and forms of whoever is signed in, under the path of his session.

import { type Context, Hono } from 'hono'
import { asFailure, Failure } from '../protocol/errors.ts'
import { addCheckRoutes } from './check-routes.ts'
import { confirmModel } from './confirm.ts'
import { addConnectionForms } from './connection-forms.ts'
import type { Env, WebDeps } from './deps.ts'
import { assertFromHere } from './guards.ts'
import { addKeyForms } from './key-forms.ts'
import { createLive } from './live.ts'
import { failureFacts, modelOf } from './model-of.ts'
import { OPEN_ROUTES, type RouteName, ROUTES } from './model.ts'
import { type AddForm, frameOf, noteDeed, type PageView, readFields } from './requests.ts'
import type { Returns } from './returns.ts'
import type { Sessions } from './sessions.ts'
import { views } from './views/views.ts'

const PATH_OF: Readonly<Record<PageView, RouteName>> = {
  overview: 'overview',
  importApp: 'importForm',
  disable: 'disableForm',
  check: 'checkPage',
  keys: 'keysPage',
}

const MAX_FORM_BYTES = 128 * 1024

export const addSessionRoutes = (
  app: Hono<Env>,
  deps: WebDeps,
  access: { sessions: Sessions; returns: Returns; cookieOf: (c: Context<Env>) => string },
): void => {
  const { sessions, returns } = access
  const live = createLive(deps, sessions)
  const inside = new Hono<Env>({ strict: false })

  inside.use(async (c, next) => {
    const [, , id = ''] = c.req.path.split('/')
    const isGet = c.req.method === 'GET' || c.req.method === 'HEAD'
    // A person opens documents and sends forms; the rest is fetched by the page itself.
    const use = !isGet || (c.req.header('sec-fetch-dest') ?? 'document') === 'document'
    const name = c.get('front')?.user
    const session = sessions.find(`/s/${id}`, { cookie: access.cookieOf(c), name, use })
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

  const show = (
    c: Context<Env>,
    view: PageView,
    told: Parameters<typeof modelOf>[2] = {},
  ): Response | Promise<Response> => {
    const session = c.get('session')
    const { prefix } = session
    live.shown(session)
    const frame = frameOf(deps, c, prefix + ROUTES[PATH_OF[view]].path)
    return c.html(views[view](modelOf(deps, frame, told)))
  }
  const addPage = (view: PageView): void => {
    inside.get(ROUTES[PATH_OF[view]].path, c => {
      const session = c.get('session')
      const { said } = session
      if ((c.req.header('sec-fetch-dest') ?? 'document') === 'document') delete session.said
      return show(c, view, said)
    })
  }
  const addForm: AddForm = (route, view, deed) => {
    inside.post(ROUTES[route].path, async c => {
      const session = c.get('session')
      const fields = await readFields(c)
      const note = (): boolean => noteDeed(deps, session.visitor, ROUTES[route].path.slice(1))
      const noted = note()
      try {
        const { to, notice } = await deed(fields, session)
        // The log was closed until now, as with an unlock.
        if (!noted) note()
        if (notice) session.said = { notice }
        return c.redirect(session.prefix + ROUTES[to].path, 303)
      } catch (error) {
        const failure = asFailure(error)
        if (failure.code === 'internal') deps.log.error('a form failed', { path: route, error: failure })
        c.status(failure.entry.status)
        return show(c, view, { failure: failureFacts(failure), typed: fields.typed })
      }
    })
  }

  for (const view of ['overview', 'importApp', 'disable', 'keys'] as const) addPage(view)
  inside.get(ROUTES.confirm.path, c => {
    const { connection } = deps.operations().connectionState.read()
    const session = c.get('session')
    if (connection.kind !== 'awaiting-app' || connection.conversion || connection.account.type === 'enterprise')
      return c.redirect(`${session.prefix}/`, 303)
    // Also for one that was begun elsewhere: whoever goes on from here comes back here.
    returns.keep(connection.state, session)
    return c.html(views.confirm(confirmModel(deps, frameOf(deps, c), connection.state)))
  })
  inside.get(ROUTES.events.path, c => live.stream(c.get('session')))
  inside.post(ROUTES.signOut.path, async c => {
    await readFields(c)
    const session = c.get('session')
    noteDeed(deps, session.visitor, 'sign out')
    sessions.end(session)
    return c.redirect(OPEN_ROUTES.signedOut, 303)
  })
  addCheckRoutes(inside, deps, (c, report) => show(c, 'check', report && { check: report }))
  addConnectionForms(addForm, deps)
  addKeyForms(addForm, deps)

  app.route('/s/:id', inside)
}
