// An App's settings: its ids, its keys and its end. No API does what these pages do.

import type { Context, Hono } from 'hono'
import { html } from 'hono/html'
import { isoSeconds } from './clock.ts'
import { button, page, problem, redirect } from './layout.ts'
import { OWNER_PREFIXES } from './owners.ts'
import type { Parts } from './parts.ts'
import { permissionsPage, readPermissions } from './permission-form.ts'
import type { App } from './records.ts'
import { ownerPath } from './shapes.ts'
import { MAX_KEYS } from './world.ts'

export const addSettingsPages = (pages: Hono, parts: Parts): void => {
  const { world, clock } = parts
  for (const { prefix, find } of OWNER_PREFIXES) {
    const withApp =
      (act: (app: App, c: Context) => Response | Promise<Response>) =>
      (c: Context): Response | Promise<Response> => {
        const app = world.findAppBySlug(c.req.param('slug') ?? '')
        const owner = find(world, c.req.param('owner'))
        return app && app.owner === owner ? act(app, c) : problem(404, 'There is no such App.')
      }

    pages.get(`${prefix}/apps`, c => {
      const owner = find(world, c.req.param('owner'))
      if (!owner) return problem(404, 'There is no such account.')
      const apps = [...world.apps.values()].filter(app => app.owner === owner)
      return page(
        `GitHub Apps of ${owner.login}`,
        html`<ul>${apps.map(app => html`<li><a href="${settingsOf(app)}">${app.name}</a></li>`)}</ul>`,
      )
    })
    pages.get(
      `${prefix}/apps/:slug`,
      withApp(app => settingsPage(app)),
    )
    pages.get(
      `${prefix}/apps/:slug/advanced`,
      withApp(app =>
        page(
          `Danger zone: ${app.name}`,
          html`<p>Deleting an App ends its installations and its tokens. It cannot be undone.</p>
${button(`${settingsOf(app)}/delete`, 'Delete GitHub App')}`,
        ),
      ),
    )
    pages.get(
      `${prefix}/apps/:slug/permissions`,
      withApp(app => permissionsPage(app, `${settingsOf(app)}/permissions`)),
    )
    pages.post(
      `${prefix}/apps/:slug/permissions`,
      withApp(async (app, c) => {
        const wanted = readPermissions(await c.req.text())
        if (!wanted) return problem(422, 'There is no such permission.')
        world.setAppPermissions(app, wanted)
        return redirect(settingsOf(app))
      }),
    )
    pages.post(
      `${prefix}/apps/:slug/delete`,
      withApp(app => {
        world.deleteApp(app)
        return redirect('/')
      }),
    )
    pages.post(
      `${prefix}/apps/:slug/keys`,
      withApp(async app => {
        if (app.keys.length >= MAX_KEYS) return problem(422, `An App can have at most ${MAX_KEYS} private keys.`)
        const { pem } = await world.addKey(app)
        const day = isoSeconds(clock.nowMs()).slice(0, 10)
        return new Response(pem, {
          headers: {
            'content-type': 'application/x-pem-file',
            'content-disposition': `attachment; filename="${app.slug}.${day}.private-key.pem"`,
            'cache-control': 'no-store',
          },
        })
      }),
    )
    pages.post(
      `${prefix}/apps/:slug/keys/:key/delete`,
      withApp((app, c) => {
        if (app.keys.length === 1) return problem(422, 'Generate another private key before you delete the last one.')
        world.removeKeys(app, Number(c.req.param('key')))
        return redirect(settingsOf(app))
      }),
    )
  }
}

const settingsOf = (app: App): string => `${ownerPath(app.owner)}/settings/apps/${app.slug}`

const settingsPage = (app: App): Promise<Response> =>
  page(
    app.name,
    html`<dl>
<dt>App ID</dt><dd><code id="app-id">${app.id}</code></dd>
<dt>Client ID</dt><dd><code id="client-id">${app.clientId}</code></dd>
<dt>Owner</dt><dd>${app.owner.login}</dd>
<dt>Permissions</dt><dd>${Object.entries(app.permissions)
      .map(([name, level]) => `${name}: ${level}`)
      .join(', ')}</dd>
</dl>
<h2>Private keys</h2>
${app.keys.length === 0 ? html`<p>None yet. The App cannot sign in without one.</p>` : ''}
<ul>${app.keys.map(
      key =>
        html`<li><code>${key.fingerprint}</code> added ${isoSeconds(key.createdAtMs)} ${button(`${settingsOf(app)}/keys/${key.id}/delete`, 'Delete')}</li>`,
    )}</ul>
${button(`${settingsOf(app)}/keys`, 'Generate a private key')}
<p><a href="/apps/${app.slug}/installations/new">Install App</a> · <a href="${settingsOf(app)}/permissions">Permissions</a> · <a href="${settingsOf(app)}/advanced">Advanced</a></p>`,
  )
