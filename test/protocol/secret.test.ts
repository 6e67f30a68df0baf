// A secret shows itself to nobody who prints, and is compared without telling where it differs.

import { format, inspect } from 'node:util'
import test from 'ava'
import { sameText, Secret } from '../../src/protocol/secret.ts'

test('a secret is given to who asks for it, and shown to nobody', t => {
  const secret = new Secret('ghs_hidden')
  t.is(secret.reveal(), 'ghs_hidden')
  t.is(secret.length, 10)
  for (const shown of [
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true, depth: 9 }),
    format('%s %o %j', secret, secret, secret),
    JSON.stringify(Object.entries(secret)),
  ])
    t.false(shown.includes('hidden'), shown)
  t.is(JSON.stringify([secret]), '["[secret]"]')
  t.is(inspect([secret]), '[ [secret] ]')
  t.is(String(secret), '[secret]')
})

test('texts are the same when each character is, whatever their lengths and alphabets', t => {
  t.true(sameText('', ''))
  t.true(sameText('abc', 'abc'))
  t.true(sameText('é😀', 'é😀'))
  for (const [a, b] of [
    ['abc', 'abd'],
    ['abc', 'ab'],
    ['ab', 'abc'],
    ['', 'a'],
    ['é', 'e'],
    ['\u0101', '\u0001'],
    ['\u00e9', 'ab'],
  ] as const)
    t.false(sameText(a, b), `${a} ${b}`)
})
