// The frame of every page: head, header, navigation, landmarks. Nothing is fetched from elsewhere, and nothing is inline.

import { html } from 'hono/html'
import { type Frame, LANGUAGES, type Language, OPEN_ROUTES, type PageModel, type RouteName, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { isoOf } from './format.ts'
import type { Html } from './html.ts'
import { icon, type IconName } from './icons.ts'
import { actionForm, banner, localPath } from './parts.ts'
import { failureBanner } from './failure.ts'

const LANGUAGE_NAMES: Readonly<Record<Language, string>> = { en: 'English', ja: '日本語' }

type Page = {
  readonly title: string
  /** Beside the heading: the state's label. */
  readonly mark?: Html
  readonly lead?: Html | string | undefined
  readonly body: Html
  /** Where it shows times that go on: by the server's clock. */
  readonly nowMs?: number
}

/** A page of a session: with navigation, live where the script runs. */
export const sessionPage = (model: PageModel, route: RouteName, page: Page): Html => {
  const t = textsOf(model.language)
  const attributes = html` data-page="${to(model, route)}" data-events="${to(model, 'events')}" data-state="${model.state}"`
  return documentOf(
    model,
    { ...page, nowMs: model.nowMs },
    html`<div class="shell" id="shell"${attributes}>
<nav class="side" aria-label="${t.layout.navigation}"><ul>
${navItem(model, route, { to: 'overview', text: t.layout.overview, picture: 'home' })}
${navItem(model, route, { to: 'checkPage', text: t.layout.check, picture: 'pulse' })}
${navItem(model, route, { to: 'keysPage', text: t.layout.keys, picture: 'key' })}
</ul></nav>
<main id="content" tabindex="-1">
<div class="page-head"><h1>${page.title}</h1>${page.mark ?? ''}</div>
${page.lead ? html`<p class="lead">${page.lead}</p>` : ''}
${model.notice ? banner('success', html`<p>${t.notices[model.notice]}</p>`, true) : ''}
${model.failure ? failureBanner(model.failure, model.language) : ''}
${page.body}
</main>
</div>
<p class="polling" role="status" id="polling" data-text="${t.layout.polling}"></p>
<p class="visually-hidden" role="status" id="announce" data-text="${t.overview.labels[model.state]}"></p>`,
    actionForm(model, 'signOut', t.layout.signOut),
    html`ghconnectd ${model.version}`,
  )
}

/** A page of its own in the middle: sign-in, confirm, errors. */
export const plainPage = (frame: Frame, page: Page): Html =>
  documentOf(
    frame,
    page,
    html`<main id="content" class="plain" tabindex="-1">
<div class="page-head"><h1>${page.title}</h1>${page.mark ?? ''}</div>
${page.lead ? html`<p class="lead">${page.lead}</p>` : ''}
${page.body}
</main>`,
    '',
    'ghconnectd',
  )

const navItem = (model: PageModel, here: RouteName, item: { to: RouteName; text: string; picture: IconName }): Html =>
  html`<li><a class="side-link" href="${to(model, item.to)}"${here === item.to ? html` aria-current="page"` : ''}>${icon(item.picture)}<span>${item.text}</span></a></li>`

const documentOf = (
  frame: Frame,
  { title, nowMs }: Page,
  content: Html,
  aside: Html | string,
  foot: Html | string,
): Html => {
  const t = textsOf(frame.language)
  return html`<!doctype html>
<html lang="${frame.language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title === 'GitHub Connect' ? title : `${title} · GitHub Connect`} · ${frame.hostname}</title>
<link rel="icon" href="${OPEN_ROUTES.icon}" type="image/svg+xml">
<link rel="stylesheet" href="${OPEN_ROUTES.style}">
<script type="module" src="${OPEN_ROUTES.script}"></script>
</head>
<body${nowMs === undefined ? '' : html` data-now="${isoOf(nowMs)}" data-just-now="${t.time.justNow}" data-soon="${t.time.soon}"`}>
<a class="skip" href="#content">${t.layout.skip}</a>
<header class="top">
<span class="top-mark">${icon('plug')}<span>GitHub Connect</span></span>
<span class="top-host">${frame.hostname}</span>
<span class="top-space"></span>
${languageSwitch(frame)}
${aside}
</header>
${content}
<footer class="foot">${foot}</footer>
</body>
</html>`
}

/** Each language is named in itself. */
const languageSwitch = (frame: Frame): Html =>
  html`<nav class="languages" aria-label="${textsOf(frame.language).layout.language}">${icon('globe')}${LANGUAGES.map(
    language =>
      language === frame.language
        ? html`<span class="language" aria-current="true">${LANGUAGE_NAMES[language]}</span>`
        : html`<a class="language" lang="${language}" hreflang="${language}" href="${localPath(frame.path)}?lang=${language}">${LANGUAGE_NAMES[language]}</a>`,
  )}</nav>`
