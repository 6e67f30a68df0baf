// The tokens: how old the oldest is, when it is replaced, and how the refreshes of the last days went.

import { html } from 'hono/html'
import type { PageModel, TokenFacts } from '../model.ts'
import { textsOf } from '../texts.ts'
import { isoOf, relativeTime } from './format.ts'
import type { Html } from './html.ts'
import { actionForm, box, row } from './parts.ts'
import { historyPlot } from './plot.ts'

const MINUTE_MS = 60_000

export const tokensBox = (model: PageModel): Html => {
  const { tokens: t } = textsOf(model.language)
  const { tokens } = model
  return box({ id: 'tokens', title: t.title, live: true, aside: actionForm(model, 'refresh', t.refresh) }, [
    row(
      html`<p class="strong">${tokens.live === 0 ? t.noneLive : t.live(tokens.live)} <span class="hint">${t.explained}</span></p>${tokenAge(tokens, model)}`,
    ),
    row(historyPlot(model)),
  ])
}

/** The oldest token's life as a bar: what is used of it, and where the next refresh will be. */
const tokenAge = (tokens: TokenFacts, model: PageModel): Html => {
  const { oldestExpiresAtMs, lifetimeMs, nextRefreshAtMs, lastMintedAtMs } = tokens
  const { tokens: t } = textsOf(model.language)
  if (oldestExpiresAtMs === undefined) {
    return lastMintedAtMs === undefined
      ? html``
      : html`<p class="hint">${t.last}: ${relativeTime(lastMintedAtMs, model)}</p>`
  }
  const issuedAtMs = oldestExpiresAtMs - lifetimeMs
  const percentAt = (ms: number): number =>
    Math.round(Math.min(100, Math.max(0, ((ms - issuedAtMs) / lifetimeMs) * 100)) * 10) / 10
  const used = percentAt(model.nowMs)
  const minutes = Math.round((used / 100) * (lifetimeMs / MINUTE_MS))
  const due = nextRefreshAtMs === undefined ? undefined : percentAt(nextRefreshAtMs)
  return html`<div class="age">
<p class="age-head"><span>${t.oldest}</span><span class="muted">${t.used(minutes, Math.round(lifetimeMs / MINUTE_MS))}</span></p>
<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" width="100%" height="8" role="img" aria-label="${t.oldest}: ${t.used(minutes, Math.round(lifetimeMs / MINUTE_MS))}"><rect class="bar-track" width="100" height="8"/><rect class="bar-used" width="${used}" height="8" data-from="${isoOf(issuedAtMs)}" data-until="${isoOf(oldestExpiresAtMs)}"/>${due === undefined ? '' : html`<rect class="bar-due" x="${Math.min(99.4, due)}" width="0.6" height="8"/>`}</svg>
<dl class="inline-facts">
<div><dt>${t.next}</dt><dd>${nextRefreshAtMs === undefined ? t.never : relativeTime(nextRefreshAtMs, model)}</dd></div>
<div><dt>${t.expires}</dt><dd>${relativeTime(oldestExpiresAtMs, model)}</dd></div>
<div><dt>${t.last}</dt><dd>${lastMintedAtMs === undefined ? t.never : relativeTime(lastMintedAtMs, model)}</dd></div>
</dl>
</div>`
}
