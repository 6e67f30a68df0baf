// The views: every state in both languages, nothing unescaped, nothing inline, every form with its token, and light enough.

import { gzipSync } from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { createAssets } from '../../src/page/assets.ts'
import { LANGUAGES, type Language, type PageModel, ROUTES } from '../../src/page/model.ts'
import { formatRelative } from '../../src/page/views/html.ts'
import { checkPage } from '../../src/page/views/check.ts'
import { disablePage } from '../../src/page/views/disable.ts'
import { keysPage } from '../../src/page/views/keys.ts'
import { overviewPage } from '../../src/page/views/overview.ts'
import { confirmPage, problemPage, signedOutPage, signInPage } from '../../src/page/views/plain.ts'
import { importPage } from '../../src/page/views/setup.ts'
import {
  checkModel,
  confirmModel,
  connectedModel,
  errorFrame,
  importModel,
  keysModel,
  NOW_MS,
  overviewModels,
  problem,
  signedOutModel,
  signInModel,
} from '../support/page-models.ts'
import { renderViews } from '../support/render-views.ts'

const rendered = await renderViews()

test('every view of every state is there, in both languages', t => {
  t.is(rendered.length, (Object.keys(overviewModels('en')).length + 12) * LANGUAGES.length)
  for (const { name, language, text } of rendered) {
    const place = `${name} ${language}`
    t.true(text.startsWith('<!doctype html>'), place)
    t.regex(text, new RegExp(`<html lang="${language}">`), place)
    t.notRegex(text, /undefined|\[object |NaN|function|=>/, place)
  }
})

test('a Japanese page has Japanese words wherever an English one has a sentence of its own', t => {
  const sentences = (text: string): string[] =>
    [...text.matchAll(/<(?:p|h1|h2|h3|dt|label|legend|button|summary)\b(?![^>]*lang="en")[^>]*>([^<]{4,})</g)].map(
      ([, words = '']) => words,
    )
  for (const { name, language, text } of rendered) {
    if (language !== 'ja') continue
    const english = sentences(text).filter(words => !/[\u3040-\u30FF\u4E00-\u9FFF]/.test(words))
    // Names of accounts and of features, and the title of the whole.
    t.deepEqual(
      english
        .map(words => words.trim())
        .filter(
          words => !/^(GitHub (Connect|App)|Organization|Enterprise|octo-(org|labs)|ghe-example-com)$/.test(words),
        ),
      [],
      name,
    )
  }
})

test('nothing is inline: no style, no script, no handler, no address of script', t => {
  for (const { name, text } of rendered) {
    t.notRegex(text, /<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\bsrc=)|<iframe|<object|<base/i, name)
    const scripts = [...text.matchAll(/<script\b[^>]*>([^<]*)/g)]
    t.is(scripts.length, 1, name)
    t.is(scripts[0]?.[1], '', name)
    for (const [, address = ''] of text.matchAll(/(?:src|<link[^>]*href)="([^"]*)"/g))
      t.regex(address, /^\/[a-z]/, name)
  }
})

const formsOf = (text: string): { head: string; body: string }[] =>
  [...text.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)].map(([, head = '', body = '']) => ({ head, body }))

test('each form bears the token, but for those to GitHub and of the one-time link', t => {
  let count = 0
  for (const { name, text } of rendered) {
    for (const { head, body } of formsOf(text)) {
      const inSession = head.includes('action="/s/5f2c9a/')
      t.is(body.includes('name="csrf" value="c5rf-0f-th15-5e5510n"'), inSession, `${name} ${head}`)
      if (inSession) count += 1
      else t.regex(head, /action="(https:\/\/github\.com\/|\/sign-in\/)/, name)
    }
  }
  t.true(count > 100)
})

test('each form posts to a route, with fields that the route has and none of its needed ones missing', t => {
  const seen = new Set<string>()
  for (const { name, text } of rendered) {
    for (const { head, body } of formsOf(text)) {
      const [, path = ''] = /action="\/s\/5f2c9a(\/[^"]*)"/.exec(head) ?? []
      const route = Object.entries(ROUTES).find(([, each]) => each.path === path && each.method === 'POST')
      if (path === '') continue
      t.truthy(route, `${name}: ${path}`)
      const fields: readonly string[] = route?.[1].fields ?? []
      const named = new Set([...body.matchAll(/\sname="([^"]+)"/g)].map(([, field = '']) => field))
      named.delete('csrf')
      for (const field of named) t.true(fields.includes(field) || fields.includes(`${field}?`), `${path} ${field}`)
      for (const field of fields) t.true(field.endsWith('?') || named.has(field), `${path} ${field}`)
      const multipart = fields.some(field => field.endsWith('_file?'))
      t.is(head.includes('enctype="multipart/form-data"'), multipart, path)
      seen.add(route?.[0] ?? '')
    }
  }
  const posts = Object.entries(ROUTES).filter(([, { method }]) => method === 'POST')
  t.deepEqual([...seen].toSorted(), posts.map(([route]) => route).toSorted())
})

test('headings go down by one step at a time, under a single first one', t => {
  for (const { name, text } of rendered) {
    const levels = [...text.matchAll(/<h([1-6])\b/g)].map(([, level]) => Number(level))
    t.is(levels.filter(level => level === 1).length, 1, name)
    t.is(levels[0], 1, name)
    levels.reduce((before, level) => {
      t.true(level <= before + 1, `${name}: h${level} after h${before}`)
      return level
    })
  }
})

/** Texts that want to be more than text. Each is told by a mark of its own. */
const HOSTILE = [
  '<script>mark()</script>',
  '"><img src=x onerror=mark()>',
  "' onfocus='mark()' autofocus='",
  '</title><svg onload=mark()>',
  'octo\u202Egro-lave\u202C',
  'zero\u200Bwidth\u2066mark',
  'javascript:mark()',
  '`<b>`mark',
  '&lt;script&gt;mark',
]

/** The same model, with hostile texts in place of its own ones; what decides the view stays. */
const poisoned = <T>(value: T, pick: () => string): T => poison(value, pick, '') as T

const KEPT = new Set([
  'language',
  'prefix',
  'csrf',
  'state',
  'role',
  'verdict',
  'layer',
  'repository_selection',
  'notice',
  'type',
  'step',
  'code',
  'checked_at',
  // An App's permissions have one of three values.
  'permissions',
  'askedPermissions',
  'wantedPermissions',
])

const poison = (value: unknown, pick: () => string, key: string): unknown => {
  if (KEPT.has(key)) return value
  if (typeof value === 'string') return pick()
  if (Array.isArray(value)) return value.map(item => poison(item, pick, ''))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, poison(inner, pick, name)]))
}

const inputs = (language: Language) => [
  ...Object.values(overviewModels(language)).map(model => ({ view: overviewPage, model })),
  { view: importPage, model: importModel(language) },
  { view: disablePage, model: connectedModel(language) },
  { view: checkPage, model: checkModel(language) },
  { view: keysPage, model: keysModel(language) },
]

/** Where a text of ours ends and one of theirs would begin: tags and attributes of a page that has none of theirs. */
const skeletonOf = (text: string): string[] =>
  [...text.matchAll(/<\/?([a-z][a-z0-9]*)/gi)].map(([, tag = '']) => tag.toLowerCase())

test('no text from outside becomes markup, whatever it is', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...LANGUAGES),
      fc.array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary', maxLength: 40 })), {
        minLength: 1,
        maxLength: 12,
      }),
      async (language, texts) => {
        for (const { view, model } of inputs(language)) {
          let at = 0
          const hostile: PageModel = poisoned(model, () => texts[at++ % texts.length] ?? '')
          const text = String(await view(hostile))
          t.notRegex(text, /<script>|<img|<svg onload|<b>|(?:href|action)="javascript/i)
          t.notRegex(text, /(?![\n\r\t])[\p{Cc}\p{Cf}]/u)
          const known = new Set(skeletonOf(String(await view(model))))
          known.add('br').add('ul').add('li').add('code')
          t.deepEqual(
            skeletonOf(text).filter(tag => !known.has(tag)),
            [],
          )
        }
      },
    ),
    { numRuns: 25 },
  )
})

test('pages without a session take hostile texts as well', async t => {
  for (const language of LANGUAGES) {
    for (const mark of HOSTILE) {
      const pick = (): string => mark
      const pages = [
        signInPage(poisoned(signInModel(language), pick)),
        signedOutPage(poisoned(signedOutModel(language), pick)),
        problemPage(poisoned(errorFrame(language), pick), poisoned(problem, pick)),
        confirmPage(poisoned(confirmModel(language), pick)),
      ]
      for (const page of pages) {
        const text = String(await page)
        t.notRegex(text, /<script>|<img|<svg onload|<b>|(?:href|action)="javascript/i)
        t.notRegex(text, /(?![\n\r\t])[\p{Cc}\p{Cf}]/u)
      }
    }
  }
})

test('the manifest reaches GitHub as it was, however strange its texts are', async t => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'grapheme' }), async name => {
      const manifest = JSON.stringify({ name, url: 'https://ghe.example.com' })
      const text = String(await confirmPage({ ...confirmModel('en'), manifest }))
      const [, value = ''] = /name="manifest" value="([^"]*)"/.exec(text) ?? []
      const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" }
      t.deepEqual(JSON.parse(value.replaceAll(/&([a-z]+|#39);/g, (_, entity: string) => entities[entity] ?? '?')), {
        name,
        url: 'https://ghe.example.com',
      })
    }),
    { numRuns: 200 },
  )
})

test('an address that is none of the web is no link, and a path is none to another server', async t => {
  const app = { id: 1, client_id: 'x', slug: 'x', name: 'x', html_url: 'javascript:a()' }
  for (const state of ['connected', 'uninstalled', 'key-rejected'] as const) {
    const model = { ...connectedModel('en'), state, app, appSettingsUrl: 'x', path: '//evil.example/' }
    t.notRegex(String(await overviewPage(model)), /href="(?:javascript|data|x"|\/\/)/i)
  }
  t.notRegex(String(await signInPage({ ...signInModel('en'), path: '//evil.example/' })), /action="\/\//)
})

test('no view holds a secret: the token of the forms is the only one that a model has', t => {
  const names = (value: unknown): string[] =>
    typeof value !== 'object' || value === null
      ? []
      : Object.entries(value).flatMap(([key, inner]) => [key, ...names(inner)])
  const all = new Set(
    LANGUAGES.flatMap(language =>
      [...inputs(language).map(({ model }) => model), confirmModel(language)].flatMap(names),
    ),
  )
  t.deepEqual(
    [...all].filter(name => /secret|password|pem|private|identity|cookie|token$|^code$/i.test(name)).toSorted(),
    // The code of a problem or a warning.
    ['code'],
  )
})

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const BUDGET_BYTES = 100 * 1024

test('the heaviest view weighs at most 100 KB with style and script', async t => {
  const assets = createAssets()
  const files = await Promise.all(assets.paths.map(async path => gzipSync((await assets.get(path))?.body ?? '').length))
  const heaviest = Math.max(...rendered.map(({ text }) => gzipSync(text).length))
  const whole = heaviest + files.reduce((sum, size) => sum + size, 0)
  t.log(`${whole} bytes: ${heaviest} of HTML, ${files.join(' + ')} of ${assets.paths.join(', ')}`)
  t.true(whole <= BUDGET_BYTES)
})

test("the words for times are those of the browser's own formats, which go on with them", t => {
  for (const language of LANGUAGES) {
    const format = new Intl.RelativeTimeFormat(language)
    fc.assert(
      fc.property(fc.integer({ min: -400 * DAY_MS, max: 400 * DAY_MS }), away => {
        const size = Math.abs(away)
        fc.pre(size >= 60_000)
        const [unit, length] =
          size < HOUR_MS
            ? (['minute', 60_000] as const)
            : size < 2 * DAY_MS
              ? (['hour', HOUR_MS] as const)
              : (['day', DAY_MS] as const)
        t.is(formatRelative(NOW_MS + away, NOW_MS, language), format.format(Math.trunc(away / length), unit))
      }),
    )
  }
})
