// The tables of the store and how they came about: one step a version, counted in SQLite's user_version.

import { Failure } from '../../protocol/errors.ts'
import type { Database } from './sqlite.ts'

/** A step makes version n+1 of version n. Steps that were released are never changed. */
export type Migration = (db: Database) => void

export const STORE_MIGRATIONS: readonly Migration[] = [
  db =>
    db.exec(`
      CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
      CREATE TABLE keys (
        position INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL UNIQUE,
        pem TEXT NOT NULL,
        added_at_ms REAL NOT NULL
      ) STRICT;
      CREATE TABLE tokens (
        key TEXT NOT NULL,
        slot TEXT NOT NULL CHECK (slot IN ('current', 'next')),
        profile TEXT NOT NULL,
        scope TEXT NOT NULL,
        token TEXT NOT NULL,
        granted TEXT NOT NULL,
        minted_at_ms REAL NOT NULL,
        expires_at_ms REAL NOT NULL,
        PRIMARY KEY (key, slot)
      ) STRICT;
      CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    `),
]

export const SCHEMA_VERSION = STORE_MIGRATIONS.length

export const AUDIT_MIGRATIONS: readonly Migration[] = [
  db =>
    db.exec(`
      CREATE TABLE events (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
      CREATE TABLE anchor (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
      INSERT INTO anchor VALUES (1, 0, '${'0'.repeat(64)}');
    `),
]

/** Throws `store-newer` where a newer program wrote the file; nothing was written then. */
export const assertNotNewer = (db: Database, migrations: readonly Migration[]): void => {
  const version = versionOf(db)
  if (version > migrations.length) {
    throw new Failure(
      'store-newer',
      `${db.name} has schema ${version}, and this program knows schemas up to ${migrations.length}`,
    )
  }
}

/** Brings the file to the last version, each step in one transaction: a step that fails leaves the version before it. */
export const migrate = (db: Database, migrations: readonly Migration[]): void => {
  assertNotNewer(db, migrations)
  for (const [index, step] of migrations.entries()) {
    if (index < versionOf(db)) continue
    db.transaction(() => {
      step(db)
      db.pragma(`user_version=${index + 1}`)
    }).immediate()
  }
}

const versionOf = (db: Database): number => Number(db.pragma('user_version', { simple: true }))
