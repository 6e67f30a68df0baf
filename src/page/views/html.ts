// What views are written with: HTML in which nothing from outside becomes markup or a disguise, sentences in both languages, and times.

import { html as escaped } from 'hono/html'
import type { Language } from '../model.ts'

export type Html = ReturnType<typeof escaped>
/** What is absent or false shows as nothing. */
export type Part = Html | string | number | false | undefined | readonly Part[]

/** Characters that turn the direction of text, or that are not to be seen: a name must not disguise what is around it. */
const DISGUISE = /(?![\n\r\t])[\p{Cc}\p{Cf}\u2028\u2029]/gu

/** Each value is escaped by hono; a visible mark takes the place of each character that could disguise. */
export const html = (strings: TemplateStringsArray, ...values: readonly Part[]): Html =>
  escaped(strings, ...values.map(undisguised))

const undisguised = (value: Part): Part => {
  if (typeof value === 'string') return value.replaceAll(DISGUISE, '\uFFFD')
  return Array.isArray(value) ? value.map(undisguised) : value
}

/** A sentence in both languages, side by side: one that lacks Japanese does not compile. */
export type Text = readonly [en: string, ja: string]

export const textIn =
  (language: Language) =>
  (...[en, ja]: Text): string =>
    language === 'ja' ? ja : en

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const

export const JUST_NOW: Text = ['just now', 'たった今']
export const SOON: Text = ['in a moment', 'まもなく']

/** As the command line has it. Node's own formats cost more time at the first use than a whole page. */
const formatDate = (time: string): string => `${time.slice(0, 10)} ${time.slice(11, 16)} UTC`

export const formatDay = (ms: number, language: Language): string => {
  const date = new Date(ms)
  const [weekday, day] = [date.getUTCDay(), date.getUTCDate()]
  return textIn(language)(`${WEEKDAYS[weekday]} ${day}`, `${day}日(${'日月火水木金土'.charAt(weekday)})`)
}

/** The same rule and words are in client.js, which keeps the text fresh. */
export const formatRelative = (ms: number, nowMs: number, language: Language): string => {
  const t = textIn(language)
  const away = ms - nowMs
  const size = Math.abs(away)
  if (size < MINUTE_MS) return t(...(away > 0 ? SOON : JUST_NOW))
  const [unitMs, en, ja] =
    size < HOUR_MS
      ? ([MINUTE_MS, 'minute', '分'] as const)
      : size < 2 * DAY_MS
        ? ([HOUR_MS, 'hour', '時間'] as const)
        : ([DAY_MS, 'day', '日'] as const)
  const count = Math.trunc(size / unitMs)
  const english = `${count} ${en}${count === 1 ? '' : 's'}`
  return away > 0 ? t(`in ${english}`, `${count} ${ja}後`) : t(`${english} ago`, `${count} ${ja}前`)
}

/** "3 minutes ago", with the date behind it. `time` is in ISO 8601. */
export const relativeTime = (time: string, at: { nowMs: number; language: Language }): Html =>
  html`<time datetime="${time}" title="${formatDate(time)}" data-relative>${formatRelative(Date.parse(time), at.nowMs, at.language)}</time>`

export const dateTime = (time: string): Html => html`<time datetime="${time}">${formatDate(time)}</time>`
