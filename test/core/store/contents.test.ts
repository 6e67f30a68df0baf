// What goes into a store comes out of it again, after a restart too.

import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { openStore } from '../../../src/core/store/database.ts'
import { openEncrypted } from '../../../src/core/store/sqlite.ts'
import { anyConnection, anyInstallation, anyKey, anyPermissions, anyScope, anyText, anyTimeMs } from './arbitraries.ts'
import {
  CONNECTED,
  codeOf,
  INSTALLATION,
  keyNamed,
  makeState,
  PEM,
  shown,
  silentLog,
  STORE_KEY,
  tokenFor,
} from './samples.ts'

const open = (state: string) => openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })

test('any connection, installations and keys are the same after a restart', t => {
  const state = makeState(t)
  const keys = fc.uniqueArray(anyKey, { selector: key => key.fingerprint, maxLength: 4 })
  fc.assert(
    fc.property(
      anyConnection,
      fc.array(anyInstallation, { maxLength: 4 }),
      keys,
      (connection, installations, stored) => {
        const store = open(state)
        const { generation } = store.connection.read()
        const written = store.connection.write({ connection, installations, keys: stored, newGeneration: true })
        store.close()
        const again = open(state)
        const read = again.connection.read()
        again.close()
        const wanted = { generation: generation + 1, connection, installations, keys: shown(stored) }
        t.deepEqual(shown(read), wanted)
        t.deepEqual(shown(written), wanted)
      },
    ),
    { numRuns: 40 },
  )
})

test('what a change leaves out stays', t => {
  const store = open(makeState(t))
  store.connection.write({
    connection: CONNECTED,
    installations: [INSTALLATION],
    keys: [keyNamed('a')],
    newGeneration: true,
  })
  store.connection.write({ keys: [keyNamed('b'), keyNamed('a')] })
  store.connection.write({ installations: [] })
  const record = store.connection.read()
  t.is(record.generation, 1)
  t.deepEqual(record.connection, CONNECTED)
  t.deepEqual(record.installations, [])
  t.deepEqual(
    record.keys.map(key => [key.fingerprint, key.pem.reveal()]),
    [
      ['b', PEM],
      ['a', PEM],
    ],
  )
  store.close()
})

test('a change that cannot be stored changes nothing', t => {
  const store = open(makeState(t))
  const before = store.connection.write({ connection: CONNECTED, keys: [keyNamed('a')] })
  t.is(
    codeOf(() => store.connection.write({ keys: [keyNamed('x'), keyNamed('x')] })),
    'internal',
  )
  t.is(
    codeOf(() => store.connection.write({ connection: { kind: 'disconnected', sinceMs: Number.NaN } })),
    'internal',
  )
  t.is(store.connection.read(), before)
  store.close()
})

test('a state that this program does not know is damage, not a default', t => {
  const state = makeState(t)
  const first = open(state)
  const keyHex = first.databaseKey()
  first.close()
  const bad: readonly [string, string][] = [
    ['connection', '{"kind":"enchanted","sinceMs":1}'],
    ['connection', '{"kind":"disconnected","sinceMs":1,"more":1}'],
    ['connection', '{"kind":"connected","sinceMs":1}'],
    ['connection', '{'],
    ['installations', '{}'],
    ['generation', '-1'],
    ['generation', 'one'],
  ]
  for (const [name, value] of bad) {
    const db = openEncrypted(join(state, 'store/1/store.db'), keyHex)
    const find = db.prepare<[string], string>('SELECT value FROM meta WHERE name = ?').pluck()
    const good = find.get(name)
    const put = db.prepare<[string | undefined, string]>('UPDATE meta SET value = ? WHERE name = ?')
    put.run(value, name)
    t.is(
      codeOf(() => open(state)),
      'store-corrupt',
      `${name} = ${value}`,
    )
    put.run(good, name)
    db.close()
  }
  t.notThrows(() => open(state).close())
})

test('any token is the same after a restart', t => {
  const state = makeState(t)
  const anyToken = fc
    .record({
      slot: fc.constantFrom('current', 'next'),
      profile: anyText,
      scope: anyScope,
      token: anyText.map(token => new Secret(token)),
      granted: fc.record(
        { repositories: fc.array(anyText, { maxLength: 3 }), permissions: anyPermissions },
        { requiredKeys: ['permissions'] },
      ),
      mintedAtMs: anyTimeMs,
      lifeMs: fc.integer({ min: -1_000, max: 70 * 60_000 }),
    })
    .map(({ lifeMs, ...token }) => ({
      ...token,
      expiresAtMs: Math.min(token.mintedAtMs + lifeMs, Date.UTC(2200, 0)),
      key: scopeKey(token.profile, token.scope),
    }))
  const tokens = fc.uniqueArray(anyToken, { selector: ({ key, slot }) => `${slot} ${key}`, maxLength: 6 })
  fc.assert(
    fc.property(tokens, stored => {
      const store = open(state)
      store.tokens.clear()
      for (const token of stored) void store.tokens.write([token])
      store.close()
      const again = open(state)
      const read = again.tokens.all()
      again.close()
      const sorted = (list: typeof read) =>
        list.toSorted((a, b) => (a.slot + a.key < b.slot + b.key ? -1 : 1)).map(shown)
      t.deepEqual(sorted(read), sorted(stored))
    }),
    { numRuns: 40 },
  )
})

test('a write puts each token in its slot; first the rows of the keys that are gone go, and all or none', t => {
  const store = open(makeState(t))
  const scope = { installation: 1, repositories: ['web'] }
  const { key } = tokenFor(scope)
  const held = () => store.tokens.all().map(({ slot, token }) => [slot, token.reveal()])
  void store.tokens.write([tokenFor(scope, 'current', 'old'), tokenFor(scope, 'next', 'new')])
  void store.tokens.write([tokenFor(scope, 'next', 'newer')])
  t.deepEqual(held(), [
    ['current', 'old'],
    ['next', 'newer'],
  ])
  void store.tokens.write([tokenFor(scope, 'current', 'newer')], [key])
  t.deepEqual(held(), [['current', 'newer']])
  const malformed = { ...tokenFor({ installation: 2 }), mintedAtMs: Number.NaN }
  t.throws(() => store.tokens.write([malformed], [key]))
  t.deepEqual(held(), [['current', 'newer']])
  void store.tokens.write([tokenFor({ installation: 2 })], [key])
  t.is(store.tokens.all().length, 1)
  store.tokens.clear()
  t.deepEqual(held(), [])
  store.close()
})

test('any JSON value is a fact, and nothing else is', t => {
  const state = makeState(t)
  fc.assert(
    fc.property(anyText, fc.jsonValue(), (name, value) => {
      const store = open(state)
      store.facts.put(name, value)
      store.close()
      const again = open(state)
      t.deepEqual(again.facts.find(name), JSON.parse(JSON.stringify(value)))
      again.close()
    }),
    { numRuns: 25 },
  )
  const store = open(state)
  t.is(store.facts.find('never put'), undefined)
  t.is(
    codeOf(() => store.facts.put('f', undefined)),
    'internal',
  )
  store.close()
})

/** Milliseconds of the processor, which others on this machine do not add to. */
const costOf = (work: () => unknown): number => {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

test('ten thousand tokens are read at no more than six times what SQLite and JSON cost', t => {
  const state = makeState(t)
  const store = open(state)
  const db = openEncrypted(join(state, 'store/1/store.db'), store.databaseKey())
  // In one transaction, as ten thousand durable writes would only measure the disk.
  const insert = db.prepare('INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
  db.transaction(() => {
    for (let i = 0; i < 10_000; i++) {
      const scope = { installation: i % 20, repositories: [`repository-${i}`], permissions: { contents: 'read' } }
      const granted = { repositories: scope.repositories, permissions: { contents: 'read', metadata: 'read' } }
      insert.run(
        `key ${i}`,
        'current',
        'actions',
        JSON.stringify(scope),
        'x'.repeat(520),
        JSON.stringify(granted),
        1,
        2,
      )
    }
  })()
  const rows = db.prepare<[], { scope: string; granted: string }>('SELECT * FROM tokens')
  const costs = Array.from({ length: 5 }, () => ({
    floor: costOf(() => rows.all().map(row => [JSON.parse(row.scope), JSON.parse(row.granted)])),
    all: costOf(() => t.is(store.tokens.all().length, 10_000)),
  }))
  db.close()
  const [floor, all] = [Math.min(...costs.map(c => c.floor)), Math.min(...costs.map(c => c.all))]
  t.log(`floor ${floor.toFixed(1)} ms, all() ${all.toFixed(1)} ms`)
  t.true(all < 6 * floor, `floor ${floor.toFixed(1)} ms, all() ${all.toFixed(1)} ms`)
  store.close()
})
