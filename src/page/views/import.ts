// Import: the ID of an App and a key of it, pasted or dropped. An enterprise's App comes this way.

import { html } from 'hono/html'
import { type PageModel, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import type { Html } from './html.ts'
import { sessionPage } from './layout.ts'
import { box, field, form, keyField, outButton, row, submit } from './parts.ts'

export const importPage = (model: PageModel): Html => {
  const { importApp: t } = textsOf(model.language)
  return sessionPage(model, 'importForm', {
    title: t.title,
    lead: t.lead,
    body: html`<ol class="numbered">
<li>${t.stepCreate}${model.createUrl === undefined ? '' : html`<br>${outButton(model.createUrl, t.openForm, 'primary')}`}</li>
<li>${t.stepKey}${model.appsUrl === undefined ? '' : html`<br>${outButton(model.appsUrl, t.openApps)}`}</li>
<li>${t.stepInstall}</li>
<li>${t.stepImport}</li>
</ol>
${box({ id: 'import', title: t.form }, row(importForm(model)))}`,
  })
}

const importForm = (model: PageModel): Html => {
  const { importApp: t, disable } = textsOf(model.language)
  const typed = model.typed ?? {}
  return form({ frame: model, route: 'import', drop: true }, [
    field({
      id: 'app-id',
      text: t.id,
      hint: t.idHint,
      control: html`<input class="control" id="app-id" name="id" value="${typed['id'] ?? ''}" required maxlength="64" pattern="[A-Za-z0-9._\\-]+" autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="app-id-hint">`,
    }),
    keyField(model.language, {
      name: 'private_key',
      file: 'key_file',
      text: t.keyText,
      hint: t.keyHint,
      sample: '-----BEGIN RSA PRIVATE KEY-----',
    }),
    field({
      id: 'import-account',
      text: t.account,
      hint: t.accountHint,
      control: html`<input class="control" id="import-account" name="account" value="${typed['account'] ?? model.account?.login ?? ''}" maxlength="100" pattern="[A-Za-z0-9][A-Za-z0-9_\\-]*" autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="import-account-hint">`,
    }),
    html`<div class="form-actions">${submit(t.button)}<a class="button button-default" href="${to(model, 'overview')}">${disable.cancel}</a></div>`,
  ])
}
