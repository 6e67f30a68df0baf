// States in which nothing is served until the administrator decides: quarantined, locked, waiting for a recovery key, key lost.

import { html } from 'hono/html'
import { type PageModel, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { quoted } from './failure.ts'
import type { Html } from './html.ts'
import { actionForm, banner, box, form, keyField, linkButton, outButton, prose, row, submit } from './parts.ts'

export const quarantinedBody = (model: PageModel): Html => {
  const t = textsOf(model.language).states.quarantined
  return html`${banner(
    'danger',
    html`<h2 class="banner-title">${t.title}</h2><p>${t.explained(model.enabledOn ?? '?', model.hostname)}</p>`,
  )}
${box({ id: 'decide', title: textsOf(model.language).overview.nextStep }, [
  row(html`<h3>${t.replace}</h3><p class="hint">${t.replaceHint}</p>`, actionForm(model, 'adopt', t.adopt, 'primary')),
  row(
    html`<h3>${t.copy}</h3><p class="hint">${t.copyHint}</p>`,
    linkButton(to(model, 'disableForm'), t.remove, 'danger'),
  ),
])}`
}

export const lockedBody = (model: PageModel): Html => {
  const t = textsOf(model.language).states.locked
  const waits = model.state === 'awaiting-unlock'
  return html`${banner(
    waits ? 'attention' : 'danger',
    html`<h2 class="banner-title">${waits ? t.waitTitle : t.title}</h2><p>${waits ? t.waitExplained : t.explained}</p>${quoted(model.meaning, model.language)}`,
  )}
${waits ? '' : box({ id: 'store-key', title: t.bring }, row(prose(t.bringHint)))}
${box({ id: 'unlock', title: waits ? t.waitForm : t.recover }, row(unlockForm(model)))}`
}

const unlockForm = (model: PageModel): Html => {
  const t = textsOf(model.language).states.locked
  return form({ frame: model, route: 'unlock', drop: true }, [
    keyField(model.language, {
      name: 'identity',
      file: 'identity_file',
      text: t.identity,
      hint: t.identityHint,
      sample: 'AGE-SECRET-KEY-1…',
    }),
    html`<div class="form-actions">${submit(t.button)}</div>`,
  ])
}

export const keyLostBody = (model: PageModel): Html => {
  const t = textsOf(model.language).states.keyLost
  const open = model.appsUrl === undefined ? '' : outButton(model.appsUrl, t.openApps)
  return html`${banner(
    'danger',
    html`<h2 class="banner-title">${t.title}</h2><p>${t.explained(model.account?.login ?? '')}</p>${model.evidence === undefined ? '' : quoted(model.evidence, model.language)}<div class="form-actions">${open}</div>`,
  )}
${box({ id: 'decide', title: textsOf(model.language).overview.nextStep }, [
  row(
    html`<h3>${t.keep}</h3><p class="hint">${t.keepHint}</p>`,
    linkButton(to(model, 'importForm'), t.keepButton, 'primary'),
  ),
  row(html`<h3>${t.again}</h3><p class="hint">${t.againHint}</p>`, actionForm(model, 'cancel', t.cancel)),
])}`
}
