// The refreshes of the last 7 days, drawn here: up what went well, down what failed, an hour a bar; and the same as a table.

import { html } from 'hono/html'
import type { PageModel, RefreshHour } from '../model.ts'
import { textsOf } from '../texts.ts'
import { formatDay } from './format.ts'
import type { Html } from './html.ts'

const HOUR_MS = 3_600_000
const DAYS = 7
const DAY_MS = 24 * HOUR_MS
/** In units of the drawing, which is stretched to the width that there is. */
const BAR = { step: 4, width: 3, up: 56, down: 20 } as const
const WIDTH = DAYS * 24 * BAR.step
const HEIGHT = BAR.up + BAR.down

type Kind = 'refreshed' | 'failed'

export const historyPlot = (model: PageModel): Html => {
  const { tokens: t } = textsOf(model.language)
  const days = daysUntil(model.nowMs)
  const [first = 0] = days
  const hours = model.refreshHistory.filter(({ startMs }) => startMs >= first && startMs < first + DAYS * DAY_MS)
  const total = (kind: Kind, some: readonly RefreshHour[]): number => some.reduce((sum, hour) => sum + hour[kind], 0)
  const most = Math.max(1, ...hours.map(({ refreshed }) => refreshed))
  const mostFailed = Math.max(most, ...hours.map(({ failed }) => failed))
  if (hours.length === 0) return html`<h3>${t.history}</h3><p class="hint">${t.noHistory}</p>`
  const rows = days.map(day => ({
    day,
    hours: hours.filter(({ startMs }) => startMs >= day && startMs < day + DAY_MS),
  }))
  return html`<figure class="plot" aria-labelledby="history-title">
<figcaption><h3 id="history-title">${t.history}</h3><p class="hint">${t.historySummary(total('refreshed', hours), total('failed', hours))} ${t.perHour(most)}</p></figcaption>
<svg class="plot-area" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" width="100%" height="${HEIGHT}" aria-hidden="true" focusable="false"><path class="plot-days" d="${days.map((_, index) => `M${index * 24 * BAR.step} 0V${HEIGHT}`).join('')}"/><path class="plot-refreshed" d="${bars(hours, { kind: 'refreshed', first, most })}"/><path class="plot-failed" d="${bars(hours, { kind: 'failed', first, most: mostFailed })}"/><path class="plot-base" d="M0 ${BAR.up}H${WIDTH}"/></svg>
<div class="plot-labels" aria-hidden="true">${days.map(day => html`<span>${formatDay(day, model.language)}</span>`)}</div>
<p class="legend" aria-hidden="true"><span class="legend-refreshed">${t.refreshed}</span><span class="legend-failed">${t.failed}</span></p>
<details class="plot-table"><summary>${t.table}</summary><table class="table"><thead><tr><th scope="col">${t.day}</th><th scope="col" class="number">${t.refreshed}</th><th scope="col" class="number">${t.failed}</th></tr></thead><tbody>${rows.map(
    ({ day, hours: some }) =>
      html`<tr><th scope="row">${formatDay(day, model.language)}</th><td class="number">${total('refreshed', some)}</td><td class="number">${total('failed', some)}</td></tr>`,
  )}</tbody></table></details>
</figure>`
}

/** The beginnings of seven days (UTC), of which the last is today. */
const daysUntil = (nowMs: number): number[] => {
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS
  return Array.from({ length: DAYS }, (_, index) => today - (DAYS - 1 - index) * DAY_MS)
}

/** One path for all bars of a kind. Even the lowest is to be seen. */
const bars = (
  hours: readonly RefreshHour[],
  { kind, first, most }: { kind: Kind; first: number; most: number },
): string =>
  hours
    .filter(hour => hour[kind] > 0)
    .map(hour => {
      const x = Math.floor((hour.startMs - first) / HOUR_MS) * BAR.step
      const room = kind === 'refreshed' ? BAR.up : BAR.down
      const height = Math.max(3, Math.round((hour[kind] / most) * (room - 2)))
      const y = kind === 'refreshed' ? BAR.up - height : BAR.up + 1
      return `M${x} ${y}h${BAR.width}v${height}h-${BAR.width}z`
    })
    .join('')
