// Numbers and addresses out of their bounds: none is written, one that decides nothing is repaired, any other is damage with a name.

import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { type Connection, isLive } from '../../../src/protocol/connection.ts'
import { connectionSchema, installationsSchema } from '../../../src/core/store/records.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { Log } from '../../../src/service/log.ts'
import { openStore, readStore } from '../../../src/core/store/database.ts'
import { openEncrypted } from '../../../src/core/store/sqlite.ts'
import {
  CONNECTED,
  codeOf,
  failureOf,
  INSTALLATION,
  keyNamed,
  makeState,
  silentLog,
  STORE_KEY,
  tokenFor,
} from './samples.ts'

const open = (state: string, log: Log = silentLog) =>
  openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log })

if (!isLive(CONNECTED)) throw new Error('the sample has no App')
const LIVE = CONNECTED

const anyNumber = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.constant(1e300))

test('whatever the clock says, what is written is within its bounds and is read again', t => {
  const { app, account, host } = LIVE
  const state = makeState(t)
  fc.assert(
    fc.property(anyNumber, anyNumber, fc.string(), (one, other, htmlUrl) => {
      const live = { sinceMs: one, enabledAtMs: other, account, host, app: { ...app, htmlUrl } }
      const written: Connection[] = [
        { ...live, kind: 'connected' },
        { ...live, kind: 'disconnecting', step: 'revoke', deadlineMs: other },
        {
          kind: 'awaiting-app',
          sinceMs: one,
          account,
          state: 'x',
          expiresAtMs: other,
          conversion: { code: 'c', startedAtMs: one },
        },
      ]
      const store = open(state)
      for (const connection of written) {
        store.connection.write({
          connection,
          installations: [{ ...INSTALLATION, htmlUrl, suspendedAtMs: one }],
          keys: [{ ...keyNamed('a'), addedAtMs: other }],
        })
        const read = store.connection.read()
        t.true(connectionSchema.safeParse(read.connection).success)
        t.true(installationsSchema.safeParse(read.installations).success)
        t.true(
          (read.keys[0]?.addedAtMs ?? 0) >= Date.UTC(2020, 0) && (read.keys[0]?.addedAtMs ?? 0) <= Date.UTC(2200, 0),
        )
      }
      store.close()
      t.notThrows(() => open(state).close())
    }),
    { numRuns: 30 },
  )
})

test('a generation at its bound stays there, and changes are still written', t => {
  const store = open(makeState(t))
  store.connection.write({ connection: CONNECTED, keys: [keyNamed('a')], above: 2 ** 48 - 1, newGeneration: true })
  store.replace({ connection: { kind: 'disconnected', sinceMs: Date.UTC(2026, 0) }, keys: [], newGeneration: true })
  t.is(store.connection.read().generation, 2 ** 48 - 1)
  t.is(store.connection.read().connection.kind, 'disconnected')
  store.close()
})

/** A store with a connection, changed by whoever has its key. */
const changed = (state: string, sql: string, ...values: unknown[]): void => {
  const store = open(state)
  store.connection.write({ connection: CONNECTED, installations: [INSTALLATION], keys: [keyNamed('a')] })
  void store.tokens.write([tokenFor({ installation: 1 })])
  void store.tokens.write([tokenFor({ installation: 2 })])
  const db = openEncrypted(join(state, 'store/1/store.db'), store.databaseKey())
  store.close()
  db.prepare(sql).run(...values)
  db.close()
}

const setting = (name: string, path: string, json: string): [string, string, string, string] => [
  'UPDATE meta SET value = json_set(value, ?, json(?)) WHERE name = ?',
  path,
  json,
  name,
]

const opened = (state: string) => {
  const warnings: unknown[] = []
  const log: Log = { ...silentLog, warn: (_message, fields) => void warnings.push(fields?.['what'] ?? fields?.['key']) }
  const store = open(state, log)
  const read = { record: store.connection.read(), tokens: store.tokens.all(), warnings }
  store.close()
  return read
}

const REPAIRED: [string, [string, ...unknown[]], string][] = [
  ['a time of the connection far ahead', setting('connection', '$.sinceMs', '1e300'), 'sinceMs of the connection'],
  ['a negative time', setting('connection', '$.enabledAtMs', '-7'), 'enabledAtMs of the connection'],
  ['a time without an end', setting('connection', '$.sinceMs', '1e999'), 'sinceMs of the connection'],
  [
    'an address of the App that is none',
    setting('connection', '$.app.htmlUrl', '"no"'),
    'app.htmlUrl of the connection',
  ],
  [
    'an address of an installation',
    setting('installations', '$[0].htmlUrl', '"x:y"'),
    '0.htmlUrl of the list of installations',
  ],
  [
    'a time of an installation',
    setting('installations', '$[0].suspendedAtMs', '1e300'),
    '0.suspendedAtMs of the list of installations',
  ],
  ['a time of a key', ['UPDATE keys SET added_at_ms = 1e300'], 'addedAtMs of the key a'],
]

for (const [name, change, told] of REPAIRED) {
  test(`${name} is repaired at the start, and told`, t => {
    const state = makeState(t)
    changed(state, ...change)
    const { record, warnings } = opened(state)
    t.deepEqual(warnings, [told])
    t.true(connectionSchema.safeParse(record.connection).success)
    t.true(installationsSchema.safeParse(record.installations).success)
    t.notThrows(() => readStore({ folder: join(state, 'store'), storeKey: STORE_KEY }))
  })
}

const DAMAGE: [string, [string, ...unknown[]]][] = [
  ['a time that is no number', setting('connection', '$.sinceMs', 'null')],
  ['a generation of 2^60', ['UPDATE meta SET value = ? WHERE name = ?', String(2 ** 60), 'generation']],
  ['a generation of 2^48', ['UPDATE meta SET value = ? WHERE name = ?', String(2 ** 48), 'generation']],
  [
    'a time by which something is decided',
    [
      'UPDATE meta SET value = ? WHERE name = ?',
      JSON.stringify({ ...CONNECTED, kind: 'disconnecting', step: 'revoke', deadlineMs: 1e300 }),
      'connection',
    ],
  ],
  ['an id that is no integer', setting('connection', '$.app.id', '1e300')],
]

for (const [name, change] of DAMAGE) {
  test(`${name} is damage, and has its name`, t => {
    const state = makeState(t)
    changed(state, ...change)
    t.is(
      codeOf(() => open(state)),
      'store-corrupt',
    )
  })
}

for (const [name, column, value] of [
  ['ends in the year 9999', 'expires_at_ms', Date.UTC(9999, 0)],
  ['lives for two hours', 'expires_at_ms', 7_200_001],
  ['ends far ahead', 'expires_at_ms', 1e300],
  ['was minted before all time', 'minted_at_ms', -1],
  ['has a scope that is none', 'scope', '{}'],
] as const) {
  test(`a token that ${name} is removed at the start, and told; the others stay`, t => {
    const state = makeState(t)
    const { key } = tokenFor({ installation: 1 })
    changed(state, `UPDATE tokens SET ${column} = ? WHERE key = ?`, value, key)
    const { tokens, warnings } = opened(state)
    t.deepEqual(
      tokens.map(({ scope }) => scope.installation),
      [2],
    )
    t.deepEqual(warnings, [key])
    t.deepEqual(opened(state).warnings, [])
  })
}

test('a repaired value is not written by reading, and the next change writes it', t => {
  const state = makeState(t)
  changed(state, ...setting('connection', '$.sinceMs', '1e300'))
  opened(state)
  t.is(opened(state).warnings.length, 1)
  const store = open(state)
  store.connection.write({ keys: [{ ...keyNamed('b'), pem: new Secret('x') }] })
  store.close()
  t.deepEqual(opened(state).warnings, [])
})

test('a malformed token takes no other of its scope along', t => {
  const state = makeState(t)
  const store = open(state)
  const scope = { installation: 1 }
  void store.tokens.write([tokenFor(scope, 'current', 'good'), tokenFor(scope, 'next', 'bad')])
  const db = openEncrypted(join(state, 'store/1/store.db'), store.databaseKey())
  db.prepare(`UPDATE tokens SET granted = '[]' WHERE slot = 'next'`).run()
  const told: unknown[] = []
  store.close()
  const again = open(state, { ...silentLog, warn: (_message, fields) => void told.push(fields) })
  t.deepEqual(
    again.tokens.all().map(({ slot, token }) => [slot, token.reveal()]),
    [['current', 'good']],
  )
  t.like(told, [{ key: tokenFor(scope).key, error: { code: 'store-corrupt' } }])
  t.is(db.prepare<[], number>('SELECT count(*) FROM tokens').pluck().get(), 1)
  db.close()
  again.close()
})

test('a fact that is no JSON is damage at the start, and named', t => {
  const state = makeState(t)
  const store = open(state)
  store.facts.put('clock.offset', 1)
  const db = openEncrypted(join(state, 'store/1/store.db'), store.databaseKey())
  store.close()
  db.prepare('UPDATE facts SET value = ?').run('{')
  db.close()
  const failure = failureOf(() => open(state))
  t.is(failure?.code, 'store-corrupt')
  t.is(failure?.message, 'the fact clock.offset in the store is no JSON')
})

test('damage is named by its place, and never by what stands there', t => {
  const cases: [[string, ...unknown[]], string][] = [
    [setting('connection', '$.sinceMs', '"secret"'), 'the connection in the store is malformed at sinceMs'],
    [
      setting('connection', '$.app.owner.type', '"secret"'),
      'the connection in the store is malformed at app.owner.type',
    ],
    [setting('installations', '$[0].id', '"secret"'), 'the list of installations in the store is malformed at 0.id'],
    [
      ['UPDATE meta SET value = ? WHERE name = ?', '"secret"', 'installations'],
      'the list of installations in the store is malformed at its top',
    ],
    [['UPDATE meta SET value = ? WHERE name = ?', '{secret', 'connection'], 'the connection in the store is no JSON'],
  ]
  for (const [sql, told] of cases) {
    const state = makeState(t)
    changed(state, ...sql)
    t.is(failureOf(() => open(state))?.message, told)
  }
  const state = makeState(t)
  changed(state, `DELETE FROM meta WHERE name = 'generation'`)
  t.regex(failureOf(() => open(state))?.message ?? '', /^generation is missing in .*store\.db$/)
})

test('what cannot be stored is named by its place as well, and is not there', t => {
  const store = open(makeState(t))
  const before = store.connection.read()
  const odd: Connection = { ...LIVE, kind: 'connected', account: { type: 'organization', login: 'x' } }
  Object.assign(odd, { enabledAtMs: 'secret' })
  const failure = failureOf(() => store.connection.write({ connection: odd, newGeneration: true }))
  t.is(failure?.code, 'internal')
  t.is(failure?.message, 'the connection cannot be stored: enabledAtMs is malformed')
  t.is(store.connection.read(), before)
  store.close()
})
