// The states that GitHub put the connection into: what it said, and the one thing that mends it.

import { html } from 'hono/html'
import type { Trouble } from '../../protocol/connection.ts'
import { type PageModel, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import type { Html } from './html.ts'
import { banner, linkButton, outButton } from './parts.ts'

export const troubleBanner = (model: PageModel, trouble: Trouble): Html => {
  const texts = textsOf(model.language)
  const t = texts.states.trouble
  const words = wordsOf(model, trouble)
  const address = model.prerequisites.egressAddress
  return banner(
    'danger',
    html`<h2 class="banner-title">${words.title(model.app?.name ?? '')}</h2>
<p>${words.next(model.account?.login ?? '')}</p>
${words === t.blocked && address !== undefined ? html`<p>${t.address} <code>${address}</code></p>` : ''}
${model.evidence === undefined ? '' : html`<p class="quoted"><span class="muted">${t.github}</span> <q lang="en">${model.evidence}</q></p>`}
<div class="form-actions">${action(model, trouble)}</div>`,
  )
}

/** The allow list names itself in what GitHub says; another policy of the account does not. */
const wordsOf = (model: PageModel, trouble: Trouble): TroubleWords => {
  const { trouble: t } = textsOf(model.language).states
  return trouble === 'blocked' && !/IP allow list/i.test(model.evidence ?? '') ? t.policy : t[trouble]
}

type TroubleWords = {
  readonly title: (app: string) => string
  readonly next: (login: string) => string
  readonly action: string
}

const action = (model: PageModel, trouble: Trouble): Html => {
  const texts = textsOf(model.language)
  const words = wordsOf(model, trouble)
  const installation =
    model.installations.find(({ suspendedAtMs }) => suspendedAtMs !== undefined) ?? model.installations[0]
  switch (trouble) {
    case 'suspended':
      return installation ? outButton(installation.htmlUrl, words.action, 'primary') : html``
    case 'uninstalled':
      return model.app ? outButton(model.app.installUrl, words.action, 'primary') : html``
    case 'app-deleted':
      return linkButton(to(model, 'disableForm'), words.action, 'danger')
    case 'key-rejected':
      return html`${model.app ? outButton(model.app.settingsUrl, words.action) : ''}${linkButton(to(model, 'keysPage'), texts.keys.add, 'primary')}`
    case 'blocked':
      return model.allowListUrl === undefined ? html`` : outButton(model.allowListUrl, words.action, 'primary')
    default:
      return trouble satisfies never
  }
}
