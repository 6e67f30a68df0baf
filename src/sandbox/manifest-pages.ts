// Registering an App in the browser: from a manifest with its confirmation page, or by the pre-filled form.

import type { Context, Hono } from 'hono'
import { html } from 'hono/html'
import { button, page, problem, redirect, withQuery } from './layout.ts'
import { readManifest } from './manifest.ts'
import { OWNER_PREFIXES } from './owners.ts'
import type { Parts } from './parts.ts'
import { isKnown, PERMISSION_LEVELS } from './permissions.ts'
import type { Account, AppDraft } from './records.ts'
import { ownerPath } from './shapes.ts'

type Pending = { draft: AppDraft; redirectUrl: string | undefined; state: string | undefined }

const LOST = "We didn't find an App Manifest for your request."

export const addManifestPages = (pages: Hono, parts: Parts): void => {
  const { world, faults, random } = parts
  const pending = new Map<string, Pending>()

  for (const { prefix, find, manifests } of OWNER_PREFIXES) {
    const ownerOf = (c: Context): Account | undefined => find(world, c.req.param('owner'))

    pages.get(`${prefix}/apps/new`, c => {
      const owner = ownerOf(c)
      return owner ? registrationForm(owner, new URL(c.req.url).searchParams) : problem(404, 'No such account.')
    })
    pages.post(`${prefix}/apps`, async c => {
      const owner = ownerOf(c)
      if (!owner) return problem(404, 'No such account.')
      const draft = draftOf(owner, fields(await c.req.text()))
      return create(parts, draft, app => redirect(`${ownerPath(owner)}/settings/apps/${app.slug}`))
    })
    if (!manifests) continue

    pages.post(`${prefix}/apps/new`, async c => {
      const owner = ownerOf(c)
      if (!owner) return problem(404, 'No such account.')
      const text = fields(await c.req.text()).get('manifest')
      if (text === null || faults.strike('lost-manifest', { method: 'POST', path: c.req.path }))
        return problem(404, LOST)
      const read = readManifest(text, owner)
      if (read.kind === 'bad') return problem(422, ...read.errors)
      const key = random.hex(32)
      pending.set(key, { draft: read.draft, redirectUrl: read.redirectUrl, state: c.req.query('state') })
      const confirm = `${ownerPath(owner)}/settings/apps/manifests/${key}`
      return redirect(
        faults.strike('sudo', { method: 'POST', path: c.req.path })
          ? `/sessions/sudo?return_to=${encodeURIComponent(confirm)}`
          : confirm,
      )
    })
    pages.get(`${prefix}/apps/manifests/:key`, c => {
      const found = pending.get(c.req.param('key') ?? '')
      return found ? confirmation(c.req.path, found) : problem(404, LOST)
    })
    pages.post(`${prefix}/apps/manifests/:key`, async c => {
      const key = c.req.param('key') ?? ''
      const found = pending.get(key)
      if (!found) return problem(404, LOST)
      const name = fields(await c.req.text()).get('name') ?? found.draft.name
      return create(parts, { ...found.draft, name }, async app => {
        pending.delete(key)
        const { pem } = await world.addKey(app)
        const { code } = world.issueCode(app, pem)
        return redirect(
          found.redirectUrl === undefined
            ? `${ownerPath(app.owner)}/settings/apps/${app.slug}`
            : withQuery(found.redirectUrl, { code, state: found.state }),
        )
      })
    })
  }

  pages.get('/sessions/sudo', c =>
    page(
      'Confirm access',
      html`<p>GitHub asks for your password here. The sandbox does not.</p>${button(
        `/sessions/sudo?return_to=${encodeURIComponent(c.req.query('return_to') ?? '/')}`,
        'Confirm',
      )}`,
    ),
  )
  pages.post('/sessions/sudo', c => {
    const to = c.req.query('return_to') ?? '/'
    return /^\/(?![/\\])/.test(to) ? redirect(to) : problem(400, 'Not an address of the sandbox.')
  })
}

type Created = Parameters<Parts['world']['deleteApp']>[0]

const create = (
  { world }: Parts,
  draft: AppDraft,
  then: (app: Created) => Response | Promise<Response>,
): Response | Promise<Response> => {
  let app: Created
  try {
    app = world.createApp(draft)
  } catch (error) {
    return problem(422, error instanceof Error ? error.message : String(error))
  }
  return then(app)
}

/** The name and nothing else: GitHub does not show the permissions here. */
const confirmation = (path: string, { draft, redirectUrl }: Pending): Promise<Response> =>
  page(
    'Create GitHub App',
    html`<p>Register a new GitHub App for <strong>${draft.owner.login}</strong>.</p>
<form method="post" action="${path}">
<label>GitHub App name <input name="name" value="${draft.name}" maxlength="34" required></label>
<button type="submit">Create GitHub App for ${draft.owner.login}</button>
</form>
<p><a href="/">Cancel</a></p>
<p>${redirectUrl === undefined ? '' : html`Afterwards you go to <code>${new URL(redirectUrl).host}</code>.`}</p>`,
  )

const registrationForm = (owner: Account, given: URLSearchParams): Promise<Response> =>
  page(
    `Register new GitHub App for ${owner.login}`,
    html`<form method="post" action="${ownerPath(owner)}/settings/apps">
<label>GitHub App name <input name="name" value="${given.get('name') ?? ''}" maxlength="34" required></label>
<label>Homepage URL <input name="url" value="${given.get('url') ?? ''}"></label>
<label>Setup URL <input name="setup_url" value="${given.get('setup_url') ?? ''}"></label>
${[...PERMISSION_LEVELS.keys()]
  .filter(name => given.has(name))
  .map(name => html`<label>${name} <input name="${name}" value="${given.get(name) ?? ''}"></label>`)}
<button type="submit">Create GitHub App</button>
</form>`,
  )

const draftOf = (owner: Account, form: URLSearchParams): AppDraft => {
  const setupUrl = form.get('setup_url')
  return {
    owner,
    name: form.get('name') ?? '',
    url: form.get('url') || 'https://example.com',
    permissions: Object.fromEntries([...form].filter(([name, level]) => isKnown(name, level))),
    ...(setupUrl ? { setupUrl } : {}),
  }
}

const fields = (body: string): URLSearchParams => new URLSearchParams(body)
