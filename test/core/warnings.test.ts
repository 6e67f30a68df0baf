// Which warning comes first: a fault that is met now, then what is to be done, last what only makes a later loss worse.

import test from 'ava'
import { worstWarning } from '../../src/core/status.ts'

const worst = (...codes: string[]): string | undefined =>
  worstWarning(codes.map(code => ({ code, detail: '', next: '' })))?.code

test('a fault of the catalogue comes before all others, a missing recovery key after them', t => {
  t.is(worst(), undefined)
  t.is(worst('no-recovery-key', 'key-old', 'dns'), 'dns')
  t.is(worst('no-recovery-key', 'key-old'), 'key-old')
  t.is(worst('no-recovery-key'), 'no-recovery-key')
  t.is(worst('key-old', 'key-retire'), 'key-old', 'of two alike the first')
})
