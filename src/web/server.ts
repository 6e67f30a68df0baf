// The page that the administrator's browser sees: the form that creates the App, and the way back from GitHub.

import { getRequestListener } from '@hono/node-server'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Context, Hono } from 'hono'
import { html } from 'hono/html'
import type { Account, App } from '../domain/connection.ts'
import { asFailure, Failure } from '../domain/errors.ts'
import { describePermissions, type Permissions } from '../domain/scope.ts'
import type { Operations } from '../operations/operations.ts'
import type { Log } from '../platform/log.ts'
import { type Html, page, STYLE } from './page.ts'

/** What GitHub is asked to create, as its form takes it. */
export type AppForm = {
  readonly action: string
  readonly manifest: Readonly<Record<string, unknown>>
  readonly permissions: Permissions
}

export type WebDeps = {
  readonly operations: () => Operations
  readonly appForm: (account: Account, state: string) => AppForm
  /** Hosts by which a browser may call this page; any other was made to point here (DNS rebinding). */
  readonly hosts: () => ReadonlySet<string>
  readonly githubUrl: () => string
  readonly log: Log
}

export const createWeb = (deps: WebDeps): ((incoming: IncomingMessage, outgoing: ServerResponse) => void) => {
  const app = new Hono()

  app.use(async (c, next): Promise<Response | undefined> => {
    if (!deps.hosts().has(c.req.header('host') ?? '')) return c.text('This page is not served under that name.', 421)
    await next()
    // GitHub's form is posted to from here, and answers with redirects; nothing else may be loaded, framed or posted to.
    const target = new URL(deps.githubUrl()).origin
    c.header(
      'content-security-policy',
      `default-src 'none'; style-src 'self'; form-action 'self' ${target}; frame-ancestors 'none'; base-uri 'none'`,
    )
    c.header('referrer-policy', 'no-referrer')
    c.header('x-content-type-options', 'nosniff')
    c.header('cache-control', 'no-store')
    return undefined
  })

  app.get('/style.css', c => c.body(STYLE, 200, { 'content-type': 'text/css; charset=utf-8' }))
  app.get('/', c =>
    c.html(
      page(
        'GitHub Connect',
        html`<p>Run <code>ghconnect status</code> to see the connection, and <code>ghconnect enable</code> for a link.</p>`,
      ),
    ),
  )
  app.get('/enable/:state{[0-9a-f]{32}}', c => enablePage(c, deps))
  // GitHub's redirect comes without cookies: the single-use state in it is what is trusted, and nothing else.
  app.get('/callback', c => callback(c, deps))
  app.get('/setup', async c => {
    await deps.operations().enable.resume()
    return c.redirect('/done', 303)
  })
  app.get('/done', c => c.html(donePage(deps)))
  app.notFound(c =>
    c.html(
      page(
        'There is no such page',
        html`<p>Links of <code>ghconnect enable</code> are good for one hour and one use.</p>`,
      ),
      404,
    ),
  )
  app.onError((error, c) => {
    const failure = asFailure(error)
    if (failure.code === 'internal') deps.log.error('a page failed', { path: c.req.path, error })
    c.status(failure.entry.status)
    return c.html(failurePage(failure))
  })

  const listener = getRequestListener(request => app.fetch(request), { overrideGlobalObjects: false })
  return (incoming, outgoing) => void listener(incoming, outgoing)
}

const enablePage = (c: Context, deps: WebDeps): Response | Promise<Response> => {
  const state = c.req.param('state') ?? ''
  const pending = deps.operations().enable.findPending(state)
  if (!pending || pending.conversion) throw new Failure('no-enable-pending', 'the link was used or has run out')
  const form = deps.appForm(pending.account, state)
  return c.html(
    page(
      'Enable GitHub Connect',
      html`<p>GitHub will ask an owner of <strong>${pending.account.login}</strong> to create a GitHub App named <strong>${form.manifest['name']}</strong>
with these permissions, and then where to install it:</p>
<p><code>${describePermissions(form.permissions)}</code></p>
<form method="post" action="${form.action}">
<input type="hidden" name="manifest" value="${JSON.stringify(form.manifest)}">
<button type="submit">Create the App on GitHub</button>
</form>
<p>The App's private key goes from GitHub to this machine only, and is stored encrypted.</p>`,
    ),
  )
}

const callback = async (c: Context, deps: WebDeps): Promise<Response> => {
  const code = c.req.query('code')
  const state = c.req.query('state')
  if (!code || !state) throw new Failure('invalid-request', 'GitHub sends `code` and `state`')
  const connection = await deps.operations().enable.complete({ code, state, trusted: false })
  const app: App | undefined = 'app' in connection ? connection.app : undefined
  return c.redirect(app ? `${app.htmlUrl}/installations/new` : '/done', 303)
}

const donePage = (deps: WebDeps): Html => {
  const { meaning, next } = deps.operations().journey.explain()
  return page('GitHub Connect', html`<p>${meaning}</p><p>${next}</p>`)
}

const failurePage = (failure: Failure): Html =>
  page(failure.entry.title, html`<p>${failure.message}</p><p>${failure.entry.next}</p>`)
