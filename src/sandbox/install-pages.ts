// Installing an App, and an installation's own settings: repositories, suspension, the end.

import type { Context, Hono } from 'hono'
import { html } from 'hono/html'
import { button, page, problem, redirect, withQuery } from './layout.ts'
import { OWNER_PREFIXES } from './owners.ts'
import type { Parts } from './parts.ts'
import type { Account, App, Installation } from './records.ts'
import { installationPage } from './shapes.ts'
import { requestOf } from './permission-form.ts'
import type { World } from './world.ts'

export const addInstallPages = (pages: Hono, { world, url }: Parts): void => {
  pages.get('/apps/:slug', c => {
    const app = world.findAppBySlug(c.req.param('slug'))
    if (!app) return problem(404, 'There is no such App.')
    return page(app.name, html`<p><a href="/apps/${app.slug}/installations/new">Install</a></p>`)
  })
  pages.get('/apps/:slug/installations/new', c => {
    const app = world.findAppBySlug(c.req.param('slug'))
    return app ? installForm(world, app, c.req.query('state')) : problem(404, 'There is no such App.')
  })
  pages.post('/apps/:slug/installations/new', async c => {
    const app = world.findAppBySlug(c.req.param('slug'))
    if (!app) return problem(404, 'There is no such App.')
    const form = new URLSearchParams(await c.req.text())
    const account = placesFor(world, app).find(a => a.login === form.get('account'))
    if (!account) return problem(422, 'The App cannot be installed on that account.')
    const chosen = chosenIds(world, account, form)
    if (typeof chosen === 'string') return problem(422, chosen)
    const again = world.findInstallationOf(app, account) !== undefined
    const installation = world.install(app, account, chosen)
    if (app.setupUrl === undefined || (again && !app.setupOnUpdate))
      return redirect(installationPage(url, account, installation.id))
    return redirect(
      withQuery(app.setupUrl, {
        installation_id: String(installation.id),
        setup_action: again ? 'update' : 'install',
        state: form.get('state') ?? undefined,
      }),
    )
  })

  for (const { prefix, find } of OWNER_PREFIXES) {
    const base = `${prefix}/installations/:id`
    const withInstallation =
      (act: (installation: Installation, c: Context) => Response | Promise<Response>) =>
      (c: Context): Response | Promise<Response> => {
        const found = world.installations.get(Number(c.req.param('id')))
        if (!found || found.account !== find(world, c.req.param('owner')))
          return problem(404, 'There is no such installation.')
        return act(found, c)
      }
    const back = (i: Installation): Response => redirect(installationPage(url, i.account, i.id))

    pages.get(
      base,
      withInstallation((i, c) => settingsPage(world, i, c.req.path)),
    )
    pages.post(
      `${base}/permissions`,
      withInstallation(i => {
        world.setPermissions(i, i.app.permissions)
        return back(i)
      }),
    )
    pages.post(
      `${base}/suspend`,
      withInstallation(i => {
        world.setSuspended(i, true)
        return back(i)
      }),
    )
    pages.post(
      `${base}/unsuspend`,
      withInstallation(i => {
        world.setSuspended(i, false)
        return back(i)
      }),
    )
    pages.post(
      `${base}/uninstall`,
      withInstallation(i => {
        world.uninstall(i)
        return redirect('/')
      }),
    )
    pages.post(
      `${base}/repositories`,
      withInstallation(async (i, c) => {
        const chosen = chosenIds(world, i.account, new URLSearchParams(await c.req.text()))
        if (typeof chosen === 'string') return problem(422, chosen)
        world.setRepositories(i, chosen)
        return back(i)
      }),
    )
  }
}

/** A private App goes onto its owner alone; an enterprise's also onto the enterprise's organizations. */
const placesFor = (world: World, app: App): Account[] => [
  app.owner,
  ...world.accounts.filter(
    a =>
      a !== app.owner &&
      ((app.public && a.kind !== 'Enterprise') ||
        (app.owner.kind === 'Enterprise' && a.enterprise === app.owner.login)),
  ),
]

/** `undefined` is all of them; a text says what is wrong. */
const chosenIds = (world: World, account: Account, form: URLSearchParams): ReadonlySet<number> | string | undefined => {
  if (form.get('repository_selection') !== 'selected') return undefined
  const chosen = form.getAll('repositories').map(fullName => {
    const [owner = '', name = ''] = fullName.split('/')
    const found = world.findRepository(owner, name)
    return found?.owner === account ? found.id : undefined
  })
  const ids = chosen.filter(id => id !== undefined)
  if (ids.length === 0) return 'Select at least one repository.'
  return ids.length === chosen.length ? new Set(ids) : 'That repository is not one of the account.'
}

const boxes = (world: World, accounts: readonly Account[], checked: (id: number) => boolean) =>
  [...world.repositories.values()]
    .filter(r => accounts.includes(r.owner))
    .map(r => {
      const fullName = `${r.owner.login}/${r.name}`
      return html`<label><input type="checkbox" name="repositories" value="${fullName}"${checked(r.id) ? html` checked` : ''}> ${fullName}</label>`
    })

const selection = (selected: boolean) => html`
<label><input type="radio" name="repository_selection" value="all"${selected ? '' : html` checked`}> All repositories</label>
<label><input type="radio" name="repository_selection" value="selected"${selected ? html` checked` : ''}> Only select repositories</label>`

const installForm = (world: World, app: App, state: string | undefined): Promise<Response> => {
  const places = placesFor(world, app)
  return page(
    `Install ${app.name}`,
    html`<form method="post" action="/apps/${app.slug}/installations/new">
${state === undefined ? '' : html`<input type="hidden" name="state" value="${state}">`}
<label>Where <select name="account">${places.map(a => html`<option value="${a.login}">${a.login}</option>`)}</select></label>
${selection(false)}
${boxes(world, places, () => false)}
<button type="submit">Install</button>
</form>`,
  )
}

const settingsPage = (world: World, i: Installation, path: string): Promise<Response> =>
  page(
    `${i.app.name} on ${i.account.login}`,
    html`<p>Installation <code>${i.id}</code>${i.suspendedAtMs === undefined ? '' : html`, <strong>suspended</strong>`}.</p>
${requestOf(i, path)}
<form method="post" action="${path}/repositories">
${selection(i.repositoryIds !== undefined)}
${boxes(world, [i.account], id => i.repositoryIds?.has(id) ?? false)}
<button type="submit">Save</button>
</form>
${i.suspendedAtMs === undefined ? button(`${path}/suspend`, 'Suspend') : button(`${path}/unsuspend`, 'Unsuspend')}
${button(`${path}/uninstall`, 'Uninstall')}`,
  )
