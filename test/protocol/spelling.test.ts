// Slips of the keyboard and the pen: near words are found, far ones are not made up; no slip in a recipient passes.

import test from 'ava'
import * as fc from 'fast-check'
import { doubtPermission, isRecipientSpelling, nearest, PERMISSION_NAMES } from '../../src/protocol/spelling.ts'
import { FEATURES } from '../../src/protocol/features.ts'
import { createRecoveryKey } from '../../src/core/snapshot/encryption.ts'

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

test('each recipient that age makes is well spelled', async t => {
  for (let times = 0; times < 20; times++) t.true(isRecipientSpelling((await createRecoveryKey()).recipient))
})

test('no slip of one character passes, and no two that changed places', async t => {
  const { recipient } = await createRecoveryKey()
  fc.assert(
    fc.property(
      fc.nat(recipient.length - 1),
      fc.constantFrom(...'qpzry9x8gf2tvdw0s3jn54khce6mua7lbio1'.split('')),
      (at, other) => {
        const slip = recipient.slice(0, at) + other + recipient.slice(at + 1)
        return slip === recipient || !isRecipientSpelling(slip)
      },
    ),
  )
  for (let at = 4; at + 1 < recipient.length; at++) {
    const swapped = recipient.slice(0, at) + recipient[at + 1] + recipient[at] + recipient.slice(at + 2)
    t.true(swapped === recipient || !isRecipientSpelling(swapped), swapped)
  }
})

test('an identity, another case and other lengths are none', async t => {
  const { identity, recipient } = await createRecoveryKey()
  for (const text of [
    identity.reveal(),
    recipient.toUpperCase(),
    `${recipient}q`,
    recipient.slice(0, -1),
    '',
    'age1',
  ]) {
    t.false(isRecipientSpelling(text), text.slice(0, 8))
  }
})
