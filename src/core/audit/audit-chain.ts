// The hash chain of the audit log: what a row's hash is made of, how a chain is followed, and the tables that hold a part of it.

import { hash } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import { Failure } from '../../protocol/errors.ts'
import { type Database, guard, keepLogShort, type Migration } from '../store/sqlite.ts'

export type AuditEvent = {
  /** Dotted, as GitHub names its own: `token.grant`, `token.deny`, `dotcom_connection.create`. */
  readonly event: string
  readonly atMs: number
  readonly peer?: { readonly pid: number; readonly uid: number; readonly unit?: string }
  readonly profile?: string
  readonly scope?: string
  /** GitHub's own `hashed_token`: base64 of the token's SHA-256. */
  readonly hashedToken?: string
  readonly detail?: string
  /** How many equal events this row stands for, when more than one. */
  readonly count?: number
}

export type AuditRow = AuditEvent & { readonly sequence: number; readonly hash: string }

/** Where a row stands in the chain. The first row follows sequence 0 with a hash of zeros. */
export type Link = { readonly sequence: number; readonly hash: string }

/** A row as the file holds it. */
export type StoredRow = Link & { readonly body: string }

/** hash = SHA-256, in hexadecimal, of the canonical JSON of the event with `sequence` and `previous` (the hash before it). */
export const chainEvent = (event: AuditEvent, previous: Link): StoredRow => {
  const sequence = previous.sequence + 1
  const body = canonicalJson({ ...event, sequence, previous: previous.hash })
  return { sequence, body, hash: hash('sha256', body) }
}

export const AUDIT_MIGRATIONS: readonly Migration[] = [
  db =>
    db.exec(`
      CREATE TABLE events (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
      CREATE TABLE anchor (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
      INSERT INTO anchor VALUES (1, 0, '${'0'.repeat(64)}');
    `),
]

/** The rows of one file, be it the log or a part of its archive. */
export const openRows = (db: Database) => {
  keepLogShort(db)
  const last = db.prepare<[], Link>('SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1')
  const anchorRow = db.prepare<[], Link>('SELECT sequence, hash FROM anchor')
  const behind = db.prepare<[number, number], StoredRow>(
    'SELECT sequence, body, hash FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?',
  )
  const insert = db.prepare<StoredRow>('INSERT INTO events VALUES (@sequence, @body, @hash)')
  /** The place before the first row. */
  const anchor = (): Link =>
    guard(db.name, () => {
      const link = anchorRow.get()
      if (link === undefined) throw new Failure('store-corrupt', `the anchor of the audit log is missing in ${db.name}`)
      return link
    })
  return {
    anchor,
    /** The last row's place; the anchor where there is none. */
    head: (): Link => guard(db.name, () => last.get() ?? anchor()),
    /** Rows with a higher sequence, oldest first. */
    after: (sequence: number, limit: number): StoredRow[] => guard(db.name, () => behind.all(sequence, limit)),
    /** Part of a transaction of the caller's. */
    insert: (row: StoredRow): void => void insert.run(row),
  }
}

/** Follows the rows from a place to that of the last one, and calls `see` with each. Throws as `assertFollows`. */
export const followRows = (rows: readonly StoredRow[], from: Link, see: (row: AuditRow) => void = () => {}): Link => {
  let at = from
  for (const row of rows) {
    see(assertFollows(row, at))
    at = { sequence: row.sequence, hash: row.hash }
  }
  return at
}

/** Returns the row. Throws `store-corrupt` naming it, unless it is the one that follows `previous`. */
export const assertFollows = (row: StoredRow, previous: Link): AuditRow => {
  const wanted = previous.sequence + 1
  if (row.sequence !== wanted) throw broken(wanted, row.sequence > wanted ? 'is missing' : 'stands twice')
  if (hash('sha256', row.body) !== row.hash) throw broken(wanted, 'was changed')
  const { previous: told, ...event } = parseBody(row)
  if (event.sequence !== wanted) throw broken(wanted, 'was moved there from elsewhere')
  if (told !== previous.hash) throw broken(wanted, 'does not follow the row before it')
  return { ...event, hash: row.hash }
}

export const readRow = (row: StoredRow): AuditRow => {
  const { previous: _, ...event } = parseBody(row)
  return { ...event, hash: row.hash }
}

/** Rows that leave the archive: from `first` to `last`. */
export type Drop = { readonly first: number; readonly last: Link }

const broken = (sequence: number, how: string): Failure =>
  new Failure('store-corrupt', `row ${sequence} of the audit log ${how}`)

const bodySchema: z.ZodType<AuditEvent & { sequence: number; previous: string }> = z.lazy(() =>
  z.strictObject({
    sequence: z.int(),
    previous: z.string(),
    event: z.string(),
    atMs: z.number(),
    peer: z.exactOptional(z.strictObject({ pid: z.number(), uid: z.number(), unit: z.exactOptional(z.string()) })),
    profile: z.exactOptional(z.string()),
    scope: z.exactOptional(z.string()),
    hashedToken: z.exactOptional(z.string()),
    detail: z.exactOptional(z.string()),
    count: z.exactOptional(z.number()),
  }),
)

const parseBody = (row: StoredRow): z.infer<typeof bodySchema> => {
  try {
    return bodySchema.parse(JSON.parse(row.body))
  } catch (error) {
    throw new Failure('store-corrupt', `row ${row.sequence} of the audit log is malformed`, { cause: error })
  }
}
