// The store as whoever has its key opens it: by SQLCipher 4, with the database key that `ghconnect store-key` prints.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { default as Sqlite } from 'better-sqlite3'
import type { Connection } from '../../src/protocol/connection.ts'
import { CLI } from './built.ts'

export type StoreFile = Sqlite.Database

/** In hexadecimal. As root, and beside no daemon: a state folder is enough. */
export const databaseKeyOf = ({ configFile }: { configFile: string }): string =>
  execFileSync(process.execPath, [CLI, 'store-key', '--config', configFile], { stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim()

/** The caller closes it. */
export const openStoreFile = (path: string, databaseKey: string): StoreFile => {
  const db = new Sqlite(path, { fileMustExist: true })
  for (const pragma of [`cipher='sqlcipher'`, 'legacy=4', `key="x'${databaseKey}'"`]) db.pragma(pragma)
  return db
}

/** Changed while no daemon runs. */
export const changeStore = <T>(
  appliance: { readonly configFile: string; readonly state: string },
  change: (db: StoreFile) => T,
): T => {
  const db = openStoreFile(join(appliance.state, 'store/current/store.db'), databaseKeyOf(appliance))
  try {
    return change(db)
  } finally {
    db.close()
  }
}

/** Puts the connection into a state that takes GitHub's repeated word, or a kill at the wrong moment, to come by. */
export const changeConnection = (db: StoreFile, change: (connection: Connection) => Connection): void => {
  const text = db.prepare<[], string>(`SELECT value FROM meta WHERE name = 'connection'`).pluck().get() ?? ''
  const changed = JSON.stringify(change(JSON.parse(text)))
  db.prepare<[string]>(`UPDATE meta SET value = ? WHERE name = 'connection'`).run(changed)
}
