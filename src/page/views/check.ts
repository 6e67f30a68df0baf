// The doctor's report: a row for each layer, from the machine outward, with what was seen and what to do.

import { html } from 'hono/html'
import type { CheckReport, CheckRow } from '../../protocol/wire-check.ts'
import type { Language, PageModel } from '../model.ts'
import { textsOf } from '../texts.ts'
import { relativeTime } from './format.ts'
import type { Html } from './html.ts'
import { icon, type IconName } from './icons.ts'
import { sessionPage } from './layout.ts'
import { banner, box, form, label, prose, submit, type Tone } from './parts.ts'

const TONES: Readonly<Record<CheckRow['verdict'], Tone>> = {
  ok: 'success',
  warning: 'attention',
  failed: 'danger',
  skipped: 'neutral',
}

const ICONS: Readonly<Record<CheckRow['verdict'], IconName>> = {
  ok: 'check',
  warning: 'alert',
  failed: 'cross',
  skipped: 'dash',
}

export const checkPage = (model: PageModel): Html => {
  const { check: t } = textsOf(model.language)
  const report = model.check
  return sessionPage(model, 'checkPage', {
    title: t.title,
    lead: t.lead,
    body: html`${form({ frame: model, route: 'check', className: 'section check-form' }, [
      submit(report === undefined ? t.run : t.again),
      html`<span class="check-running" data-running data-failed="${t.failed}" role="status"><span class="visually-hidden" data-text="${t.running}"></span></span>`,
    ])}
<div id="check-summary" data-summary aria-live="polite">${report === undefined ? '' : checkSummary(report, model)}</div>
${box(
  { id: 'results', title: t.results },
  html`<ul class="checks" data-rows>${
    report === undefined
      ? html`<li class="row muted">${t.never}</li>`
      : report.rows.map(each => checkRow(each, model.language))
  }</ul>`,
)}`,
  })
}

export const checkSummary = (
  report: Pick<CheckReport, 'verdict' | 'checked_at' | 'took_ms'>,
  model: { readonly language: Language; readonly nowMs: number },
): Html => {
  const { check: t } = textsOf(model.language)
  return banner(
    TONES[report.verdict],
    html`<p class="banner-title">${t.summaries[report.verdict]}</p><p class="hint">${relativeTime(Date.parse(report.checked_at), model)}, ${t.at(t.milliseconds(report.took_ms))}</p>`,
  )
}

export const checkRow = (each: CheckRow, language: Language): Html => {
  const { check: t } = textsOf(language)
  const foreign = language === 'en' ? '' : html` lang="en"`
  return html`<li class="check-row check-${each.verdict}"><span class="step-mark">${icon(ICONS[each.verdict])}</span><div class="row-main"><h3>${t.layers[each.layer]}${each.subject === undefined ? '' : html` <code>${each.subject}</code>`}</h3>
<p class="evidence"${foreign}>${each.evidence}</p>${each.next === undefined ? '' : html`<p class="advice"><strong>${t.next}</strong> <span${foreign}>${prose(each.next)}</span></p>`}</div><div class="check-aside">${label(TONES[each.verdict], t.verdicts[each.verdict])}<span class="hint">${t.milliseconds(each.took_ms)}</span></div></li>`
}
