// What is connected to what: account, App, installations, permissions, features, and the way out of it all.

import { html } from 'hono/html'
import type { FeatureFacts, Installed, PageModel } from '../model.ts'
import { to } from '../model.ts'
import { featureTitle, textsOf } from '../texts.ts'
import { disableDialog } from './disable.ts'
import { dateTime } from './format.ts'
import type { Html } from './html.ts'
import { accountType, box, facts, label, outLink, permissionList, prose, row, type Tone } from './parts.ts'

export const connectionBox = (model: PageModel): Html => {
  const { overview: t, keys, roles } = textsOf(model.language)
  const { account, app, language } = model
  return box(
    { id: 'connection', title: t.connection, live: true },
    facts([
      [
        t.account,
        account && html`<strong>${account.login}</strong> <span class="muted">${accountType(account, language)}</span>`,
      ],
      [
        t.app,
        app && html`${outLink(app.htmlUrl, app.name)}<br><span class="hint">${t.appIds(app.id, app.clientId)}</span>`,
      ],
      [t.since, dateTime(model.sinceMs)],
      [
        t.keysAndRecovery,
        html`<a href="${to(model, 'keysPage')}">${t.keysLine(model.keys.length)} · ${t.recoveryLine(model.recoveryRecipients.length)}</a>${model.keys.some(key => key.rejected) ? html` ${label('danger', keys.rejected)}` : ''}`,
      ],
      [t.proxy, model.proxy === undefined ? t.direct : html`<code>${model.proxy}</code>`],
      [t.host, html`${model.hostname} <span class="hint">${t.generation(model.generation)}</span>`],
      [t.role, roles[model.role]],
    ]),
  )
}

export const installationsBox = (model: PageModel): Html => {
  const t = textsOf(model.language).overview
  const content = model.installations.map(installation => installationRow(installation, model))
  return box(
    { id: 'installations', title: t.installations, live: true },
    content.length === 0 ? row(html`<p class="muted">${t.noInstallation}</p>`) : content,
  )
}

const installationRow = (installation: Installed, { language }: PageModel): Html => {
  const t = textsOf(language).overview
  const { account, repositorySelection, permissions, pending, suspendedAtMs } = installation
  return row(
    html`<h3>${account.login} <span class="muted">${accountType(account, language)}</span>${suspendedAtMs === undefined ? '' : html` ${label('danger', t.suspended)}`}</h3>
<p class="hint">${repositorySelection === 'all' ? t.allRepositories : t.selectedRepositories}</p>
${permissionList(permissions, language)}
${
  pending === undefined || Object.keys(pending).length === 0
    ? ''
    : html`<div class="note note-attention"><p>${t.pending} ${outLink(installation.htmlUrl, t.review)}</p>${permissionList(pending, language)}</div>`
}`,
    outLink(installation.htmlUrl, t.manage),
  )
}

const FEATURE_TONES: Readonly<Record<FeatureFacts['state'], Tone>> = {
  on: 'success',
  off: 'neutral',
  attention: 'attention',
}

/** Those that are off share a row: they are choices, not facts. */
export const featuresBox = (model: PageModel): Html | string => {
  if (model.features.length === 0) return ''
  const t = textsOf(model.language).overview
  const off = model.features.filter(({ state }) => state === 'off')
  const others = model.features.filter(({ state }) => state !== 'off')
  return box({ id: 'features', title: t.features, live: true }, [
    ...others.map(feature => featureRow(feature, model)),
    off.length === 0
      ? html``
      : row(
          html`<p class="hint">${prose(t.featuresOff)}</p><ul class="chips">${off.map(feature => html`<li class="chip">${featureTitle(feature, model.language)}</li>`)}</ul>`,
        ),
  ])
}

const featureRow = (feature: FeatureFacts, { language }: PageModel): Html => {
  const { name, state, detail } = feature
  const told =
    detail === undefined ? '' : html`<p class="hint"${language === 'en' ? '' : html` lang="en"`}>${detail}</p>`
  return row(
    html`<h3>${featureTitle(feature, language)} <code class="muted">${name}</code></h3>${told}`,
    label(FEATURE_TONES[state], textsOf(language).overview.featureStates[state]),
  )
}

export const dangerZone = (model: PageModel): Html => {
  const t = textsOf(model.language).overview
  return html`${box(
    { id: 'danger', title: t.dangerZone, tone: 'danger' },
    row(
      html`<h3>${t.disable}</h3><p class="hint">${t.disableHint}</p>`,
      html`<a class="button button-danger" href="${to(model, 'disableForm')}" data-opens="disable-dialog">${t.disable}</a>`,
    ),
  )}${disableDialog(model)}`
}
