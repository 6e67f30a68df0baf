// What went wrong and what to do about it: the banner over a form that failed, and the lasting warnings of a connection.

import { html } from 'hono/html'
import { type FailureFacts, type Language, type PageModel, type RouteName, to, type WarningFacts } from '../model.ts'
import { problemText, textsOf, warningText } from '../texts.ts'
import type { Html } from './html.ts'
import { banner, linkButton, prose } from './parts.ts'

export const failureBanner = (failure: FailureFacts, language: Language): Html => {
  const { title, next } = problemText(failure, language)
  return banner(
    'danger',
    html`<p class="banner-title">${title}</p>${quoted(failure.detail, language)}<p>${prose(next)}</p><p class="hint"><code>${failure.code}</code></p>`,
    true,
  )
}

/** A sentence of the daemon's or of GitHub's, as it is: English in every language, and marked as such. */
export const quoted = (text: string, language: Language): Html =>
  language === 'en'
    ? html`<p class="quoted">${text}</p>`
    : html`<p class="quoted"><span class="muted">${textsOf(language).quoted}</span> <span lang="en">${text}</span></p>`

const GRAVE = new Set(['audit-unavailable', 'key-rejected', 'app-not-found', 'store-corrupt', 'disk-full'])

/** The page of this site on which something is done about it. */
const REMEDIES: Readonly<Record<string, RouteName>> = {
  'no-recovery-key': 'keysPage',
  'key-old': 'keysPage',
  'key-fallback': 'keysPage',
  'key-retire': 'keysPage',
  'key-rejected': 'keysPage',
  clock: 'checkPage',
}

export const warningBanner = (warning: WarningFacts, model: PageModel): Html => {
  const { language } = model
  const { title, next } = warningText(warning, language)
  const remedy = Object.hasOwn(REMEDIES, warning.code) ? REMEDIES[warning.code] : undefined
  const layout = textsOf(language).layout
  return banner(
    GRAVE.has(warning.code) ? 'danger' : 'attention',
    html`<div class="banner-line"><div>${
      title === undefined
        ? html`<p class="banner-title"${language === 'en' ? '' : html` lang="en"`}>${warning.detail}</p>`
        : html`<p class="banner-title">${title}</p>${quoted(warning.detail, language)}`
    }${remedy === undefined || title !== undefined ? html`<p>${prose(next)}</p>` : ''}</div>${remedy === undefined ? '' : linkButton(to(model, remedy), remedy === 'checkPage' ? layout.check : layout.keys)}</div>`,
  )
}
