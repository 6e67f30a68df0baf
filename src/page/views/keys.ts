// Keys and recovery: the App's private keys, and the recovery key, which is made in the browser and not sent here.

import { html } from 'hono/html'
import type { KeyFacts, PageModel } from '../model.ts'
import { ROUTES, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { dateTime, isoOf, relativeTime } from './format.ts'
import type { Html } from './html.ts'
import { sessionPage } from './layout.ts'
import { banner, box, field, form, keyField, label, outButton, prose, row, submit } from './parts.ts'

const YEAR_MS = 365 * 24 * 3_600_000

export const keysPage = (model: PageModel): Html => {
  const { keys: t } = textsOf(model.language)
  return sessionPage(model, 'keysPage', {
    title: t.title,
    lead: t.lead,
    body: html`${model.app === undefined ? '' : privateKeys(model)}
${recoveryBox(model)}`,
  })
}

const privateKeys = (model: PageModel): Html => {
  const { keys: t } = textsOf(model.language)
  const rows = model.keys.map(key => keyRow(key, model))
  return html`${box({ id: 'private-keys', title: t.list }, rows.length === 0 ? row(html`<p class="muted">${t.empty}</p>`) : rows)}
${box(
  { id: 'add-key', title: t.add, ...(model.app && { aside: outButton(model.app.settingsUrl, t.openSettings) }) },
  row(
    html`<p class="hint">${t.addHint}</p>${form({ frame: model, route: 'addKey', drop: true }, [
      keyField(model.language, {
        name: 'private_key',
        file: 'key_file',
        text: t.keyText,
        hint: t.keyHint,
        sample: '-----BEGIN RSA PRIVATE KEY-----',
      }),
      html`<div class="form-actions">${submit(t.addButton)}</div>`,
    ])}`,
  ),
)}`
}

const keyRow = (key: KeyFacts, model: PageModel): Html => {
  const { keys: t } = textsOf(model.language)
  const marks = html`${key.rejected ? label('danger', t.rejected) : ''} ${model.nowMs - key.addedAtMs >= YEAR_MS ? label('attention', t.old) : ''}`
  const retire = form({ frame: model, route: 'retireKey', className: 'inline-form' }, [
    html`<input type="hidden" name="fingerprint" value="${key.fingerprint}">`,
    html`<button class="button button-danger" type="submit" aria-label="${t.retire} ${key.fingerprint}">${t.retire}</button>`,
  ])
  return row(
    html`<h3 class="fingerprint"><code>${key.fingerprint}</code></h3><p class="hint">${t.added}: ${dateTime(key.addedAtMs)} (${relativeTime(key.addedAtMs, model)}) ${marks}</p>`,
    // The last key is never retired: disable ends the connection.
    model.keys.length > 1 ? retire : undefined,
  )
}

const recoveryBox = (model: PageModel): Html => {
  const { keys: t } = textsOf(model.language)
  const some = model.recoveryRecipients
  return box({ id: 'recovery', title: t.recovery }, [
    ...(some.length === 0
      ? [row(banner('attention', html`<p>${t.recoveryEmpty}</p>`))]
      : some.map(recipient => row(html`<p class="fingerprint"><code>${recipient}</code></p>`))),
    row(html`${makeKey(model)}
<h3>${t.recoveryByHand}</h3>${byHand(model)}`),
  ])
}

/** Hidden until the script has found that this browser can make such keys. */
const makeKey = (model: PageModel): Html => {
  const { keys: t } = textsOf(model.language)
  return html`<div class="recovery" data-recovery data-comment="${t.recoveryFile}" data-host="${model.hostname}" data-created="${isoOf(model.nowMs)}" hidden>
<h3>${t.recoveryAdd}</h3>
<p class="hint">${t.recoveryExplained}</p>
<p><button class="button button-default" type="button" data-make>${t.recoveryMake}</button></p>
<div data-made hidden>
${banner('attention', html`<p>${t.recoverySave}</p>`)}
<pre class="secret-file" data-file tabindex="0"></pre>
<form class="form" method="post" action="${to(model, 'recoveryKey')}">
<input type="hidden" name="csrf" value="${model.csrf}">
<input type="hidden" name="${ROUTES.recoveryKey.fields[0]}" value="">
<p><a class="button button-default" data-download download="recovery-key-${model.hostname}.txt" href="#recovery">${t.recoveryDownload}</a></p>
<div class="check-field"><input type="checkbox" id="recovery-kept" required><label for="recovery-kept">${t.recoveryKept}</label></div>
<div class="form-actions">${submit(t.recoveryUse)}</div>
</form></div></div>`
}

const byHand = (model: PageModel): Html => {
  const { keys: t } = textsOf(model.language)
  return form({ frame: model, route: 'recoveryKey' }, [
    field({
      id: 'recipient',
      text: t.recipient,
      hint: prose(t.recipientHint),
      control: html`<input class="control mono" id="recipient" name="recipient" value="${model.typed?.['recipient'] ?? ''}" required pattern="age1[0-9a-z]{58}" placeholder="age1…" autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="recipient-hint">`,
    }),
    html`<div class="form-actions">${submit(t.recoveryAddButton, 'default')}</div>`,
  ])
}
