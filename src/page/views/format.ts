// Times, permissions and names as a person reads them, in the language of the page.

import { html } from 'hono/html'
import type { Permissions } from '../../protocol/scope.ts'
import { isoTime } from '../../protocol/wire.ts'
import type { Language } from '../model.ts'
import { textsOf } from '../texts.ts'
import type { Html } from './html.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** As the command line has it. Node's own formats cost more time at the first use than a whole page. */
export const formatDate = (ms: number): string => `${isoOf(ms).slice(0, 10)} ${isoOf(ms).slice(11, 16)} UTC`

export const formatDay = (ms: number, language: Language): string => {
  const date = new Date(ms)
  const { weekdays, day } = textsOf(language).time
  return day(weekdays[date.getUTCDay()] ?? '', date.getUTCDate())
}

/** The same rule and words are in client.js, which keeps the text fresh. */
export const formatRelative = (ms: number, nowMs: number, language: Language): string => {
  const { time } = textsOf(language)
  const away = ms - nowMs
  const size = Math.abs(away)
  if (size < MINUTE_MS) return away > 0 ? time.soon : time.justNow
  const [count, unit] =
    size < HOUR_MS
      ? ([size / MINUTE_MS, 'minute'] as const)
      : size < 2 * DAY_MS
        ? ([size / HOUR_MS, 'hour'] as const)
        : ([size / DAY_MS, 'day'] as const)
  return away > 0 ? time.ahead(Math.trunc(count), unit) : time.ago(Math.trunc(count), unit)
}

/** "3 minutes ago", with the date behind it. */
export const relativeTime = (ms: number, at: { nowMs: number; language: Language }): Html =>
  html`<time datetime="${isoOf(ms)}" title="${formatDate(ms)}" data-relative>${formatRelative(ms, at.nowMs, at.language)}</time>`

export const dateTime = (ms: number): Html => html`<time datetime="${isoOf(ms)}">${formatDate(ms)}</time>`

export const isoOf = isoTime

/** `pull_requests` as GitHub's own pages have it: "Pull requests". */
export const permissionName = (name: string): string => {
  const words = name.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

export const permissionEntries = (
  permissions: Permissions,
  language: Language,
): readonly { readonly name: string; readonly access: string }[] =>
  Object.entries(permissions)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, access]) => ({ name: permissionName(name), access: textsOf(language).access[access] }))

/** Characters that turn the direction of text, or that are not to be seen: a name must not disguise what is around it. */
const DISGUISE = /(?![\n\r\t])[\p{Cc}\p{Cf}\u2028\u2029]/gu

/** The same value, with a visible mark in place of each such character in any of its texts. */
export const withoutDisguise = <T>(value: T): T => tame(value) as T

const tame = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replaceAll(DISGUISE, '\uFFFD')
  if (Array.isArray(value)) return value.map(tame)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key.replaceAll(DISGUISE, '\uFFFD'), tame(inner)]),
  )
}
