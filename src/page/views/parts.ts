// What several views are made of: boxes, banners, labels, forms and lists, in the manner of GitHub's settings pages.

import { html } from 'hono/html'
import type { Account } from '../../protocol/connection.ts'
import type { Permissions } from '../../protocol/scope.ts'
import { type Frame, type Language, type RouteName, ROUTES, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { permissionEntries } from './format.ts'
import type { Html } from './html.ts'
import { icon, type IconName } from './icons.ts'

export type Tone = 'success' | 'attention' | 'danger' | 'accent' | 'neutral'

export const TONE_ICON: Readonly<Record<Tone, IconName>> = {
  success: 'check',
  attention: 'alert',
  danger: 'alert',
  accent: 'info',
  neutral: 'info',
}

/** A sentence in which commands stand between backticks. */
export const prose = (text: string): Html =>
  html`${text.split('`').map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part))}`

export const label = (tone: Tone, text: string): Html => html`<span class="label label-${tone}">${text}</span>`

/** A banner. Those that tell of something that just happened are announced; those that stand there are not. */
export const banner = (tone: Tone, content: Html, announced = false): Html =>
  html`<div class="banner banner-${tone}"${announced ? html` role="${tone === 'danger' ? 'alert' : 'status'}"` : ''}>${icon(TONE_ICON[tone])}<div class="banner-text">${content}</div></div>`

export type BoxOptions = {
  readonly id: string
  readonly title: string
  /** Beside the title: a button, a count. */
  readonly aside?: Html
  readonly tone?: 'danger' | 'attention'
  /** The script replaces it with its newer self. */
  readonly live?: boolean
}

/** A section of the page: heading and a bordered box. */
export const box = (options: BoxOptions, content: Html | readonly Html[]): Html =>
  html`<section class="section" id="${options.id}" aria-labelledby="${options.id}-title"${options.live ? html` data-live` : ''}>
<div class="section-head"><h2 id="${options.id}-title">${options.title}</h2>${options.aside ?? ''}</div>
<div class="box${options.tone ? ` box-${options.tone}` : ''}">${content}</div>
</section>`

export const row = (content: Html | string, action?: Html): Html =>
  html`<div class="row"><div class="row-main">${content}</div>${action ? html`<div class="row-action">${action}</div>` : ''}</div>`

/** Terms and what they stand for; those without a value are left out. */
export const facts = (entries: readonly (readonly [string, Html | string | undefined])[]): Html =>
  html`<dl class="facts">${entries
    .filter(([, value]) => value !== undefined)
    .map(([term, value]) => html`<div class="fact"><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`

/** Leaves this page for GitHub. */
export const outLink = (href: string, text: string): Html =>
  html`<a href="${webAddress(href)}" rel="noreferrer">${text}${icon('external')}</a>`

export const outButton = (href: string, text: string, kind: 'primary' | 'default' = 'default'): Html =>
  html`<a class="button button-${kind}" href="${webAddress(href)}" rel="noreferrer">${text}${icon('external')}</a>`

export const linkButton = (href: string, text: string, kind: 'primary' | 'default' | 'danger' = 'default'): Html =>
  html`<a class="button button-${kind}" href="${href}">${text}</a>`

/** A path is one of this server: two slashes would lead to another. */
export const localPath = (path: string): string => (/^\/(?![/\\])/.test(path) ? path : '/')

/** What GitHub (or whoever answered in its place) gave as an address is a link only where it is one of the web. */
export const webAddress = (href: string): string => (/^https?:\/\//i.test(href) ? href : '#')

export type FormOptions = {
  readonly frame: Frame
  readonly route: RouteName
  readonly className?: string
  /** A file may be dropped anywhere on it. */
  readonly drop?: boolean
}

export const form = ({ frame, route, className = 'form', drop }: FormOptions, content: Html | readonly Html[]): Html =>
  html`<form class="${className}" method="post" action="${to(frame, route)}"${takesFile(route) ? html` enctype="multipart/form-data"` : ''}${drop ? html` data-drop` : ''}${route === 'check' ? html` data-check` : ''}>
<input type="hidden" name="csrf" value="${frame.csrf}">
${content}</form>`

const takesFile = (route: RouteName): boolean =>
  (ROUTES[route].fields as readonly string[]).some(name => name.endsWith('_file?'))

export const submit = (text: string, kind: 'primary' | 'default' | 'danger' = 'primary'): Html =>
  html`<button class="button button-${kind}" type="submit">${text}</button>`

/** A form that is a single button. */
export const actionForm = (
  frame: Frame,
  route: RouteName,
  text: string,
  kind: 'primary' | 'default' | 'danger' = 'default',
): Html => form({ frame, route, className: 'inline-form' }, submit(text, kind))

export const field = (options: {
  readonly id: string
  readonly text: string
  readonly control: Html
  readonly hint?: Html | string
}): Html =>
  html`<div class="field"><label for="${options.id}">${options.text}</label>${options.control}${options.hint === undefined ? '' : html`<p class="hint" id="${options.id}-hint">${options.hint}</p>`}</div>`

/** A key or an identity: pasted, chosen as a file, or dropped. */
export const keyField = (
  language: Language,
  options: {
    name: 'private_key' | 'identity'
    file: 'key_file' | 'identity_file'
    text: string
    hint: string
    sample: string
  },
): Html => {
  const t = textsOf(language)
  return html`<fieldset class="field key-field"><legend>${options.text}</legend>
<p class="hint" id="${options.name}-hint">${options.hint}</p>
<label class="visually-hidden" for="${options.name}">${t.keyField.paste}</label>
<textarea class="control mono" id="${options.name}" name="${options.name}" rows="5" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="${options.sample}" aria-describedby="${options.name}-hint"></textarea>
<div class="file-line"><label for="${options.file}">${t.keyField.file}</label><input type="file" id="${options.file}" name="${options.file}"><span class="drop-hint hint" hidden>${t.keyField.drop}</span></div>
</fieldset>`
}

export const permissionList = (permissions: Permissions, language: Language): Html => {
  const entries = permissionEntries(permissions, language)
  if (entries.length === 0) return html`<span class="muted">${textsOf(language).none}</span>`
  return html`<ul class="chips">${entries.map(({ name, access }) => html`<li class="chip">${name} <span class="chip-note">${access}</span></li>`)}</ul>`
}

export const accountType = (account: Account, language: Language): string =>
  textsOf(language).accountTypes[account.type]

export type Step = {
  readonly state: 'pending' | 'active' | 'done' | 'failed' | 'skipped'
  readonly title: string
  readonly detail?: Html | string
}

const STEP_ICON: Readonly<Record<Step['state'], IconName>> = {
  pending: 'dot',
  active: 'clock',
  done: 'check',
  failed: 'cross',
  skipped: 'dash',
}

export const stepList = (steps: readonly Step[], language: Language): Html =>
  html`<ol class="steps">${steps.map(
    step =>
      html`<li class="step step-${step.state}"${step.state === 'active' ? html` aria-current="step"` : ''}><span class="step-mark">${icon(STEP_ICON[step.state])}</span><div><p class="step-title">${step.title} <span class="visually-hidden">(${textsOf(language).stepStates[step.state]})</span></p>${step.detail === undefined ? '' : html`<div class="step-detail">${step.detail}</div>`}</div></li>`,
  )}</ol>`
