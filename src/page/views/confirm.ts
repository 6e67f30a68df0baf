// The last page before GitHub: what will be asked for there, and the form with the App manifest that goes to it.

import { html } from 'hono/html'
import { type ConfirmModel, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { relativeTime } from './format.ts'
import type { Html } from './html.ts'
import { plainPage } from './layout.ts'
import { accountType, facts, permissionList, webAddress } from './parts.ts'

export const confirm = (model: ConfirmModel): Html => {
  const { confirm: t } = textsOf(model.language)
  const { account, language } = model
  return plainPage(model, {
    nowMs: model.nowMs,
    title: t.title,
    lead: t.lead(account.login),
    body: html`<div class="box">${facts([
      [t.name, html`<strong>${model.appName}</strong>`],
      [t.owner, html`${account.login} <span class="muted">${accountType(account, language)}</span>`],
      [t.permissions, permissionList(model.permissions, language)],
      [t.expires, relativeTime(model.expiresAtMs, model)],
    ])}
<form class="row form-actions" method="post" action="${webAddress(model.action)}">
<input type="hidden" name="manifest" value="${plainAscii(model.manifest)}">
<button class="button button-primary" type="submit">${t.button}</button>${model.prefix === '' ? '' : html`<a class="button button-default" href="${to(model, 'overview')}">${t.cancel}</a>`}
</form></div>
<p class="hint">${t.key}</p>
<p class="hint">${t.retry}</p>`,
  })
}

/** The same JSON, without a character that could disguise another. */
const plainAscii = (json: string): string =>
  json.replaceAll(/[^\u0020-\u007E]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
