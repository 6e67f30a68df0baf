// Who may use the connection, and what happened lately: the profiles and the end of the audit log.

import { html } from 'hono/html'
import type { AuditFacts, PageModel, ProfileFacts } from '../model.ts'
import { textsOf } from '../texts.ts'
import { relativeTime } from './format.ts'
import type { Html } from './html.ts'
import { box, permissionList, prose, row } from './parts.ts'

const SHOWN_ROWS = 10

export const profilesBox = (model: PageModel): Html => {
  const { profiles: t } = textsOf(model.language)
  if (model.profiles.length === 0)
    return box({ id: 'profiles', title: t.title }, row(html`<p class="muted">${t.empty}</p>`))
  return box({ id: 'profiles', title: t.title }, [
    row(html`<p class="hint">${t.explained}</p>`),
    ...model.profiles.map(profile => profileRow(profile, model)),
  ])
}

const profileRow = (profile: ProfileFacts, { language }: PageModel): Html => {
  const { profiles: t } = textsOf(language)
  const callers: readonly (readonly [string, readonly string[]])[] = [
    [t.users, profile.users],
    [t.groups, profile.groups],
    [t.units, profile.units],
  ]
  const named = callers.filter(([, names]) => names.length > 0)
  return html`<div class="row profile"><div class="profile-name"><h3><code>${profile.name}</code></h3>${profile.installation === undefined ? '' : html`<p class="hint">${profile.installation}</p>`}</div>
<dl class="profile-facts"><div><dt>${t.who}</dt><dd>${
    named.length === 0
      ? t.nobody
      : named.map(
          ([kind, names]) =>
            html`<span class="caller">${kind} ${names.map((name, index) => html`${index > 0 ? ', ' : ''}<code>${name}</code>`)}</span>`,
        )
  }</dd></div>
<div><dt>${t.scope}</dt><dd>${profile.repositories === undefined ? t.allRepositories : profile.repositories.map((name, index) => html`${index > 0 ? ', ' : ''}<code>${name}</code>`)}${profile.permissions === undefined ? html`<br>${t.allPermissions}` : permissionList(profile.permissions, language)}</dd></div></dl></div>`
}

export const auditBox = (model: PageModel): Html => {
  const { audit: t } = textsOf(model.language)
  const rows = model.audit.slice(0, SHOWN_ROWS)
  if (rows.length === 0)
    return box({ id: 'audit', title: t.title, live: true }, row(html`<p class="muted">${t.empty}</p>`))
  return box(
    { id: 'audit', title: t.title, live: true },
    html`${row(html`<p class="hint">${prose(t.explained)}</p>`)}<div class="table-scroll" role="group" aria-labelledby="audit-title" tabindex="0"><table class="table"><thead><tr><th scope="col">${t.when}</th><th scope="col">${t.event}</th><th scope="col">${t.who}</th><th scope="col">${t.detail}</th></tr></thead><tbody>${rows.map(
      entry => auditRow(entry, model),
    )}</tbody></table></div>`,
  )
}

const auditRow = (entry: AuditFacts, model: PageModel): Html => {
  const { audit: t } = textsOf(model.language)
  const said = [entry.profile, entry.scope, entry.detail].filter(text => text !== undefined && text !== '')
  return html`<tr><td class="nowrap">${relativeTime(entry.atMs, model)}</td><td><code>${entry.event}</code>${entry.count > 1 ? html` <span class="counter">${t.times(entry.count)}</span>` : ''}</td><td>${entry.who === undefined ? html`<span class="muted" aria-hidden="true">–</span>` : html`<code>${entry.who}</code>`}</td><td class="said">${said.join(' · ')}</td></tr>`
}
