// A commit whose caller does not wait for the disk leaves every other one as it was: waiting for it.

import { join } from 'node:path'
import test from 'ava'
import { commitSoon, createEncrypted } from '../../src/store/sqlite.ts'
import { codeOf, makeState } from './samples.ts'

/** https://sqlite.org/pragma.html#pragma_synchronous */
const [NORMAL, FULL] = [1, 2]

test('only the commit itself goes on before the disk has it, whether it is made or fails', async t => {
  const db = createEncrypted(join(makeState(t), 'x.db'), 'a1'.repeat(32))
  t.teardown(() => db.close())
  const level = (): unknown => db.pragma('synchronous', { simple: true })
  t.is(level(), FULL)
  const { result, durable } = commitSoon(db, () => {
    db.exec('CREATE TABLE x (y TEXT) STRICT')
    return level()
  })
  t.is(result, NORMAL)
  t.is(level(), FULL)
  await durable
  t.is(
    codeOf(() => commitSoon(db, () => db.exec('not SQL'))),
    'internal',
  )
  t.is(level(), FULL)
})
