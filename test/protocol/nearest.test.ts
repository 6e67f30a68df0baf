// Guesses at misspelt words: near ones are found, far ones are not made up.

import test from 'ava'
import * as fc from 'fast-check'
import { nearest } from '../../src/protocol/nearest.ts'
import { doubtPermission, PERMISSION_NAMES } from '../../src/protocol/permission-names.ts'
import { FEATURES } from '../../src/protocol/features.ts'

test('a word with a slip is guessed, one that is far from all is not', t => {
  const known = ['before_expiry', 'schedule', 'settle', 'contents', 'url']
  const cases = {
    schedul: 'schedule',
    shcedule: 'schedule',
    Settle: 'settle',
    contnts: 'contents',
    ulr: 'url',
    colour: undefined,
    '': undefined,
    x: undefined,
  }
  for (const [word, guess] of Object.entries(cases)) t.is(nearest(word, known), guess, word)
})

test('property: one swap, loss or repetition of a letter is found', t => {
  fc.assert(
    fc.property(
      fc.constantFrom(...PERMISSION_NAMES),
      fc.nat(),
      fc.constantFrom('swap', 'lose', 'repeat'),
      (name, place, slip) => {
        fc.pre(name.length >= 4)
        const at = place % (name.length - 1)
        const [head, a, b, tail] = [name.slice(0, at), name.charAt(at), name.charAt(at + 1), name.slice(at + 2)]
        const typed = head + { swap: b + a, lose: b, repeat: a + a + b }[slip] + tail
        t.true(PERMISSION_NAMES.includes(typed) || nearest(typed, PERMISSION_NAMES) !== undefined, typed)
      },
    ),
  )
})

test('a permission is known, a slip of a known one, or new', t => {
  t.is(doubtPermission('contents'), undefined)
  t.deepEqual(doubtPermission('contnts'), {
    isSlip: true,
    message: 'is not a permission of GitHub; did you mean contents?',
  })
  t.false(doubtPermission('quantum_entanglement')?.isSlip)
  for (const { permissions } of Object.values(FEATURES)) {
    for (const name of Object.keys(permissions)) t.is(doubtPermission(name), undefined, name)
  }
})
