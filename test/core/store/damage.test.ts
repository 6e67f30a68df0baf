// One flipped bit anywhere is found at the next start, and what is left stays for inspection.

import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { openStore } from '../../../src/core/store/database.ts'
import { checkPages, openEncrypted } from '../../../src/core/store/sqlite.ts'
import { CONNECTED, codeOf, keyNamed, makeState, randomFrom, silentLog, STORE_KEY, tokenFor } from './samples.ts'

const open = (state: string) => openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })

/** Has seen removals, so that a file with pages that are free would show. */
const fill = (state: string): string => {
  const store = open(state)
  store.connection.write({ connection: CONNECTED, keys: [keyNamed('a'), keyNamed('b')] })
  for (let i = 0; i < 80; i++) void store.tokens.write([tokenFor({ installation: i }, 'current', 'x'.repeat(500))])
  for (let i = 20; i < 70; i++) void store.tokens.write([], [tokenFor({ installation: i }).key])
  const keyHex = store.databaseKey()
  store.close()
  return keyHex
}

test('a flipped bit at any place of the store is found, and nothing is changed by finding it', t => {
  const state = makeState(t)
  fill(state)
  const random = randomFrom(20_260_310)
  for (const name of ['store.db', 'key']) {
    const path = join(state, 'store/1', name)
    const good = readFileSync(path)
    // The edges of pages and their reserved bytes, then places by chance.
    const edges = [0, 15, 16, 23, 100, 4015, 4016, 4031, 4032, 4095, 4096, good.length - 1].filter(
      at => at < good.length,
    )
    const offsets = [...edges, ...Array.from({ length: 150 }, () => Math.floor(random() * good.length))]
    for (const at of offsets) {
      const flipped = Buffer.from(good)
      flipped[at]! ^= 1 << Math.floor(random() * 8)
      writeFileSync(path, flipped)
      t.is(
        codeOf(() => open(state)),
        'store-corrupt',
        `${name} at ${at}`,
      )
      t.true(readFileSync(path).equals(flipped))
    }
    writeFileSync(path, good)
  }
  const store = open(state)
  t.is(store.tokens.all().length, 30)
  store.close()
})

test('a store that was cut short or lengthened is damaged', t => {
  const state = makeState(t)
  fill(state)
  const path = join(state, 'store/1/store.db')
  const good = readFileSync(path)
  for (const length of [1, 100, 4095, 4096, 8192, good.length - 4096, good.length - 1]) {
    truncateSync(path, length)
    t.is(
      codeOf(() => open(state)),
      'store-corrupt',
      `${length} bytes`,
    )
    writeFileSync(path, good)
  }
  t.notThrows(() => open(state).close())
})

test('a page that was put in the place of another is found, though it is a whole one', t => {
  const state = makeState(t)
  fill(state)
  const path = join(state, 'store/1/store.db')
  const file = readFileSync(path)
  file.copy(file, 3 * 4096, 4 * 4096, 5 * 4096)
  writeFileSync(path, file)
  t.is(
    codeOf(() => open(state)),
    'store-corrupt',
  )
})

test('a large store is not read whole at the start, and a damaged page is found when it is read', t => {
  const state = makeState(t)
  const keyHex = fill(state)
  const path = join(state, 'store/1/store.db')
  copyFileSync(path, join(state, 'copy.db'))
  const file = readFileSync(path)
  // The last page but one belongs to no table that the opening reads.
  file[file.length - 4096 - 500]! ^= 1
  writeFileSync(join(state, 'copy.db'), file)
  const db = openEncrypted(join(state, 'copy.db'), keyHex)
  t.notThrows(() => checkPages(db, 1000))
  t.is(
    codeOf(() => checkPages(db)),
    'store-corrupt',
  )
  db.close()
})

test('the check at the start costs a few milliseconds', t => {
  const state = makeState(t)
  const keyHex = fill(state)
  const db = openEncrypted(join(state, 'store/1/store.db'), keyHex)
  // Time of the processor, which others on this machine do not add to.
  const costs = Array.from({ length: 5 }, () => {
    const before = process.cpuUsage()
    checkPages(db)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  })
  db.close()
  t.true(Math.max(...costs) < 20, `took ${costs.map(ms => ms.toFixed(1)).join(', ')} ms`)
})
