// The permissions of an App as its owner edits them, and the request that each installation's owner then approves.

import { html } from 'hono/html'
import { button, page, type Html } from './layout.ts'
import { covers, isKnown, PERMISSION_LEVELS } from './permissions.ts'
import type { App, Installation } from './records.ts'

/** One choice for each permission that GitHub knows. */
export const permissionsPage = (app: App, action: string): Promise<Response> =>
  page(
    `Permissions: ${app.name}`,
    html`<p>What is added holds on an installation once its owner has approved it. What is taken away is gone at once.</p>
<form method="post" action="${action}">
${[...PERMISSION_LEVELS].map(([name, levels]) => choice(name, levels, app.permissions[name]))}
<button type="submit">Save changes</button>
</form>`,
  )

const choice = (name: string, levels: readonly string[], held: string | undefined) =>
  html`<label>${name} <select name="${name}"><option value="">No access</option>${levels.map(
    level => html`<option value="${level}"${level === held ? html` selected` : ''}>${level}</option>`,
  )}</select></label>`

/** Undefined where a name or a level is none of GitHub's. */
export const readPermissions = (text: string): Record<string, string> | undefined => {
  const chosen = [...new URLSearchParams(text)].filter(([, level]) => level !== '')
  return chosen.every(([name, level]) => isKnown(name, level)) ? Object.fromEntries(chosen) : undefined
}

/** What the App asks for and the installation does not hold, with the button that grants it; nothing where all is granted. */
export const requestOf = ({ app, permissions }: Installation, path: string): Html | '' => {
  const asked = Object.entries(app.permissions).filter(([name, level]) => !covers(permissions, name, level))
  if (asked.length === 0) return ''
  return html`<p>${app.name} is requesting updated permissions: ${asked.map(([name, level]) => `${name}: ${level}`).join(', ')}.</p>
${button(`${path}/permissions`, 'Accept new permissions')}`
}
