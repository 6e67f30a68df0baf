// Run inside a booted machine as the daemon's user, with the daemon stopped: writes a connection into the store, whose key comes on standard input.

import { readFileSync } from 'node:fs'
import { type Connection, isLive } from '../../src/protocol/connection.ts'
import { changeConnection, openStoreFile } from './store-file.ts'

const [kind = '', evidence = ''] = process.argv.slice(2)

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

const db = openStoreFile('/var/lib/ghconnectd/store/current/store.db', readFileSync(0, 'utf8').trim())
changeConnection(db, changed)
db.close()
