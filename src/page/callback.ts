// The way back from GitHub. Its redirects come from another site, so without the session's cookie: the single-use state is what is trusted.

import type { Context, Hono } from 'hono'
import { asFailure, Failure } from '../protocol/errors.ts'
import { type Env, frameOf, type WebDeps } from './requests.ts'
import type { Session, Sessions } from './sessions.ts'
import { hopPage, statePage } from './views/plain.ts'

const LOOK_GAP_MS = 1_000

/** GitHub could not be reached, and the daemon goes on asking for the key. */
const isAskedAgain = ({ entry: { status } }: Failure, { operations }: WebDeps): boolean => {
  const { connection } = operations().connectionState.read()
  return (status === 502 || status === 504) && connection.kind === 'awaiting-app' && connection.conversion !== undefined
}

export const addReturnRoutes = (app: Hono<Env>, deps: WebDeps, sessions: Sessions): void => {
  let looking: Promise<void> | undefined
  let lookedAtMs = Number.NEGATIVE_INFINITY
  /** Anybody may come by: GitHub is asked by one visitor at a time, and not at once again. */
  const look = async (): Promise<void> => {
    if (looking || deps.clock.monotonic() - lookedAtMs < LOOK_GAP_MS) return looking
    looking = deps
      .operations()
      .enable.resume()
      .finally(() => {
        looking = undefined
        lookedAtMs = deps.clock.monotonic()
      })
    return looking
  }

  app.get('/callback', async c => {
    const [code, state] = [c.req.query('code'), c.req.query('state')]
    if (!code || !state) throw new Failure('invalid-request', 'GitHub sends `code` and `state`')
    // Whoever stayed at GitHub's for long has no session any more.
    const session = sessions.findByState(state)
    try {
      const connection = await deps.operations().enable.complete({ code, state, trusted: false })
      if (!('app' in connection)) return c.redirect('/done', 303)
      // GitHub gives the state back after the installation, too.
      const query = session ? `?${new URLSearchParams({ state }).toString()}` : ''
      return c.redirect(`${connection.app.htmlUrl}/installations/new${query}`, 303)
    } catch (error) {
      const failure = asFailure(error)
      // The code is stored, and asked for again: to the owner nothing has failed.
      if (!session && isAskedAgain(failure, deps)) return c.redirect('/done', 303)
      if (!session || failure.code === 'internal') throw failure
      session.said = { failure }
      return hop(c, session)
    }
  })
  app.get('/setup', async c => {
    await look()
    const session = sessions.findByState(c.req.query('state'))
    return session ? hop(c, session) : c.redirect('/done', 303)
  })
  app.get('/done', c => c.html(statePage(frameOf(deps, c), deps.operations().connectionState.explain())))

  /** A redirect would go on without the cookie, as its chain began on another site; a page of ours begins a new one. */
  const hop = (c: Context<Env>, { prefix }: Session): Response | Promise<Response> => {
    c.header('refresh', `0; url=${prefix}/`)
    return c.html(hopPage(frameOf(deps, c), `${prefix}/`))
  }
}
