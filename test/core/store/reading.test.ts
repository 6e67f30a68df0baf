// Reading a store beside whoever writes it: the content, its keys and its recovery copy, and nothing on the disk is changed by it.

import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  findRecoveryWrap,
  openStore,
  readDatabaseKey,
  readStore,
  type Store,
} from '../../../src/core/store/database.ts'
import { WITHOUT_RECOVERY_KEY } from '../../../src/core/store/keys.ts'
import { STORE_MIGRATIONS } from '../../../src/core/store/tables.ts'
import { openEncrypted } from '../../../src/core/store/sqlite.ts'
import { wrapBeside } from '../../../src/core/store/keys.ts'
import {
  CONNECTED,
  codeOf,
  digestsUnder,
  failureOf,
  INSTALLATION,
  keyNamed,
  makeState,
  openFilesBelow,
  shown,
  silentLog,
  STORE_KEY,
  tokenFor,
} from './samples.ts'

const folderOf = (state: string): string => join(state, 'store')
const open = (state: string, storeKey = STORE_KEY): Store =>
  openStore({ folder: folderOf(state), storeKey, log: silentLog })

/** A store that is held open, with something of each kind in it. */
const filled = (t: ExecutionContext) => {
  const state = makeState(t)
  const store = open(state)
  store.connection.write({
    connection: CONNECTED,
    installations: [INSTALLATION],
    keys: [keyNamed('a')],
    newGeneration: true,
  })
  void store.tokens.write([tokenFor({ installation: 1 }), tokenFor({ installation: 2 })])
  store.facts.put('clock.offset', { offsetMs: 12 })
  const folder = folderOf(state)
  return { state, store, folder, source: { folder, storeKey: STORE_KEY } }
}

test('where no store was ever made there is nothing to read, and none is made by looking', t => {
  const state = makeState(t)
  const source = { folder: folderOf(state), storeKey: STORE_KEY }
  for (const read of [readStore, readDatabaseKey]) t.is(read(source), undefined)
  t.is(findRecoveryWrap(source.folder), undefined)
  t.false(existsSync(source.folder))
  mkdirSync(source.folder)
  for (const read of [readStore, readDatabaseKey]) t.is(read(source), undefined)
  t.is(findRecoveryWrap(source.folder), undefined)
  t.deepEqual(readdirSync(source.folder), [])
})

test('the whole content is read while another one writes, and nothing is changed or held open', t => {
  const { store, folder, source } = filled(t)
  const before = digestsUnder(folder)
  const content = readStore(source)
  t.deepEqual(shown(content?.record), shown(store.connection.read()))
  t.deepEqual(content?.tokens.map(({ scope }) => scope.installation).toSorted(), [1, 2])
  t.deepEqual(content?.findFact('clock.offset'), { offsetMs: 12 })
  t.is(content?.findFact('never put'), undefined)
  t.is(readDatabaseKey(source)?.toString('hex'), store.databaseKey())
  t.deepEqual(digestsUnder(folder), before)
  store.close()
  t.deepEqual(openFilesBelow(folder), [])
  t.is(readStore(source)?.record.generation, 1)
  t.deepEqual(openFilesBelow(folder), [], 'also where nobody else has it open')
})

test('a store that cannot be read has the name of what is wrong', t => {
  const { store, folder, source } = filled(t)
  const other = { folder, storeKey: randomBytes(32) }
  for (const read of [readStore, readDatabaseKey])
    t.is(
      codeOf(() => read(other)),
      'wrong-store-key',
    )
  const db = openEncrypted(join(folder, '1/store.db'), store.databaseKey())
  db.pragma(`user_version=${STORE_MIGRATIONS.length + 1}`)
  t.is(
    codeOf(() => readStore(source)),
    'store-newer',
  )
  db.pragma(`user_version=${STORE_MIGRATIONS.length}`)
  db.prepare('UPDATE facts SET value = ?').run('{')
  t.regex(failureOf(() => readStore(source))?.message ?? '', /^the fact clock\.offset in the store is no JSON$/)
  db.close()
  store.close()
  t.deepEqual(openFilesBelow(folder), [], 'what was opened in vain is closed')
  rmSync(join(folder, '1/store.db'))
  t.is(
    codeOf(() => readStore(source)),
    'store-corrupt',
  )
  rmSync(join(folder, '1'), { recursive: true })
  for (const read of [readStore, readDatabaseKey])
    t.is(
      codeOf(() => read(source)),
      'store-corrupt',
    )
})

test('who only reads leaves out a malformed token and does not remove it', t => {
  const { state, store, folder, source } = filled(t)
  const db = openEncrypted(join(folder, '1/store.db'), store.databaseKey())
  db.prepare('UPDATE tokens SET scope = ? WHERE key = ?').run('{}', tokenFor({ installation: 1 }).key)
  db.close()
  store.close()
  for (let times = 0; times < 2; times++)
    t.deepEqual(
      readStore(source)?.tokens.map(({ scope }) => scope.installation),
      [2],
    )
  const removed: unknown[] = []
  const log = { ...silentLog, warn: (message: string) => void removed.push(message) }
  const again = openStore({ folder, storeKey: STORE_KEY, log })
  again.tokens.all()
  again.close()
  t.deepEqual(removed, ['a stored token was malformed and was removed'])
  open(state).close()
})

test('while the store key is changed either key opens it, and only who opens it to write ends that', t => {
  const { state, store, folder } = filled(t)
  const databaseKey = Buffer.from(store.databaseKey(), 'hex')
  store.close()
  const storeKey = randomBytes(32)
  wrapBeside(join(folder, '1/key'), databaseKey, storeKey)
  for (const key of [STORE_KEY, storeKey]) {
    t.deepEqual(readDatabaseKey({ folder, storeKey: key }), databaseKey)
    t.is(readStore({ folder, storeKey: key })?.record.generation, 1)
  }
  const keys = () => readdirSync(join(folder, '1')).filter(name => name.startsWith('key'))
  t.deepEqual(keys().toSorted(), ['key', 'key.next'])
  open(state, storeKey).close()
  t.deepEqual(keys(), ['key'])
  t.is(
    codeOf(() => readStore({ folder, storeKey: STORE_KEY })),
    'wrong-store-key',
  )
})

test('the recovery copy is that of the current store, and with it a wrong store key has another advice', t => {
  const { state, store, folder, source } = filled(t)
  const adviceOf = (work: () => unknown): string | undefined => failureOf(work)?.next
  const wrong = { ...source, storeKey: randomBytes(32) }
  t.false(store.hasRecoveryWrap())
  t.is(findRecoveryWrap(folder), undefined)
  for (const read of [readStore, readDatabaseKey, () => open(state, wrong.storeKey)])
    t.is(
      adviceOf(() => read(wrong)),
      WITHOUT_RECOVERY_KEY,
    )
  store.putRecoveryWrap(Buffer.from('wrap'))
  t.true(store.hasRecoveryWrap())
  t.is(findRecoveryWrap(folder)?.toString(), 'wrap')
  t.regex(adviceOf(() => readStore(wrong)) ?? '', /ghconnect unlock/)
  store.replace({})
  t.false(store.hasRecoveryWrap())
  t.is(findRecoveryWrap(folder), undefined, 'the next store has a key of its own')
  store.putRecoveryWrap(Buffer.from('wrap of the next'))
  t.true(store.hasRecoveryWrap())
  t.is(findRecoveryWrap(folder)?.toString(), 'wrap of the next')
  store.close()
})
