// Disable: what will be deleted, the account's name typed again, then each step as it is done.

import { html } from 'hono/html'
import type { DisableStep } from '../../protocol/connection.ts'
import { type PageModel, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { dateTime } from './format.ts'
import type { Html } from './html.ts'
import { sessionPage } from './layout.ts'
import { actionForm, banner, box, form, outButton, prose, row, stepList, type Step } from './parts.ts'

/** A page of its own: where no script opens the dialog, and after a name that was typed wrongly. */
export const disablePage = (model: PageModel): Html =>
  sessionPage(model, 'disableForm', {
    title: textsOf(model.language).disable.title,
    body: html`<div class="box narrow">${row(disableForm(model))}</div>`,
  })

export const disableDialog = (model: PageModel): Html => {
  const t = textsOf(model.language).disable
  return html`<dialog class="dialog" id="disable-dialog" aria-labelledby="disable-dialog-title">
<div class="dialog-head"><h2 id="disable-dialog-title">${t.title}</h2></div>
<div class="dialog-body">${disableForm(model, true)}</div>
</dialog>`
}

const disableForm = (model: PageModel, inDialog = false): Html => {
  const t = textsOf(model.language).disable
  const login = model.account?.login ?? ''
  const app = model.app?.name ?? ''
  return form({ frame: model, route: 'disable' }, [
    banner('danger', html`<p>${t.warning}</p>`),
    html`<p class="strong">${t.deleted}</p>
<ul class="bullets">${t.items(app, model.installations.length, model.tokens.live, model.keys.length).map(item => html`<li>${item}</li>`)}</ul>
<p>${t.owner(app)}</p>
<div class="field"><label for="disable-account">${t.confirm(login)}</label>
<input class="control" id="disable-account" name="account" required autocomplete="off" autocapitalize="off" spellcheck="false" data-confirm="${login}"></div>
<div class="check-field"><input type="checkbox" id="disable-local" name="local"${model.state === 'app-deleted' || model.state === 'quarantined' || model.typed?.['local'] ? ' checked' : ''} aria-describedby="disable-local-hint"><div><label for="disable-local">${t.local}</label><p class="hint" id="disable-local-hint">${t.localHint}</p></div></div>
<div class="form-actions"><button class="button button-danger" type="submit">${t.button}</button>${
      inDialog
        ? html`<button class="button button-default" type="button" data-closes>${t.cancel}</button>`
        : html`<a class="button button-default" href="${to(model, 'overview')}">${t.cancel}</a>`
    }</div>`,
  ])
}

const ORDER: readonly DisableStep[] = ['revoke', 'uninstall', 'delete-app']

export const disablingBody = (model: PageModel): Html => {
  const { disabling: t } = textsOf(model.language)
  const at = ORDER.indexOf(model.disabling?.step ?? 'revoke')
  const steps: Step[] = [
    { state: 'done', title: t.stop },
    ...ORDER.map((step, index): Step => {
      const state = index < at ? 'done' : index === at ? 'active' : 'pending'
      const detail = state === 'active' ? stepDetail(model, step) : undefined
      return { state, title: t.steps[step], ...(detail && { detail }) }
    }),
    { state: 'pending', title: t.shred },
  ]
  return box({ id: 'progress', title: t.progress, live: true }, row(stepList(steps, model.language)))
}

const stepDetail = (model: PageModel, step: DisableStep): Html | undefined => {
  const { disabling: t } = textsOf(model.language)
  if (step !== 'delete-app') return model.warnings.length > 0 ? html`<p>${t.retrying}</p>` : undefined
  return html`<p>${prose(t.deleteHint)}</p>
<div class="form-actions">${model.app ? outButton(`${model.app.settingsUrl}/advanced`, t.openAdvanced, 'primary') : ''}${actionForm(model, 'finishDisable', t.finish)}</div>
<p class="hint">${t.finishHint}${model.disabling ? html`<br>${t.deadline} ${dateTime(model.disabling.deadlineMs)}` : ''}</p>`
}
