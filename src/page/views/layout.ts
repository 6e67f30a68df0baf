// The frame of every page: head, header, navigation, landmarks. Nothing is fetched from elsewhere, and nothing is inline.

import { isoTime } from '../../protocol/wire.ts'
import {
  type Frame,
  LANGUAGES,
  type Language,
  OPEN_ROUTES,
  type PageModel,
  type Problem,
  type RouteName,
  to,
} from '../model.ts'
import { problemText } from '../problems.ts'
import { type Html, html, JUST_NOW, type Part, SOON, type Text, textIn } from './html.ts'
import { actionForm, banner, icon, type IconName, localPath, prose, quoted } from './parts.ts'
import { STATES } from './states.ts'

type Page = {
  readonly title: string
  /** Beside the heading: the state's label. */
  readonly mark?: Html
  readonly lead?: Part
  readonly body: Html
  /** Where it shows times that go on: by the server's clock. */
  readonly nowMs?: number
}

const NOTICES: Readonly<Record<NonNullable<PageModel['notice']>, Text>> = {
  refreshed: ['The tokens were refreshed.', 'トークンを更新しました。'],
  'key-added': [
    'The private key was added. GitHub accepts it.',
    '秘密鍵を追加しました。GitHub で使えることを確認済みです。',
  ],
  'key-retired': [
    'The private key was removed from this machine. Delete it on GitHub, too.',
    '秘密鍵をこのマシンから削除しました。GitHub 側でも削除してください。',
  ],
  'recovery-key-added': [
    'The recovery key was added. Keep its file away from this machine.',
    '回復キーを追加しました。ファイルはこのマシン以外の場所に保管してください。',
  ],
  adopted: ['This machine has taken over the connection.', 'このマシンが接続を引き継ぎました。'],
  canceled: ['Setting up was canceled.', 'セットアップを取り消しました。'],
  disabled: ['GitHub Connect is being disabled.', 'GitHub Connect を無効にしています。'],
}

/** A page of a session: with navigation, live where the script runs. */
export const sessionPage = (model: PageModel, route: RouteName, page: Page): Html => {
  const t = textIn(model.language)
  const link = (where: RouteName, text: string, picture: IconName): Html =>
    html`<li><a class="side-link" href="${to(model, where)}"${route === where && html` aria-current="page"`}>${icon(picture)}<span>${text}</span></a></li>`
  const polling = t(
    'No live updates at the moment: this page refreshes itself every 15 seconds.',
    '現在、リアルタイム更新を利用できません。このページは 15 秒ごとに更新されます。',
  )
  return documentOf(
    model,
    { ...page, nowMs: model.nowMs },
    {
      content: html`<div class="shell" id="shell" data-page="${to(model, route)}" data-events="${to(model, 'events')}" data-state="${model.state}">
<nav class="side" aria-label="${t('Settings', '設定')}"><ul>
${link('overview', t('Overview', '概要'), 'home')}
${link('checkPage', t('Check connection', '接続の診断'), 'pulse')}
${link('keysPage', t('Keys and recovery', '鍵と回復'), 'key')}
</ul></nav>
<main id="content" tabindex="-1">
${headOf(page)}
${model.notice && banner('success', html`<p>${t(...NOTICES[model.notice])}</p>`, true)}
${model.failure && failureBanner(model.failure, model.language)}
${page.body}
</main>
</div>
<p class="polling" role="status" id="polling" data-text="${polling}"></p>
<p class="visually-hidden" role="status" id="announce" data-text="${t(...STATES[model.state].label)}"></p>`,
      aside: actionForm(model, 'signOut', [t('Sign out', 'サインアウト')]),
      foot: `ghconnectd ${model.version}`,
    },
  )
}

/** A page of its own in the middle: sign-in, confirm, errors. */
export const plainPage = (frame: Frame, page: Page): Html =>
  documentOf(frame, page, {
    content: html`<main id="content" class="plain" tabindex="-1">
${headOf(page)}
${page.body}
</main>`,
    foot: 'ghconnectd',
  })

/** What went wrong and what to do about it, over the form that failed. */
export const failureBanner = (failure: Problem, language: Language): Html => {
  const { title, next } = problemText(failure.code, language)
  return banner(
    'danger',
    html`<p class="banner-title">${title}</p>${quoted(failure.message, language)}<p>${prose(next)}</p><p class="hint"><code>${failure.code}</code></p>`,
    true,
  )
}

const headOf = ({ title, mark, lead }: Page): Html =>
  html`<div class="page-head"><h1>${title}</h1>${mark}</div>
${lead && html`<p class="lead">${lead}</p>`}`

const documentOf = (
  frame: Frame,
  { title, nowMs }: Page,
  { content, aside, foot }: { content: Html; aside?: Html; foot: string },
): Html => {
  const t = textIn(frame.language)
  const now =
    nowMs !== undefined &&
    html` data-now="${isoTime(nowMs)}" data-just-now="${t(...JUST_NOW)}" data-soon="${t(...SOON)}"`
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
<body${now}>
<a class="skip" href="#content">${t('Skip to content', '本文へ移動')}</a>
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
const LANGUAGE_NAMES: Readonly<Record<Language, string>> = { en: 'English', ja: '日本語' }

const languageSwitch = (frame: Frame): Html =>
  html`<nav class="languages" aria-label="${textIn(frame.language)('Language', '言語')}">${icon('globe')}${LANGUAGES.map(
    language =>
      language === frame.language
        ? html`<span class="language" aria-current="true">${LANGUAGE_NAMES[language]}</span>`
        : html`<a class="language" lang="${language}" hreflang="${language}" href="${localPath(frame.path)}?lang=${language}">${LANGUAGE_NAMES[language]}</a>`,
  )}</nav>`
