// Run inside a booted machine as the daemon's user, with the daemon stopped: writes a connection into the store, whose key comes on standard input.

import { readFileSync } from 'node:fs'
import { type Connection, isLive } from '../../src/protocol/connection.ts'
import { openStore } from '../../src/core/store/database.ts'

const [kind = '', evidence = ''] = process.argv.slice(2)
const silent = () => undefined
const store = openStore({
  folder: '/var/lib/ghconnectd/store',
  // Nothing is wrapped anew here.
  storeKey: Buffer.alloc(32),
  databaseKey: Buffer.from(readFileSync(0, 'utf8').trim(), 'hex'),
  log: { debug: silent, info: silent, warn: silent, error: silent },
})

const changed = (connection: Connection): Connection => {
  const sinceMs = Date.now()
  if (kind === 'key-lost') {
    return { kind, sinceMs, evidence, account: { type: 'organization', login: 'octo-org' } }
  }
  if (!isLive(connection)) throw new Error(`no App in ${connection.kind}`)
  const { app, account, host, enabledAtMs } = connection
  const established = { sinceMs, app, account, host, enabledAtMs }
  if (kind === 'connected') return { kind, ...established }
  if (kind === 'key-rejected' || kind === 'app-deleted') return { kind, evidence, ...established }
  throw new Error(`no such state: ${kind}`)
}

store.connection.write({ connection: changed(store.connection.read().connection) })
store.close()
