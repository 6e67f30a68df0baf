// Versions of the schema: the first one opens for ever, and a step that fails leaves the version before it.

import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { openStore } from '../../../src/core/store/database.ts'
import { wrapDatabaseKey } from '../../../src/core/store/keys.ts'
import { STORE_MIGRATIONS } from '../../../src/core/store/tables.ts'
import { createEncrypted, type Migration, migrate } from '../../../src/core/store/sqlite.ts'
import { codeOf, makeState, shown, silentLog, STORE_KEY } from './samples.ts'

const DATABASE_KEY = Buffer.alloc(32, 9)
const example = readFileSync(join(import.meta.dirname, 'examples/version-1.sql'), 'utf8')

test('a store of version 1 opens and holds all that it held', t => {
  const state = makeState(t)
  mkdirSync(join(state, 'store/1'), { recursive: true })
  const db = createEncrypted(join(state, 'store/1/store.db'), DATABASE_KEY.toString('hex'))
  db.exec(example)
  db.close()
  writeFileSync(join(state, 'store/1/key'), wrapDatabaseKey(STORE_KEY, DATABASE_KEY))
  symlinkSync('1', join(state, 'store/current'))

  const store = openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })
  const { generation, connection, installations, keys } = store.connection.read()
  t.is(generation, 3)
  t.like(connection, { kind: 'connected', app: { id: 12345, slug: 'ghe-example-com' } })
  t.like(installations[0], { id: 67890, repositorySelection: 'selected' })
  t.deepEqual(shown(keys), [{ fingerprint: 'SHA256:one', pem: 'PEM one', addedAtMs: 1_700_000_000_000 }])
  const [token] = store.tokens.all()
  t.like(token, { slot: 'current', profile: 'actions', scope: { installation: 67890, repositories: ['web'] } })
  t.is(token?.token.reveal(), 'token one')
  t.deepEqual(store.facts.find('clock.offset'), { offsetMs: -1200 })
  store.close()
})

const failing: Migration = of => {
  of.exec('CREATE TABLE half (a)')
  throw new Error('no')
}

test('each step is made once and in order, and a step that fails leaves nothing', t => {
  const db = createEncrypted(join(makeState(t), 'a.db'), DATABASE_KEY.toString('hex'))
  const made: string[] = []
  const step =
    (name: string): Migration =>
    of => {
      made.push(name)
      of.exec(`CREATE TABLE ${name} (a)`)
    }
  const tables = () => db.prepare<[], string>('SELECT name FROM sqlite_master ORDER BY name').pluck().all()
  const version = () => db.pragma('user_version', { simple: true })

  migrate(db, [step('one')])
  t.throws(() => migrate(db, [step('one'), step('two'), failing]), { message: 'no' })
  t.deepEqual(tables(), ['one', 'two'])
  t.is(version(), 2)
  migrate(db, [step('one'), step('two'), step('three')])
  t.deepEqual(made, ['one', 'two', 'three'])
  t.is(
    codeOf(() => migrate(db, [step('one')])),
    'store-newer',
  )
  t.is(version(), 3)
  db.close()
})

test('the schema has one version', t => {
  // Who adds a step adds an example of the version before it.
  t.is(STORE_MIGRATIONS.length, 1)
})
