// The way in and out: the one-time link's button, and the page after signing out.

import { html } from 'hono/html'
import type { ErrorModel, Frame, SignInModel } from '../model.ts'
import { to } from '../model.ts'
import { problemText, textsOf } from '../texts.ts'
import { quoted } from './failure.ts'
import { relativeTime } from './format.ts'
import type { Html } from './html.ts'
import { icon } from './icons.ts'
import { plainPage } from './layout.ts'
import { localPath, prose, row } from './parts.ts'

/** The form goes to the address of the link itself: that is what makes it good once. */
export const signIn = (model: SignInModel): Html => {
  const { session: t } = textsOf(model.language)
  return plainPage(model, {
    nowMs: model.nowMs,
    title: t.signIn,
    body: html`<div class="box"><div class="row center"><span class="big-mark">${icon('plug')}</span>
<p>${t.signInLead(model.hostname)}</p>
<form method="post" action="${localPath(model.path)}"><button class="button button-primary button-wide" type="submit">${t.signInButton}</button></form>
<p class="hint">${t.signInHint}<br>${t.expires}: ${relativeTime(model.expiresAtMs, model)}</p></div></div>`,
  })
}

export const signedOut = (frame: Frame): Html => {
  const { session: t } = textsOf(frame.language)
  return plainPage(frame, {
    title: t.signedOut,
    body: html`<div class="box">${row(html`<p>${t.signedOutHint}</p><pre class="command">ghconnect ui</pre>`)}</div>`,
  })
}

export const errorPage = (model: ErrorModel): Html => {
  const { error: t } = textsOf(model.language)
  const { failure, language } = model
  const { title, next } = problemText(failure, language)
  return plainPage(model, {
    title,
    body: html`<div class="box">${row(html`${quoted(failure.detail, language)}<p>${prose(next)}</p>
${model.prefix === '' ? helpOf(model) : html`<p><a class="button button-default" href="${to(model, 'overview')}">${t.back}</a></p>`}
<p class="hint"><code>${failure.code}</code></p>`)}</div>`,
  })
}

/** A problem that is the lack of a session says itself how to get one. */
const helpOf = ({ failure, language }: ErrorModel): Html =>
  failure.code === 'signed-out' ? html`` : html`<p class="hint">${prose(textsOf(language).error.help)}</p>`
