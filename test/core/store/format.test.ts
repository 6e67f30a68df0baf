// The files on the disk: SQLCipher 4 as the standard has it, and nothing to be read without the key.

import { createDecipheriv, createHmac, pbkdf2Sync } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import test from 'ava'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openStore } from '../../../src/core/store/database.ts'
import { openEncrypted } from '../../../src/core/store/sqlite.ts'
import {
  APP_ID,
  CONNECTED,
  codeOf,
  filesUnder,
  INSTALLATION,
  keyNamed,
  makeState,
  modeOf,
  PEM,
  silentLog,
  STORE_KEY,
  TOKEN,
  tokenFor,
} from './samples.ts'

const PAGE = 4096
const RESERVED = 80

/** SQLCipher 4 by the book, with nothing of ours: throws where the HMAC of a page is wrong. */
const decryptPages = (file: Buffer, key: Buffer): Buffer => {
  const salt = file.subarray(0, 16)
  const hmacKey = pbkdf2Sync(key, Buffer.from(salt.map(byte => byte ^ 0x3a)), 2, 32, 'sha512')
  const pages: Buffer[] = []
  for (let number = 1; number <= file.length / PAGE; number++) {
    const page = file.subarray((number - 1) * PAGE, number * PAGE)
    const start = number === 1 ? salt.length : 0
    const iv = page.subarray(PAGE - RESERVED, PAGE - RESERVED + 16)
    const order = Buffer.alloc(4)
    order.writeUInt32LE(number)
    const hmac = createHmac('sha512', hmacKey)
      .update(page.subarray(start, PAGE - RESERVED + 16))
      .update(order)
      .digest()
    if (!hmac.equals(page.subarray(PAGE - 64))) throw new Error(`HMAC of page ${number}`)
    const decipher = createDecipheriv('aes-256-cbc', key, iv).setAutoPadding(false)
    const clear = Buffer.concat([decipher.update(page.subarray(start, PAGE - RESERVED)), decipher.final()])
    const header = number === 1 ? Buffer.from('SQLite format 3\0') : Buffer.alloc(0)
    pages.push(Buffer.concat([header, clear, Buffer.alloc(RESERVED)]))
  }
  return Buffer.concat(pages)
}

const fillState = (state: string) => {
  const store = openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })
  store.connection.write({ connection: CONNECTED, installations: [INSTALLATION], keys: [keyNamed('sha256:abc')] })
  for (let i = 1; i < 60; i++)
    void store.tokens.write([tokenFor({ installation: i, repositories: [`needle-repository-${i}`] })])
  const audit = openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
  audit.append({ event: 'token.grant', atMs: 1, scope: 'needle-audit-scope', detail: `App ${APP_ID}` })
  return { store, audit }
}

test('node:crypto alone reads the store, page by page, with the key that store-key prints', t => {
  const state = makeState(t)
  const { store, audit } = fillState(state)
  const key = Buffer.from(store.databaseKey(), 'hex')
  const auditKey = Buffer.from(audit.databaseKey(), 'hex')
  store.close()
  audit.close()

  const file = readFileSync(join(state, 'store/1/store.db'))
  t.is(file.length % PAGE, 0)
  const clear = decryptPages(file, key)
  t.true(clear.subarray(0, 16).equals(Buffer.from('SQLite format 3\0')))
  t.true(clear.includes(PEM.slice(0, 60)))
  // Stock SQLite takes what was decrypted for what it is.
  writeFileSync(join(state, 'clear.db'), clear)
  const stock = new DatabaseSync(join(state, 'clear.db'))
  t.is(stock.prepare('SELECT pem FROM keys').get()?.['pem'], PEM)
  t.is(stock.prepare('SELECT count(*) AS n FROM tokens').get()?.['n'], 59)
  t.is(stock.prepare('PRAGMA integrity_check').get()?.['integrity_check'], 'ok')
  stock.close()

  t.true(decryptPages(readFileSync(join(state, 'audit.db')), auditKey).includes('needle-audit-scope'))
  t.throws(() => decryptPages(file, auditKey), { message: 'HMAC of page 1' })
  const damaged = Buffer.from(file)
  damaged[2 * PAGE + 100]! ^= 1
  t.throws(() => decryptPages(damaged, key), { message: 'HMAC of page 3' })
})

test('no key, token, App id or name is in the bytes of any file, while it is open and after', t => {
  const state = makeState(t)
  const { store, audit } = fillState(state)
  const needles = new Map<string, Buffer>(
    [
      PEM.slice(28, 60),
      TOKEN,
      String(APP_ID),
      'octo-org',
      'needle-repository',
      'needle-audit',
      'SQLite',
      'CREATE TABLE',
    ].map(text => [text, Buffer.from(text)]),
  )
  needles.set('store key', STORE_KEY)
  needles.set('store key in hexadecimal', Buffer.from(STORE_KEY.toString('hex')))
  for (const [name, keyHex] of Object.entries({ store: store.databaseKey(), audit: audit.databaseKey() })) {
    needles.set(`${name} database key`, Buffer.from(keyHex, 'hex'))
    needles.set(`${name} database key in hexadecimal`, Buffer.from(keyHex))
  }
  const found = (files: Map<string, Buffer>) =>
    [...files].flatMap(([path, bytes]) =>
      [...needles].filter(([, needle]) => bytes.includes(needle)).map(([name]) => `${name} in ${path}`),
    )

  const whileOpen = filesUnder(state)
  t.true(
    [...whileOpen.keys()].some(path => path.endsWith('store.db-wal')),
    'the -wal file is searched too',
  )
  t.true([...whileOpen.values()].reduce((sum, bytes) => sum + bytes.length, 0) > 100_000)
  t.deepEqual(found(whileOpen), [])

  // The same search finds each of them in a copy that is not encrypted.
  const control = new Map<string, Buffer>([['keys', Buffer.concat([...needles].slice(8).map(([, needle]) => needle))]])
  for (const [path, keyHex] of [
    ['store/1/store.db', store.databaseKey()],
    ['audit.db', audit.databaseKey()],
  ] as const) {
    const db = openEncrypted(join(state, path), keyHex, { readonly: true })
    control.set(path, db.serialize())
    db.close()
  }
  const seen = new Set(found(control).map(line => line.replace(/ in [^ ]+$/, '')))
  t.deepEqual([...seen].toSorted(), [...needles.keys()].toSorted())

  store.replace({ newGeneration: true })
  store.close()
  audit.close()
  t.deepEqual(found(filesUnder(state)), [])
})

test('files are 0600 and folders 0700, under any umask', t => {
  const state = makeState(t)
  const umask = process.umask(0)
  t.teardown(() => void process.umask(umask))
  const { store, audit } = fillState(state)
  store.replace({})
  store.facts.put('a', 1)
  process.umask(umask)
  for (const folder of ['store', 'store/2']) t.is(modeOf(join(state, folder)), '700', folder)
  const paths = [
    'store/2/key',
    'store/2/store.db',
    'store/2/store.db-wal',
    'store/2/store.db-shm',
    'audit.db',
    'audit.key',
    'audit.db-wal',
  ]
  for (const path of paths) t.is(modeOf(join(state, path)), '600', path)
  store.close()
  audit.close()
})

test('a read-only connection sees the content and changes nothing', t => {
  const state = makeState(t)
  const { store, audit } = fillState(state)
  const db = openEncrypted(join(state, 'store/1/store.db'), store.databaseKey(), { readonly: true })
  t.is(db.prepare<[], number>('SELECT count(*) FROM tokens').pluck().get(), 59)
  t.throws(() => db.prepare('DELETE FROM tokens').run(), { code: 'SQLITE_READONLY' })
  db.close()
  t.is(
    codeOf(() => openEncrypted(join(state, 'store/1/store.db'), 'ab'.repeat(32), { readonly: true })),
    'store-corrupt',
  )
  t.is(
    codeOf(() => openEncrypted(join(state, 'none.db'), store.databaseKey(), { readonly: true })),
    'store-corrupt',
  )
  t.is(
    codeOf(() => openEncrypted(join(state, 'audit.db'), 'not a key', { readonly: true })),
    'internal',
  )
  store.close()
  audit.close()
  t.is(statSync(join(state, 'store/1/store.db-wal'), { throwIfNoEntry: false }), undefined)
})
