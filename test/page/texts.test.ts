// The words: each problem of the catalogue and each warning has Japanese ones, and no sentence was left in English.

import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'
import { CATALOGUE, isCode } from '../../src/protocol/errors.ts'
import { problemText, textsOf, warningText } from '../../src/page/texts.ts'
import { PROBLEMS_JA } from '../../src/page/texts-ja-problems.ts'
import { WARNINGS_JA } from '../../src/page/texts-ja-warnings.ts'

const CORE = resolve(import.meta.dirname, '../../src/core')
const isJapanese = (text: string): boolean => /[\u3040-\u30FF\u4E00-\u9FFF]/.test(text)

test('each problem of the catalogue has its Japanese words, and no other has', t => {
  t.deepEqual(Object.keys(PROBLEMS_JA).toSorted(), Object.keys(CATALOGUE).toSorted())
  for (const [code, words] of Object.entries(PROBLEMS_JA))
    t.true(isJapanese(words.title) && isJapanese(words.next), code)
})

test('each warning that an operation gives has its Japanese words', t => {
  const codes = readdirSync(CORE, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .flatMap(name => [...readFileSync(join(CORE, name), 'utf8').matchAll(/\bcode: '([a-z-]+)'[,}\s]+detail\b/g)])
    .map(([, code = '']) => code)
  t.true(codes.length > 4)
  t.deepEqual(
    [...new Set(codes)].filter(code => !isCode(code) && !Object.hasOwn(WARNINGS_JA, code)),
    [],
  )
})

/** All texts of a table, those that are made of arguments with some that are alike in every language. */
const textsIn = (value: unknown, path: string): [string, string][] => {
  if (typeof value === 'string') return [[path, value]]
  if (typeof value === 'function') {
    const made: unknown = value('X', 2, 3, 4)
    return textsIn(made, path)
  }
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => textsIn(inner, `${path}.${key}`))
}

/** Names that are the same in both. */
const SAME = /^(GitHub App|Organization|Enterprise|X|A recovery key of ghconnectd:.*)$/

test('no text of the page is empty, and none of the Japanese ones is English', t => {
  const english = textsIn(textsOf('en'), '')
  const japanese = textsIn(textsOf('ja'), '')
  t.deepEqual(
    japanese.map(([path]) => path),
    english.map(([path]) => path),
  )
  for (const [path, text] of english) t.regex(text, /\S/, path)
  for (const [path, text] of japanese) t.true(isJapanese(text) || SAME.test(text), `${path}: ${text}`)
})

test('an unknown warning or problem is told in English rather than not at all', t => {
  const warning = { code: 'from-the-future', detail: 'Something new.', next: 'Do something.' }
  t.deepEqual(warningText(warning, 'ja'), { next: 'Do something.' })
  const failure = { code: 'dns', title: 'Title', detail: '', next: 'Next' } as const
  t.is(problemText(failure, 'en').title, 'Title')
  t.true(isJapanese(problemText(failure, 'ja').title))
})
