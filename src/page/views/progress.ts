// Setting up: created, installed, first token. It shows what is on the disk, so a reload or a restart loses nothing.

import { html } from 'hono/html'
import { type PageModel, type ProgressStep, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { quoted, warningBanner } from './failure.ts'
import { dateTime } from './format.ts'
import type { Html } from './html.ts'
import { actionForm, box, linkButton, outButton, row, type Step, stepList } from './parts.ts'

/** As long as somebody may wait for the first token. Later, no token is live simply because nobody asks for one. */
const RECENT_MS = 10 * 60_000

/** The last step happens after the state has changed: it stays in view until there was a token. */
export const lastStep = (model: PageModel): Html | string => {
  const waits = model.progress.some(({ state }) => state !== 'done') && model.tokens.lastMintedAtMs === undefined
  return waits && model.nowMs - model.sinceMs < RECENT_MS ? progressBox(model) : ''
}

export const progressBody = (model: PageModel): Html => {
  const t = textsOf(model.language).states.progress
  return html`<div id="warnings" data-live>${model.warnings
    .filter(({ code }) => code !== 'no-recovery-key')
    .map(warning => warningBanner(warning, model))}</div>
${progressBox(model)}
<div class="section form-actions">${actionForm(model, 'cancel', t.cancel)}<p class="hint">${t.cancelHint}</p></div>`
}

const progressBox = (model: PageModel): Html => {
  const t = textsOf(model.language).states.progress
  const steps = model.progress.map((step): Step => {
    const detail = stepDetail(step, model)
    return { state: step.state, title: t[step.name], ...(detail && { detail }) }
  })
  return box({ id: 'progress', title: t.title, live: true }, row(stepList(steps, model.language)))
}

const stepDetail = (step: ProgressStep, model: PageModel): Html | undefined => {
  const told = step.detail === undefined ? '' : quoted(step.detail, model.language)
  if (step.state !== 'active' && step.state !== 'failed') return told === '' ? undefined : html`${told}`
  return html`${told}${step.state === 'failed' && step.name === 'first-token' ? retry(model) : toDo(step.name, model)}`
}

/** The connection stands: a refresh asks for the token anew. */
const retry = (model: PageModel): Html => actionForm(model, 'refresh', textsOf(model.language).states.progress.retry)

const toDo = (name: ProgressStep['name'], model: PageModel): Html => {
  const t = textsOf(model.language).states.progress
  switch (name) {
    case 'created':
      return toCreate(model)
    case 'installed':
      return html`<p>${t.installHint}</p>${model.app ? outButton(model.app.installUrl, t.installButton, 'primary') : ''}`
    case 'first-token':
      return html`<p>${t.tokenHint}</p>`
    default:
      return name satisfies never
  }
}

const toCreate = (model: PageModel): Html => {
  const t = textsOf(model.language).states.progress
  if (model.pendingEnable?.converting) return html`<p>${t.converting}</p>`
  if (model.account?.type === 'enterprise') {
    return html`<p>${t.importHint}</p>${linkButton(to(model, 'importForm'), t.importButton, 'primary')}`
  }
  return html`<p>${t.createHint}</p>${linkButton(to(model, 'confirm'), t.createButton, 'primary')}${
    model.pendingEnable ? html`<p class="hint">${t.expires}: ${dateTime(model.pendingEnable.expiresAtMs)}</p>` : ''
  }`
}
