// Small facts that outlive a restart and belong to no other table, each with one owner: the learned clock offset, refresh history.

import { Failure } from '../../protocol/errors.ts'
import { parseJson } from './record.ts'
import { type Database, guard } from './sqlite.ts'

export type FactStore = {
  find(name: string): unknown
  /** JSON values only. Durable on return. */
  put(name: string, value: unknown): void
}

/** Throws `store-corrupt` where one of them cannot be read: found at the start, and not when it is asked for. */
export const createFactStore = (db: Database): FactStore => {
  const [bad] = guard(db.name, () =>
    db.prepare<[], string>('SELECT name FROM facts WHERE NOT json_valid(value) LIMIT 1').pluck().all(),
  )
  if (bad !== undefined) throw new Failure('store-corrupt', `the fact ${bad} in the store is no JSON`)
  const select = db.prepare<[string], string>('SELECT value FROM facts WHERE name = ?').pluck()
  const insert = db.prepare<[string, string]>('INSERT OR REPLACE INTO facts VALUES (?, ?)')
  return {
    find(name) {
      const text = guard(db.name, () => select.get(name))
      return text === undefined ? undefined : parseJson(text, `the fact ${name}`)
    },
    put(name, value) {
      const text = encodeFact(name, value)
      guard(db.name, () => insert.run(name, text))
    },
  }
}

const encodeFact = (name: string, value: unknown): string => {
  const text = JSON.stringify(value)
  if (text === undefined) throw new Failure('internal', `the fact ${name} is no JSON value`)
  return text
}

/** Facts of this prefix belong to one connection and end with it. */
const CONNECTION_PREFIX = 'connection.'

/** Part of a transaction of the caller's, on `to`: the lasting ones, then those that are new. */
export const passFactsOn = (from: Database, to: Database, fresh: Readonly<Record<string, unknown>>): void => {
  const insert = to.prepare<[string, string]>('INSERT INTO facts VALUES (?, ?)')
  for (const { name, value } of from.prepare<[], { name: string; value: string }>('SELECT * FROM facts').all()) {
    if (!name.startsWith(CONNECTION_PREFIX) && !Object.hasOwn(fresh, name)) insert.run(name, value)
  }
  for (const [name, value] of Object.entries(fresh)) insert.run(name, encodeFact(name, value))
}
