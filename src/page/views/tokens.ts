// The tokens: how old the oldest is, when it is replaced, and the refreshes of the last days, drawn here and as a table.

import { isoTime } from '../../protocol/wire.ts'
import type { PageModel } from '../model.ts'
import { formatDay, type Html, html, type Part, relativeTime, textIn } from './html.ts'
import { actionForm, box, row } from './parts.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const LIFETIME_MS = HOUR_MS

export const tokensBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const { live } = model.tokens
  const alive =
    live === 0
      ? t(
          'No token is live. One is made when a service asks for it.',
          '有効なトークンはありません。サービスが要求したときに発行されます。',
        )
      : t(live === 1 ? '1 live token' : `${live} live tokens`, `有効なトークン ${live} 個`)
  const explained = t(
    'A token lasts for one hour and is replaced ahead of its end.',
    'トークンの有効期間は 1 時間で、期限が来る前に新しいものに置き換わります。',
  )
  const refresh = actionForm(model, 'refresh', [t('Refresh now', '今すぐ更新')])
  return box({ id: 'tokens', title: t('Tokens', 'トークン'), live: true, aside: refresh }, [
    row(html`<p class="strong">${alive} <span class="hint">${explained}</span></p>${tokenAge(model)}`),
    row(historyPlot(model)),
  ])
}

/** The oldest token's life as a bar: what is used of it, and where the next refresh will be. */
const tokenAge = (model: PageModel): Part => {
  const t = textIn(model.language)
  const { oldest_expires_at: expires, next_refresh_at: next, last_minted_at: last } = model.tokens
  const lastText = t('Last made', '最後の発行')
  if (expires === undefined) return last && html`<p class="hint">${lastText}: ${relativeTime(last, model)}</p>`
  const issuedAtMs = Date.parse(expires) - LIFETIME_MS
  const percentAt = (ms: number): number =>
    Math.round(Math.min(100, Math.max(0, ((ms - issuedAtMs) / LIFETIME_MS) * 100)) * 10) / 10
  const used = percentAt(model.nowMs)
  const minutes = Math.round((used / 100) * 60)
  const usedText = t(`${minutes} of 60 minutes used`, `60 分のうち ${minutes} 分経過`)
  const oldest = t('Oldest token', '最も古いトークン')
  const due =
    next && html`<rect class="bar-due" x="${Math.min(99.4, percentAt(Date.parse(next)))}" width="0.6" height="8"/>`
  const when = (time: string | undefined): Part => (time ? relativeTime(time, model) : t('not yet', 'まだありません'))
  return html`<div class="age">
<p class="age-head"><span>${oldest}</span><span class="muted">${usedText}</span></p>
<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" width="100%" height="8" role="img" aria-label="${oldest}: ${usedText}"><rect class="bar-track" width="100" height="8"/><rect class="bar-used" width="${used}" height="8" data-from="${isoTime(issuedAtMs)}" data-until="${expires}"/>${due}</svg>
<dl class="inline-facts">
<div><dt>${t('Next refresh', '次の更新')}</dt><dd>${when(next)}</dd></div>
<div><dt>${t('Expires', '有効期限')}</dt><dd>${when(expires)}</dd></div>
<div><dt>${lastText}</dt><dd>${when(last)}</dd></div>
</dl>
</div>`
}

const DAYS = 7
/** In units of the drawing, which is stretched to the width that there is: an hour a bar, up what went well, down what failed. */
const BAR = { step: 4, width: 3, up: 56, down: 20 } as const
const WIDTH = DAYS * 24 * BAR.step
const HEIGHT = BAR.up + BAR.down

type Kind = 'refreshed' | 'failed'
type Hours = PageModel['refreshHistory']

const historyPlot = (model: PageModel): Html => {
  const t = textIn(model.language)
  const title = t('Refreshes of the last 7 days', '過去 7 日間の更新')
  // The beginnings of seven days (UTC), of which the last is today.
  const first = Math.floor(model.nowMs / DAY_MS) * DAY_MS - (DAYS - 1) * DAY_MS
  const days = Array.from({ length: DAYS }, (_, index) => first + index * DAY_MS)
  const within = (startMs: number, lengthMs: number): Hours =>
    model.refreshHistory.filter(hour => hour.startMs >= startMs && hour.startMs < startMs + lengthMs)
  const hours = within(first, DAYS * DAY_MS)
  if (hours.length === 0)
    return html`<h3>${title}</h3><p class="hint">${t('Nothing was refreshed in the last 7 days.', '過去 7 日間に更新はありませんでした。')}</p>`
  const total = (kind: Kind, some = hours): number => some.reduce((sum, hour) => sum + hour[kind], 0)
  const most = Math.max(1, ...hours.map(({ refreshed }) => refreshed))
  const mostFailed = Math.max(most, ...hours.map(({ failed }) => failed))
  const [good, bad] = [total('refreshed'), total('failed')]
  const summary = t(
    `${good} ${good === 1 ? 'refresh' : 'refreshes'}, ${bad} failed. Each bar is an hour (UTC); the tallest stands for ${most}.`,
    `更新 ${good} 回、失敗 ${bad} 回。 棒 1 本が 1 時間 (UTC) を表し、最も高い棒は ${most} 回です。`,
  )
  const [refreshed, failed] = [t('Refreshed', '更新'), t('Failed', '失敗')]
  const rows = days.map(day => {
    const some = within(day, DAY_MS)
    return html`<tr><th scope="row">${formatDay(day, model.language)}</th><td class="number">${total('refreshed', some)}</td><td class="number">${total('failed', some)}</td></tr>`
  })
  return html`<figure class="plot" aria-labelledby="history-title">
<figcaption><h3 id="history-title">${title}</h3><p class="hint">${summary}</p></figcaption>
<svg class="plot-area" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" width="100%" height="${HEIGHT}" aria-hidden="true" focusable="false"><path class="plot-days" d="${days.map((_, index) => `M${index * 24 * BAR.step} 0V${HEIGHT}`).join('')}"/><path class="plot-refreshed" d="${bars(hours, { kind: 'refreshed', first, most })}"/><path class="plot-failed" d="${bars(hours, { kind: 'failed', first, most: mostFailed })}"/><path class="plot-base" d="M0 ${BAR.up}H${WIDTH}"/></svg>
<div class="plot-labels" aria-hidden="true">${days.map(day => html`<span>${formatDay(day, model.language)}</span>`)}</div>
<p class="legend" aria-hidden="true"><span class="legend-refreshed">${refreshed}</span><span class="legend-failed">${failed}</span></p>
<details class="plot-table"><summary>${t('Show as a table', '表で見る')}</summary><table class="table"><thead><tr><th scope="col">${t('Day (UTC)', '日 (UTC)')}</th><th scope="col" class="number">${refreshed}</th><th scope="col" class="number">${failed}</th></tr></thead><tbody>${rows}</tbody></table></details>
</figure>`
}

/** One path for all bars of a kind. Even the lowest is to be seen. */
const bars = (hours: Hours, { kind, first, most }: { kind: Kind; first: number; most: number }): string =>
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
