// Runs in a mount namespace of its own, on a file system of a few hundred kilobytes: fills it, and prints what the store does then.

import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { default as Sqlite } from 'better-sqlite3'
import { Secret } from '../../../src/protocol/secret.ts'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openStore } from '../../../src/core/store/database.ts'
import { guard } from '../../../src/core/store/sqlite.ts'
import { CONNECTED, codeOf, failureOf, INSTALLATION, keyNamed, silentLog, STORE_KEY, tokenFor } from './samples.ts'

const state = process.argv[2] ?? ''
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1200k,mode=0700', 'tmpfs', state])

const open = () => openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })
const openLog = () => openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
const filler = join(state, 'filler')

const fillDisk = (): void => {
  const fd = openSync(filler, 'a')
  try {
    for (const size of [4096, 1]) {
      try {
        for (;;) writeSync(fd, Buffer.alloc(size, 1))
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      }
    }
  } finally {
    closeSync(fd)
  }
}

const store = open()
const audit = openLog()
store.connection.write({
  connection: CONNECTED,
  installations: [INSTALLATION],
  keys: [keyNamed('old')],
  newGeneration: true,
})
void store.tokens.write([tokenFor({ installation: 1 })])
store.facts.put('fact', 'old')
audit.append({ event: 'old', atMs: 1 })
fillDisk()

const big = { ...keyNamed('new'), pem: new Secret('x'.repeat(60_000)) }
// What is small may still fit into blocks that are there already, so each goes on until one fails.
const untilFull = (work: (i: number) => void) => codeOf(() => Array.from({ length: 400 }, (_, i) => work(i)))
const codes = {
  connection: codeOf(() => store.connection.write({ keys: [big], newGeneration: true })),
  replace: codeOf(() => store.replace({ keys: [big], newGeneration: true })),
  token: untilFull(i => void store.tokens.write([tokenFor({ installation: 100 + i }, 'current', 'x'.repeat(2_000))])),
  fact: codeOf(() => store.facts.put('big', 'x'.repeat(60_000))),
  audit: untilFull(i => audit.append({ event: 'new', atMs: 2 + i, detail: 'x'.repeat(2_000) })),
}
const auditNext = failureOf(() => audit.append({ event: 'new', atMs: 2, detail: 'x'.repeat(60_000) }))?.next
/** What SQLite says where a file ends within a page. */
const cutShort = codeOf(() =>
  guard(join(state, 'store/1/store.db'), () => {
    throw new Sqlite.SqliteError('disk I/O error', 'SQLITE_IOERR_SHORT_READ')
  }),
)
const held = () => ({
  key: store.connection.read().keys[0]?.fingerprint,
  generation: store.connection.read().generation,
  token: store.tokens.all().some(({ scope }) => scope.installation === 1),
  fact: store.facts.find('fact'),
  number: store.number(),
})
const found = audit.findFullDisk()
const whileFull = {
  ...held(),
  told: found?.message,
  next: found?.next,
  entries: readdirSync(join(state, 'store')).toSorted(),
  intact: audit.verify().rows,
}

store.close()
const reopenedFull = codeOf(() => open().close())

rmSync(filler)
const again = open()
const reopened = { key: again.connection.read().keys[0]?.fingerprint, fact: again.facts.find('fact') }
again.connection.write({ keys: [keyNamed('new')], newGeneration: true })
again.replace({})
audit.append({ event: 'later', atMs: 9 })
const afterwards = {
  key: again.connection.read().keys[0]?.fingerprint,
  number: again.number(),
  audit: audit.verify().rows,
  told: audit.findFullDisk()?.message,
}
again.close()
audit.close()
writeSync(
  1,
  JSON.stringify({
    codes,
    auditNext,
    cutShort,
    whileFull,
    reopenedFull: reopenedFull ?? 'opens',
    reopened,
    afterwards,
  }),
)
