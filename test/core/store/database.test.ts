// The numbered stores: made once, replaced by a rename, never opened by the wrong key or older code, never made over another.

import { randomBytes } from 'node:crypto'
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { openStore, type StoreOptions } from '../../../src/core/store/database.ts'
import { STORE_MIGRATIONS } from '../../../src/core/store/tables.ts'
import { CHECK_LIMIT_BYTES, openEncrypted } from '../../../src/core/store/sqlite.ts'
import { createFakeLog } from '../../support/fakes.ts'
import {
  CONNECTED,
  codeOf,
  failureOf,
  digestsUnder,
  INSTALLATION,
  keyNamed,
  makeState,
  openFilesBelow,
  silentLog,
  STORE_KEY,
  tokenFor,
} from './samples.ts'

const optionsFor = (state: string, more: Partial<StoreOptions> = {}): StoreOptions => ({
  folder: join(state, 'store'),
  storeKey: STORE_KEY,
  log: silentLog,
  ...more,
})
const open = (state: string, more?: Partial<StoreOptions>) => openStore(optionsFor(state, more))
const entries = (state: string) => readdirSync(join(state, 'store')).toSorted()

/** A state folder with one store in it, closed, that holds a connection. */
const makeStore = (state: string): void => {
  const store = open(state)
  store.connection.write({
    connection: CONNECTED,
    installations: [INSTALLATION],
    keys: [keyNamed('a')],
    newGeneration: true,
  })
  void store.tokens.write([tokenFor({ installation: 4242 })])
  store.facts.put('clock.offset', 12)
  store.facts.put('connection.backoff', { untilMs: 5 })
  store.close()
}

test('the first start makes store 1, disconnected', t => {
  const state = makeState(t)
  const before = Date.now()
  const store = open(state)
  t.is(store.number(), 1)
  const { generation, connection, installations, keys } = store.connection.read()
  t.is(connection.kind, 'disconnected')
  t.true(Math.abs(connection.sinceMs - before) < 5_000)
  t.deepEqual([generation, installations, keys], [0, [], []])
  t.regex(store.databaseKey(), /^[0-9a-f]{64}$/)
  store.close()
  t.deepEqual(entries(state), ['1', 'current'])
  t.is(readlinkSync(join(state, 'store/current')), '1')
})

test('two stores have two keys, and so has each next store', t => {
  const [a, b] = [open(makeState(t)), open(makeState(t))]
  const keys = [a.databaseKey(), b.databaseKey()]
  a.replace({})
  keys.push(a.databaseKey())
  t.is(new Set(keys).size, 3)
  a.close()
  b.close()
})

test('a replaced store holds the change, the generation and the lasting facts, and no tokens', t => {
  const state = makeState(t)
  makeStore(state)
  const store = open(state)
  const { connection, tokens, facts } = store
  store.replace({ connection: { kind: 'disconnected', sinceMs: 1_700_000_000_009 }, keys: [], newGeneration: true })
  for (const from of [{ connection, tokens, facts }, store]) {
    t.is(from.connection.read().generation, 2)
    t.deepEqual(from.connection.read().connection, { kind: 'disconnected', sinceMs: 1_700_000_000_009 })
    t.deepEqual(from.connection.read().installations, [INSTALLATION])
    t.deepEqual(from.connection.read().keys, [])
    t.deepEqual(from.tokens.all(), [])
    t.is(from.facts.find('clock.offset'), 12)
    t.is(from.facts.find('connection.backoff'), undefined)
  }
  t.is(store.number(), 2)
  t.deepEqual(entries(state), ['2', 'current'])
  connection.write({ newGeneration: true })
  store.replace({})
  t.is(connection.read().generation, 3)
  store.close()
  const again = open(state)
  t.is(again.number(), 3)
  t.is(again.connection.read().generation, 3)
  again.close()
})

test('the key of a replaced store is overwritten before it is removed', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store/1')
  writeFileSync(join(folder, 'key.age'), 'wrapped to the recovery key')
  // Another name for the same bytes on the disk.
  for (const name of ['key', 'key.age']) linkSync(join(folder, name), join(state, name))
  const { length } = readFileSync(join(state, 'key'))
  const store = open(state)
  store.replace({})
  store.close()
  t.true(length > 60)
  t.deepEqual(readFileSync(join(state, 'key')), Buffer.alloc(length))
  t.deepEqual(readFileSync(join(state, 'key.age')), Buffer.alloc('wrapped to the recovery key'.length))
  t.false(existsSync(folder))
})

test('a wrong store key opens nothing and changes nothing', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store/1')
  const before = digestsUnder(folder)
  t.is(
    codeOf(() => open(state, { storeKey: randomBytes(32) })),
    'wrong-store-key',
  )
  t.deepEqual(entries(state), ['1', 'current'])
  rmSync(join(state, 'store/current'))
  t.is(
    codeOf(() => open(state, { storeKey: randomBytes(32) })),
    'wrong-store-key',
  )
  t.deepEqual(entries(state), ['1'])
  t.deepEqual(digestsUnder(folder), before)
})

test('the database key opens a store whose store key is lost, and the next store is under the new one', t => {
  const state = makeState(t)
  makeStore(state)
  const first = open(state)
  const databaseKey = Buffer.from(first.databaseKey(), 'hex')
  first.close()
  const storeKey = randomBytes(32)
  t.is(
    codeOf(() => open(state, { storeKey, databaseKey: randomBytes(32) })),
    'store-corrupt',
  )
  const store = open(state, { storeKey, databaseKey })
  store.replace({})
  store.close()
  t.is(
    codeOf(() => open(state)),
    'wrong-store-key',
  )
  const again = open(state, { storeKey })
  t.deepEqual(again.connection.read().connection, CONNECTED)
  again.close()
})

test('a store of a newer schema is left alone', t => {
  const state = makeState(t)
  makeStore(state)
  const store = open(state)
  const db = openEncrypted(join(state, 'store/1/store.db'), store.databaseKey())
  db.pragma(`user_version=${STORE_MIGRATIONS.length + 1}`)
  db.close()
  store.close()
  const before = digestsUnder(state)
  const failure = failureOf(() => open(state))
  t.is(failure?.code, 'store-newer')
  t.regex(
    failure?.message ?? '',
    new RegExp(`schema ${STORE_MIGRATIONS.length + 1}.* up to ${STORE_MIGRATIONS.length}`),
  )
  t.deepEqual(digestsUnder(state), before)
  t.deepEqual(entries(state), ['1', 'current'])
})

test('what a kill left is removed, and the current store never', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store')
  cpSync(join(folder, '1'), join(folder, '.new-2'), { recursive: true })
  cpSync(join(folder, '1'), join(folder, '2'), { recursive: true })
  cpSync(join(folder, '1'), join(folder, '7'), { recursive: true })
  symlinkSync('2', join(folder, '.new-current'))
  writeFileSync(join(folder, 'note-of-the-administrator'), '')
  const store = open(state)
  t.deepEqual(store.connection.read().connection, CONNECTED)
  t.deepEqual(entries(state), ['1', 'current', 'note-of-the-administrator'])
  store.close()
})

test('a first start that was killed before `current` was made is finished by the next', t => {
  const state = makeState(t)
  makeStore(state)
  rmSync(join(state, 'store/current'))
  mkdirSync(join(state, 'store/.new-2'))
  const store = open(state)
  t.deepEqual(store.connection.read().connection, CONNECTED)
  t.deepEqual(entries(state), ['1', 'current'])
  store.close()

  const unborn = makeState(t)
  mkdirSync(join(unborn, 'store/.new-1'), { recursive: true })
  writeFileSync(join(unborn, 'store/.new-1/key'), 'half')
  open(unborn).close()
  t.deepEqual(entries(unborn), ['1', 'current'])
})

test('several stores without `current` are not guessed between', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store')
  cpSync(join(folder, '1'), join(folder, '2'), { recursive: true })
  rmSync(join(folder, 'current'))
  const before = digestsUnder(state)
  const failure = failureOf(() => open(state))
  t.is(failure?.code, 'store-corrupt')
  t.regex(failure?.message ?? '', /each of 1, 2 opens; name the right one: `ln -s NUMBER /)
  t.deepEqual(digestsUnder(state), before)
  // What it says can be done.
  symlinkSync('2', join(folder, 'current'))
  open(state).close()
  t.deepEqual(entries(state), ['2', 'current'])
})

test('of several stores without `current`, the only one that opens is it', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store')
  cpSync(join(folder, '1'), join(folder, '2'), { recursive: true })
  writeFileSync(join(folder, '1/key'), Buffer.alloc(109))
  rmSync(join(folder, 'current'))
  const store = open(state)
  t.is(store.number(), 2)
  t.deepEqual(store.connection.read().connection, CONNECTED)
  store.close()
})

test('nothing is made where `current` names what is gone, or where a file of the store is missing or empty', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store')
  const damages: readonly (() => void)[] = [
    () => renameSync(join(folder, '1'), join(state, 'elsewhere')),
    () => rmSync(join(folder, '1/key')),
    () => rmSync(join(folder, '1/store.db')),
    () => writeFileSync(join(folder, '1/store.db'), ''),
    () => (rmSync(join(folder, 'current')), writeFileSync(join(folder, 'current'), '1')),
    () => (rmSync(join(folder, 'current')), symlinkSync('../../etc', join(folder, 'current'))),
    () => (rmSync(join(folder, 'current')), rmSync(join(folder, '1/key'))),
  ]
  cpSync(folder, join(state, 'good'), { recursive: true, verbatimSymlinks: true })
  for (const damage of damages) {
    rmSync(folder, { recursive: true })
    cpSync(join(state, 'good'), folder, { recursive: true, verbatimSymlinks: true })
    damage()
    const before = digestsUnder(folder)
    t.is(
      codeOf(() => open(state)),
      'store-corrupt',
      String(damage),
    )
    t.deepEqual(digestsUnder(folder), before)
    t.deepEqual(
      codeOf(() => open(state)),
      'store-corrupt',
      'the second start says the same',
    )
  }
})

test('what is made, taken over and removed is told', t => {
  const state = makeState(t)
  const folder = join(state, 'store')
  const log = createFakeLog()
  const store = open(state, { log })
  store.replace({})
  store.close()
  rmSync(join(folder, 'current'))
  open(state, { log }).close()
  open(state, { log }).close()
  t.deepEqual(log.lines, [
    { level: 'info', message: 'made a store', fields: { folder: join(folder, '1') } },
    { level: 'info', message: 'removed a former store', fields: { folder: join(folder, '1') } },
    {
      level: 'warn',
      message: '`current` was missing; the only store that opens is current now',
      fields: { number: 2 },
    },
  ])
})

test('of several stores none of which opens, the common fault is told, or else that none opens', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store')
  cpSync(join(folder, '1'), join(folder, '2'), { recursive: true })
  rmSync(join(folder, 'current'))
  const storeKey = randomBytes(32)
  t.is(failureOf(() => open(state, { storeKey }))?.code, 'wrong-store-key')
  writeFileSync(join(folder, '2/key'), Buffer.alloc(109))
  const failure = failureOf(() => open(state, { storeKey }))
  t.is(failure?.code, 'store-corrupt')
  t.regex(failure?.message ?? '', /none of 1, 2 opens; name the right one: `ln -s NUMBER .*store\/current`$/)
  t.deepEqual(entries(state), ['1', '2'])
})

test('only the files of the current store are held open, whatever was tried before', t => {
  const state = makeState(t)
  makeStore(state)
  const folder = join(state, 'store')
  const held = () => [...new Set(openFilesBelow(folder).map(name => name.replace(/(?:-wal|-shm)$/, '')))]
  const store = open(state)
  t.deepEqual(held(), ['1/store.db'])
  store.replace({})
  t.deepEqual(held(), ['2/store.db'])
  const twice = { keys: [keyNamed('x'), keyNamed('x')] }
  t.is(
    codeOf(() => store.replace(twice)),
    'internal',
  )
  t.deepEqual(held(), ['2/store.db'])
  t.deepEqual(entries(state), ['2', 'current'], 'nothing is left of what failed')
  store.close()
  t.deepEqual(held(), [])
  cpSync(join(folder, '2'), join(folder, '3'), { recursive: true })
  rmSync(join(folder, 'current'))
  t.is(
    codeOf(() => open(state)),
    'store-corrupt',
  )
  t.deepEqual(held(), [], 'stores between which none is chosen are closed')
})

test('facts that come with a new store hold in it, also in place of one of before and for the connection', t => {
  const state = makeState(t)
  makeStore(state)
  const store = open(state)
  store.facts.put('clock.offset', 13)
  store.replace({ facts: { 'clock.offset': 99, 'connection.backoff': { untilMs: 7 } } })
  store.close()
  const again = open(state)
  t.is(again.facts.find('clock.offset'), 99)
  t.deepEqual(again.facts.find('connection.backoff'), { untilMs: 7 })
  again.facts.put('clock.offset', 100)
  again.facts.put('clock.offset', 101)
  t.is(again.facts.find('clock.offset'), 101, 'the last one counts')
  t.throws(() => again.replace({ facts: { odd: undefined } }), { code: 'internal' })
  t.is(again.number(), 2)
  again.close()
})

test('a change raises the generation by one, above what it is to be above, or sets it as the cluster says', t => {
  const store = open(makeState(t))
  const after = (change: Parameters<typeof store.connection.write>[0]): number =>
    store.connection.write(change).generation
  t.is(after({}), 0)
  t.is(after({ newGeneration: true }), 1)
  t.is(after({ newGeneration: true, above: 7 }), 8)
  t.is(after({ newGeneration: true, above: 3 }), 9)
  t.is(after({ above: 3 }), 9)
  t.is(after({ generation: 4, newGeneration: true, above: 20 }), 4)
  store.replace({ newGeneration: true, above: 40 })
  t.is(store.connection.read().generation, 41)
  store.close()
})

test('a store that is asked for is read whole up to 64 MiB, beyond what a start reads', t => {
  const state = makeState(t)
  makeStore(state)
  const path = join(state, 'store/1/store.db')
  const filled = open(state)
  void filled.tokens.write([tokenFor({ installation: 1 }, 'current', 'x'.repeat(CHECK_LIMIT_BYTES))])
  t.notThrows(() => filled.check())
  filled.close()
  const file = readFileSync(path)
  const middle = file.length >>> 1
  file[middle] = (file[middle] ?? 0) ^ 1
  writeFileSync(path, file)
  const store = open(state)
  t.is(
    codeOf(() => store.check()),
    'store-corrupt',
  )
  store.close()
})
