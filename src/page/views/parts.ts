// What several views are made of: icons, boxes, banners, labels, links, forms and lists, in the manner of GitHub's settings pages.

import type { Account, AccountType } from '../../protocol/connection.ts'
import type { Access, Permissions } from '../../protocol/scope.ts'
import { type Frame, type Language, type RouteName, ROUTES, to } from '../model.ts'
import { type Html, html, type Part, type Text, textIn } from './html.ts'

/** Drawn with strokes in the colour of the text around them. They repeat what the text says: none has a name of its own. */
const ICONS = {
  check: 'M3 8.5l3.2 3.2L13 4.8',
  cross: 'M4 4l8 8M12 4l-8 8',
  alert: 'M8 2.2L14.4 13.4H1.6zM8 6.4v3.4M8 11.6v.2',
  info: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 7.4v3.8M8 4.8v.2',
  dot: 'M8 5.6a2.4 2.4 0 1 0 0 4.8A2.4 2.4 0 1 0 8 5.6',
  dash: 'M4 8h8',
  clock: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 4.4V8l2.4 1.8',
  external: 'M9.5 2.5h4v4M13.5 2.5L7.5 8.5M11.5 9.5v3.2a.8.8 0 0 1-.8.8H3.3a.8.8 0 0 1-.8-.8V5.3a.8.8 0 0 1 .8-.8h3.2',
  plug: 'M5.5 1.8v3.4M10.5 1.8v3.4M3.5 5.2h9v2.3a4.5 4.5 0 0 1-9 0zM8 12v2.4',
  pulse: 'M1.5 8.5h3l2-5 3 9 2-4h3',
  key: 'M10.4 2a3.6 3.6 0 1 0 0 7.2 3.6 3.6 0 0 0 0-7.2M7.8 8.2L2 14M4.2 11.8l1.8 1.8',
  shield: 'M8 1.8l5.2 1.8v4.2c0 3.2-2.2 5.2-5.2 6.4-3-1.2-5.2-3.2-5.2-6.4V3.6z',
  home: 'M2 7.4L8 2.2l6 5.2M3.6 6.2v7.6h8.8V6.2',
  person: 'M8 2.2a2.9 2.9 0 1 0 0 5.8 2.9 2.9 0 1 0 0-5.8M2.4 14c.5-3 2.7-4.4 5.6-4.4s5.1 1.4 5.6 4.4',
  globe: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M1.8 8h12.4M8 1.8c-4 4-4 8.4 0 12.4 4-4 4-8.4 0-12.4',
  server: 'M2.2 2.6h11.6v4.2H2.2zM2.2 9.2h11.6v4.2H2.2zM4.8 4.7h.2M4.8 11.3h.2',
} as const
export type IconName = keyof typeof ICONS

export const icon = (name: IconName): Html =>
  html`<svg class="icon icon-${name}" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path d="${ICONS[name]}"/></svg>`

export type Tone = 'success' | 'attention' | 'danger' | 'accent' | 'neutral'

const TONE_ICONS: Readonly<Record<Tone, IconName>> = {
  success: 'check',
  attention: 'alert',
  danger: 'alert',
  accent: 'info',
  neutral: 'info',
}

/** A sentence in which commands stand between backticks. */
export const prose = (text: string): Html =>
  html`${text.split('`').map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part))}`

/** On an element whose text is English in every language. */
export const english = (language: Language): Part => language !== 'en' && html` lang="en"`

/** A sentence of the daemon's or of GitHub's, as it is: English in every language, and marked as such. */
export const quoted = (text: string, language: Language): Html =>
  language === 'en'
    ? html`<p class="quoted">${text}</p>`
    : html`<p class="quoted"><span class="muted">原文:</span> <span lang="en">${text}</span></p>`

export const label = (tone: Tone, text: string): Html => html`<span class="label label-${tone}">${text}</span>`

/** Those that tell of something that just happened are announced; those that stand there are not. */
export const banner = (tone: Tone, content: Html, announced = false): Html =>
  html`<div class="banner banner-${tone}"${announced && html` role="${tone === 'danger' ? 'alert' : 'status'}"`}>${icon(TONE_ICONS[tone])}<div class="banner-text">${content}</div></div>`

/** A section of the page. `aside` stands beside its title; one that is `live` is replaced by its newer self, by the script. */
export const box = (
  options: { readonly id: string; readonly title: string; readonly aside?: Part; readonly live?: boolean },
  content: Part,
): Html =>
  html`<section class="section" id="${options.id}" aria-labelledby="${options.id}-title"${options.live && html` data-live`}>
<div class="section-head"><h2 id="${options.id}-title">${options.title}</h2>${options.aside}</div>
<div class="box">${content}</div>
</section>`

export const row = (content: Part, action?: Part): Html =>
  html`<div class="row"><div class="row-main">${content}</div>${action && html`<div class="row-action">${action}</div>`}</div>`

export const muted = (text: string): Html => row(html`<p class="muted">${text}</p>`)

/** Terms and what they stand for; those without a value are left out. */
export const facts = (entries: readonly (readonly [string, Part])[]): Html =>
  html`<dl class="facts">${entries.map(([term, value]) => value !== undefined && html`<div class="fact"><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`

type Kind = 'primary' | 'default' | 'danger'

/** Leaves this page for GitHub. */
export const outLink = (href: string, text: string): Html =>
  html`<a href="${webAddress(href)}" rel="noreferrer">${text}${icon('external')}</a>`

export const outButton = (href: string, text: string, kind: Kind = 'default'): Html =>
  html`<a class="button button-${kind}" href="${webAddress(href)}" rel="noreferrer">${text}${icon('external')}</a>`

export const linkButton = (href: string, text: string, kind: Kind = 'default'): Html =>
  html`<a class="button button-${kind}" href="${href}">${text}</a>`

export const cancelLink = (frame: Frame): Html =>
  linkButton(to(frame, 'overview'), textIn(frame.language)('Cancel', '取り消す'))

/** A path is one of this server: two slashes would lead to another. */
export const localPath = (path: string): string => (/^\/(?![/\\])/.test(path) ? path : '/')

/** What GitHub (or whoever answered in its place) gave as an address is a link only where it is one of the web. */
export const webAddress = (href: string): string => (/^https?:\/\//i.test(href) ? href : '#')

/** Of a route that takes a file, the file may be dropped anywhere on the form. */
export const form = (options: { frame: Frame; route: RouteName; className?: string }, content: Part): Html => {
  const { frame, route, className = 'form' } = options
  const takesFile = ROUTES[route].fields.some(name => name.endsWith('_file?'))
  return html`<form class="${className}" method="post" action="${to(frame, route)}"${takesFile && html` enctype="multipart/form-data" data-drop`}${route === 'check' && html` data-check`}>
<input type="hidden" name="csrf" value="${frame.csrf}">
${content}</form>`
}

export const submit = (text: string, kind: Kind = 'primary'): Html =>
  html`<button class="button button-${kind}" type="submit">${text}</button>`

/** A form that is a single button. */
export const actionForm = (frame: Frame, route: RouteName, [text, kind = 'default']: readonly [string, Kind?]): Html =>
  form({ frame, route, className: 'inline-form' }, submit(text, kind))

export const textField = (options: {
  readonly id: string
  readonly name: string
  readonly text: string
  readonly hint?: Part
  readonly value?: string | undefined
  readonly mono?: boolean
  /** Besides those that each field for a name or key has. */
  readonly attributes: Html
}): Html => {
  const { id, name, text, hint, value, mono, attributes } = options
  return html`<div class="field"><label for="${id}">${text}</label>
<input class="control${mono && ' mono'}" id="${id}" name="${name}"${value !== undefined && html` value="${value}"`} ${attributes} autocomplete="off" autocapitalize="off" spellcheck="false"${hint && html` aria-describedby="${id}-hint"`}>${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}</div>`
}

type KeyField = { readonly file: string; readonly text: Text; readonly hint: Text; readonly sample: string }

const KEY_FIELDS: Readonly<Record<'private_key' | 'identity', KeyField>> = {
  private_key: {
    file: 'key_file',
    text: ['Private key (PEM)', '秘密鍵 (PEM)'],
    hint: [
      'The .pem file that GitHub offered for download. It is stored encrypted on this machine and goes nowhere else.',
      'GitHub からダウンロードした .pem ファイルです。このマシンに暗号化して保存され、ほかの場所へ送られることはありません。',
    ],
    sample: '-----BEGIN RSA PRIVATE KEY-----',
  },
  identity: {
    file: 'identity_file',
    text: ['Recovery key', '回復キー'],
    hint: [
      'The file that was saved when the recovery key was made; it holds a line that begins with AGE-SECRET-KEY-1. It is used once and not stored.',
      '回復キーの作成時に保存したファイルです。AGE-SECRET-KEY-1 で始まる行があります。一度だけ使用し、保存はしません。',
    ],
    sample: 'AGE-SECRET-KEY-1…',
  },
}

/** A key or an identity: pasted, chosen as a file, or dropped. */
export const keyField = (language: Language, name: keyof typeof KEY_FIELDS): Html => {
  const t = textIn(language)
  const { file, text, hint, sample } = KEY_FIELDS[name]
  return html`<fieldset class="field key-field"><legend>${t(...text)}</legend>
<p class="hint" id="${name}-hint">${t(...hint)}</p>
<label class="visually-hidden" for="${name}">${t('Text of the file', 'ファイルの内容')}</label>
<textarea class="control mono" id="${name}" name="${name}" rows="5" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="${sample}" aria-describedby="${name}-hint"></textarea>
<div class="file-line"><label for="${file}">${t('Or choose the file:', 'またはファイルを選択:')}</label><input type="file" id="${file}" name="${file}"><span class="drop-hint hint" hidden>${t('or drop it anywhere in this form', 'このフォームにドロップすることもできます')}</span></div>
</fieldset>`
}

const ACCESS: Readonly<Record<Access, Text>> = {
  read: ['Read-only', '読み取り'],
  write: ['Read and write', '読み取りと書き込み'],
  admin: ['Admin', '管理'],
}

export const chips = (items: readonly Part[]): Html =>
  html`<ul class="chips">${items.map(item => html`<li class="chip">${item}</li>`)}</ul>`

export const permissionList = (permissions: Permissions, language: Language): Html => {
  const t = textIn(language)
  const entries = Object.entries(permissions).toSorted(([a], [b]) => (a < b ? -1 : 1))
  if (entries.length === 0) return html`<span class="muted">${t('none', 'なし')}</span>`
  return chips(
    entries.map(([name, access]) => {
      // As GitHub's own pages have it: `pull_requests` is "Pull requests".
      const words = name.replaceAll('_', ' ')
      return html`${words.charAt(0).toUpperCase() + words.slice(1)} <span class="chip-note">${t(...ACCESS[access])}</span>`
    }),
  )
}

export const ACCOUNT_TYPES: Readonly<Record<AccountType, Text>> = {
  organization: ['Organization', 'Organization'],
  enterprise: ['Enterprise', 'Enterprise'],
  user: ['Personal account', '個人アカウント'],
}

export const accountType = ({ type }: Account, language: Language): Html =>
  html`<span class="muted">${textIn(language)(...ACCOUNT_TYPES[type])}</span>`

const STEPS: Readonly<Record<'pending' | 'active' | 'done' | 'failed', readonly [Tone, IconName, Text]>> = {
  pending: ['neutral', 'dot', ['to do', '未実施']],
  active: ['accent', 'clock', ['now', '実行中']],
  done: ['success', 'check', ['done', '完了']],
  failed: ['danger', 'cross', ['failed', '失敗']],
}

export type Step = { readonly state: keyof typeof STEPS; readonly title: string; readonly detail?: Part }

export const stepList = (steps: readonly Step[], language: Language): Html =>
  html`<ol class="steps">${steps.map(({ state, title, detail }) => {
    const [tone, picture, text] = STEPS[state]
    return html`<li class="step step-${state}"${state === 'active' && html` aria-current="step"`}><span class="step-mark tone-${tone}">${icon(picture)}</span><div><p class="step-title">${title} <span class="visually-hidden">(${textIn(language)(...text)})</span></p>${detail && html`<div class="step-detail">${detail}</div>`}</div></li>`
  })}</ol>`
