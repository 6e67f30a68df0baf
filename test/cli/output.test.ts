// What the command line shows: each text is one line, and none of it is obeyed by a terminal.

import test from 'ava'
import * as fc from 'fast-check'
import { createOutput, escapeText } from '../../src/cli/output.ts'
import { Failure } from '../../src/protocol/errors.ts'

const HOSTILE = [
  '\n|\r|\r\n|\t|\u0000|\u0007|\u001b|\u001b[2J|\u001b[32m|\u007f|\u0085|\u009b31m',
  '\u061c|\u200b|\u200e|\u200f|\u2028|\u2029|\u202a|\u202e|\u2066|\u2069|\ufeff|\ud800|\udc00|\u{e0001}',
].flatMap(texts => texts.split('|'))
const anyText = fc
  .array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary', maxLength: 5 })), { maxLength: 8 })
  .map(parts => parts.join(''))
/** All that a terminal or an editor may obey. */
const OBEYED = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

const build = (isTTY: boolean) => {
  let written = ''
  const sink = { isTTY, write: (text: string) => void (written += text) }
  const output = createOutput({ stdout: sink, stderr: sink, env: {} })
  const take = (): string => {
    const text = written
    written = ''
    return text
  }
  return { output, take }
}

test('property: a text is one line in all that is printed, and nothing in it is obeyed', t => {
  fc.assert(
    fc.property(anyText, anyText, fc.boolean(), (one, two, isTTY) => {
      const { output, take } = build(isTTY)
      const prints: readonly (readonly [() => void, number])[] = [
        [() => output.line(one), 1],
        [() => output.line(`${one} | ${two}`), 1],
        [() => output.note(one), 1],
        [() => output.table([[one, two]], [two, one]), 2],
        [() => output.progress(one), isTTY ? 1 : 0],
        [() => output.failure(new Failure('usage', one), { json: false }), 2],
        [() => output.failure(new Failure('usage', one), { json: true }), 1],
      ]
      for (const [print, lines] of prints) {
        print()
        const parts = take().split('\n')
        t.is(parts.length, lines + 1)
        // Our own: the header of a table is bold.
        for (const part of parts) t.notRegex(part.replace('\u001b[1m', '').replace('\u001b[0m', ''), OBEYED)
      }
      output.prompt(one)
      t.notRegex(take(), OBEYED)
    }),
  )
})

test('property: what is printed as JSON is the value, and nothing in it is obeyed', t => {
  fc.assert(
    fc.property(anyText, fc.boolean(), (text, isTTY) => {
      const { output, take } = build(isTTY)
      output.json({ [text]: [text] })
      const printed = take()
      t.notRegex(printed.replaceAll('\n', ''), OBEYED)
      t.deepEqual(JSON.parse(printed), { [text]: [text] })
      output.line(JSON.stringify({ text }))
      t.deepEqual(JSON.parse(take()), { text })
    }),
  )
})

test('texts that hurt nobody are printed as they are', t => {
  for (const text of ['web-1', 'zażółć gęślą', '接続済み', '🙂', String.raw`a\x2db.service`])
    t.is(escapeText(text), text)
})

test('a text that looks like our colours has none', t => {
  const { output, take } = build(true)
  output.line(`${output.paint('red', 'Wrong')}: \u001b[32mIntact\u001b[0m`)
  t.is(take(), '\u001b[31mWrong\u001b[0m: \\u001b[32mIntact\\u001b[0m\n')
  output.table([
    [output.paint('red', 'a\nb'), '1'],
    ['long-name', '2'],
  ])
  t.is(take(), '\u001b[31ma\\nb\u001b[0m       1\nlong-name  2\n')
})
