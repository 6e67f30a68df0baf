// The words: each problem of the catalogue and each warning has Japanese ones, and no sentence was left in English.

import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'
import { CATALOGUE, isCode } from '../../src/protocol/errors.ts'
import { PROBLEMS_JA, problemText, WARNINGS_JA, warningText } from '../../src/page/problems.ts'

const CORE = resolve(import.meta.dirname, '../../src/core')
const isJapanese = (text: string): boolean => /[\u3040-\u30FF\u4E00-\u9FFF]/.test(text)

test('each problem of the catalogue has its Japanese words, and no other has', t => {
  t.deepEqual(Object.keys(PROBLEMS_JA).toSorted(), Object.keys(CATALOGUE).toSorted())
  for (const code of Object.keys(CATALOGUE).filter(isCode)) {
    const { title, next } = problemText(code, 'ja')
    t.true(isJapanese(title) && isJapanese(next), code)
  }
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

const VIEWS = resolve(import.meta.dirname, '../../src/page/views')
/** Names that are the same in both. */
const SAME = /^(GitHub App|Organization|Enterprise)$/

test('no text of the views is empty, and none of the Japanese ones is English, or the other way round', t => {
  const string = String.raw`('(?:[^'\\]|\\.)*'|\`[^\`]*\`)`
  let count = 0
  for (const name of readdirSync(VIEWS)) {
    const text = readFileSync(join(VIEWS, name), 'utf8')
    const pairs = [
      ...text.matchAll(new RegExp(String.raw`\bt\(\s*${string},\s*${string},?\s*\)`, 'g')),
      ...text.matchAll(new RegExp(String.raw`\[\s*${string},\s*${string},?\s*\]`, 'g')),
    ].filter(([, , ja = '']) => isJapanese(ja) || !/^'[a-z-]*'$/i.test(ja))
    for (const [pair, en = '', ja = ''] of pairs) {
      t.regex(en.slice(1, -1), /\S/, pair)
      t.false(isJapanese(en), pair)
      t.true(isJapanese(ja) || SAME.test(ja.slice(1, -1)), pair)
      count += 1
    }
  }
  t.true(count > 250, String(count))
})

test('an unknown warning is told in English rather than not at all', t => {
  const warning = { code: 'from-the-future', detail: 'Something new.', next: 'Do something.' }
  t.deepEqual(warningText(warning, 'ja'), { next: 'Do something.' })
  t.is(warningText(warning, 'en').next, 'Do something.')
  t.true(isJapanese(warningText({ ...warning, code: 'dns' }, 'ja').title ?? ''))
  t.is(problemText('dns', 'en').title, CATALOGUE.dns.title)
})
