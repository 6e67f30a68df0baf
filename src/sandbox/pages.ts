// The web pages, as a person with a browser sees them: all of them, and what they share.

import { Hono } from 'hono'
import { html } from 'hono/html'
import { requestId } from './exchange.ts'
import { page, problem } from './layout.ts'
import { addInstallPages } from './install-pages.ts'
import { addManifestPages } from './manifest-pages.ts'
import type { Parts } from './parts.ts'
import { ownerPath } from './shapes.ts'
import { addSettingsPages } from './settings-pages.ts'

export const createPages = (parts: Parts): Hono => {
  const { world, clock, url } = parts
  const pages = new Hono()
  pages.use(async (c, next) => {
    await next()
    c.res.headers.set('x-github-request-id', requestId(parts.requestIds, clock.nowMs()))
    c.res.headers.set('date', new Date(clock.nowMs()).toUTCString())
  })
  pages.get('/', () =>
    page(
      'GitHub sandbox',
      html`<p>API: <code>${url}/api/v3</code>. Control: <code>${url}/_sandbox/state</code>.</p>
<h2>Apps</h2>
<ul>${[...world.apps.values()].map(
        app =>
          html`<li><a href="${ownerPath(app.owner)}/settings/apps/${app.slug}">${app.name}</a> of ${app.owner.login}</li>`,
      )}</ul>
<h2>Accounts</h2>
<ul>${world.accounts.map(a => html`<li>${a.login} (${a.kind})</li>`)}</ul>`,
    ),
  )
  addManifestPages(pages, parts)
  addSettingsPages(pages, parts)
  addInstallPages(pages, parts)
  pages.notFound(() => problem(404, 'There is nothing here.'))
  return pages
}
