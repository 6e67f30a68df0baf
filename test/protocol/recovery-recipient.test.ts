// The spelling of recipients: what age makes is taken, and no slip of one character is.

import test from 'ava'
import fc from 'fast-check'
import { isRecipientSpelling } from '../../src/protocol/recovery-recipient.ts'
import { createRecoveryKey } from '../../src/core/snapshot/encryption.ts'

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
