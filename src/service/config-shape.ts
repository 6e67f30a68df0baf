// Brings a TOML document into the shape of its schema, and goes on past what does not fit, so that all of it is told at once.

import { z } from 'zod'
import { noSuchKey, type Report } from './config-findings.ts'

/** Known to end: each round takes something away. */
const MOST_ROUNDS = 10

export type Shaped<T> = {
  /** What fits. */
  readonly data: T
  /** A path in `data` as it was in the document. */
  origin(path: readonly PropertyKey[]): PropertyKey[]
}

/** Undefined where too little fits. `report` gets paths of the document as it was given, which is changed. */
export const shapeLeniently = <T>(
  document: unknown,
  { schema, report }: { schema: z.ZodType<T>; report: Report },
): Shaped<T> | undefined => {
  const origins = new WeakMap<object, number>()
  noteOrigins(document, origins)
  for (let round = 0; round < MOST_ROUNDS; round++) {
    // Read once: to compile a parser takes longer than to do without.
    const result = schema.safeParse(document, { jitless: true })
    if (result.success) return { data: result.data, origin: path => originOf(document, path, origins) }
    const wrong: (readonly PropertyKey[])[] = []
    for (const issue of result.error.issues) {
      const { path } = issue
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys) {
          wrong.push([...path, key])
          report(originOf(document, [...path, key], origins), noSuchKey(key, keysAt(schema, path)))
        }
      } else {
        wrong.push(path)
        report(originOf(document, path, origins), issue.message)
      }
    }
    for (const path of wrong) remove(document, path)
    compact(document)
  }
  return undefined
}

const REMOVED = Symbol('removed')

type Container = Record<PropertyKey, unknown>

const isContainer = (value: unknown): value is Container => typeof value === 'object' && value !== null

const find = (document: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce((value, key) => (isContainer(value) ? value[key] : undefined), document)

/** What is required and absent takes its table with it. */
const remove = (document: unknown, path: readonly PropertyKey[]): void => {
  const [key, ...above] = path.toReversed()
  if (key === undefined) return
  const parent = find(document, above.toReversed())
  if (Array.isArray(parent)) parent[Number(key)] = REMOVED
  else if (isContainer(parent) && Object.hasOwn(parent, key)) Reflect.deleteProperty(parent, key)
  else remove(document, above.toReversed())
}

const compact = (value: unknown): void => {
  if (!isContainer(value)) return
  if (Array.isArray(value)) {
    const kept = value.filter(each => each !== REMOVED)
    value.splice(0, value.length, ...kept)
  }
  for (const each of Object.values(value)) compact(each)
}

/** Elements of lists of tables move up where one before them is taken away; their lines and names do not. */
const noteOrigins = (document: unknown, origins: WeakMap<object, number>): void => {
  if (!isContainer(document)) return
  for (const list of Object.values(document)) {
    if (!Array.isArray(list)) continue
    for (const [at, element] of list.entries()) if (isContainer(element)) origins.set(element, at)
  }
}

const originOf = (document: unknown, path: readonly PropertyKey[], origins: WeakMap<object, number>): PropertyKey[] => {
  const [table, index, ...rest] = path
  if (table === undefined || typeof index !== 'number') return [...path]
  const element = find(document, [table, index])
  return [table, (isContainer(element) ? origins.get(element) : undefined) ?? index, ...rest]
}

type JsonSchema = z.core.JSONSchema.BaseSchema

/** The keys that a table may have, for a guess. */
const keysAt = (schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] => {
  let at: JsonSchema | undefined = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  for (const key of path) {
    const { items, properties, additionalProperties }: JsonSchema = at ?? {}
    const next: unknown = typeof key === 'number' ? items : (properties?.[String(key)] ?? additionalProperties)
    at = isContainer(next) && !Array.isArray(next) ? next : undefined
  }
  return Object.keys(at?.properties ?? {})
}
