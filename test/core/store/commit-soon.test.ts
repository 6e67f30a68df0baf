// How connections to the files are set, and that a commit whose caller does not wait for the disk leaves every other one waiting.

import { join } from 'node:path'
import test from 'ava'
import { commitSoon, createEncrypted, openEncrypted } from '../../../src/core/store/sqlite.ts'
import { codeOf, makeState, openFilesBelow } from './samples.ts'

/** https://sqlite.org/pragma.html#pragma_synchronous */
const [NORMAL, FULL] = [1, 2]

test('only the commit itself goes on before the disk has it, whether it is made or fails', async t => {
  const folder = makeState(t)
  const db = createEncrypted(join(folder, 'x.db'), 'a1'.repeat(32))
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
  await commitSoon(db, () => db.exec("INSERT INTO x VALUES ('y')")).durable
  const logs = openFilesBelow(folder).filter(name => name.endsWith('-wal'))
  t.is(logs.length, 1, "SQLite's own: what waited for the disk holds nothing open")
  t.is(
    codeOf(() => commitSoon(db, () => db.exec('not SQL'))),
    'internal',
  )
  t.is(level(), FULL)
})

test('each connection that writes overwrites what it removes, and trusts nothing of its schema', t => {
  const path = join(makeState(t), 'x.db')
  const made = createEncrypted(path, 'a1'.repeat(32))
  made.exec('CREATE TABLE x (y TEXT) STRICT')
  const opened = openEncrypted(path, 'a1'.repeat(32))
  for (const db of [made, opened]) {
    const found = ['secure_delete', 'trusted_schema', 'foreign_keys', 'journal_mode', 'temp_store'].map(name =>
      db.pragma(name, { simple: true }),
    )
    t.deepEqual(found, [1, 0, 1, 'wal', 2])
    db.close()
  }
})
