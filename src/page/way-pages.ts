// Two small pages on the way back from GitHub: one that leads on to the session's page, and one for whoever has none.

import { html } from 'hono/html'
import type { Explanation } from '../protocol/connection.ts'
import type { Frame, Language } from './model.ts'
import type { Html } from './views/html.ts'
import { quoted } from './views/failure.ts'
import { plainPage } from './views/layout.ts'
import { prose, row } from './views/parts.ts'

/** Shown for a moment, where the browser goes on by itself. */
export const hopPage = (frame: Frame, to: string): Html => {
  const { back, goOn } = TEXTS[frame.language]
  return plainPage(frame, { title: back, body: html`<p><a class="button button-primary" href="${to}">${goOn}</a></p>` })
}

/** The daemon's own words, which are English. */
export const statePage = (frame: Frame, { meaning, next }: Explanation): Html => {
  const { signIn } = TEXTS[frame.language]
  return plainPage(frame, {
    title: 'GitHub Connect',
    body: html`<div class="box">${row(html`${quoted(meaning, frame.language)}<p lang="en">${prose(next)}</p>
<p class="hint">${signIn[0]} <code>ghconnect ui</code>${signIn[1]}</p>`)}</div>`,
  })
}

type Texts = { readonly back: string; readonly goOn: string; readonly signIn: readonly [string, string] }

const TEXTS: Readonly<Record<Language, Texts>> = {
  en: {
    back: 'Back from GitHub',
    goOn: 'Go on to the settings page',
    signIn: ['To see more, sign in to the settings page:', ' prints a link.'],
  },
  ja: {
    back: 'GitHub から戻りました',
    goOn: '設定ページへ進む',
    signIn: ['詳しくは設定ページにサインインしてください。リンクは', ' で表示されます。'],
  },
}
