// What is read back from the store is checked here as any other input: unknown or malformed content is damage.

import type { z } from 'zod'
import { Failure } from '../../protocol/errors.ts'
import { DECIDING } from './record-shapes.ts'

/** Told of what was out of its bounds and was brought within them. */
export type OnRepaired = (what: string) => void

/**
 * What a column holds. With `onRepaired`, for a schema that repairs: a value that decides nothing is brought within its bounds, and told.
 * Throws `store-corrupt`; the detail names the place, never the content.
 */
export const decode = <T>(
  schema: z.ZodType<T>,
  text: string,
  { what, onRepaired }: { what: string; onRepaired?: OnRepaired },
): T => {
  const raw = parseJson(text, what)
  const result = schema.safeParse(raw)
  if (!result.success) throw malformed(what, result.error.issues[0]?.path ?? [])
  if (!onRepaired) return result.data
  for (const path of differences(raw, result.data)) {
    if (DECIDING.has(path.at(-1) ?? '')) throw malformed(what, path)
    onRepaired(`${path.join('.')} of ${what}`)
  }
  return result.data
}

/** The text of a value that `decode` reads back, its numbers within their bounds. A value that it would not is an error of the program, found before it is stored. */
export const encode = <T>(schema: z.ZodType<T>, value: T, what: string): string => {
  const text = JSON.stringify(value)
  const result = schema.safeParse(text === undefined ? undefined : JSON.parse(text))
  if (result.success) return JSON.stringify(result.data)
  const [issue] = result.error.issues
  throw new Failure('internal', `${what} cannot be stored: ${issue?.path.join('.')} is malformed`)
}

export const parseJson = (text: string, what: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Failure('store-corrupt', `${what} in the store is no JSON`, { cause: error })
  }
}

const malformed = (what: string, path: readonly PropertyKey[]): Failure =>
  new Failure('store-corrupt', `${what} in the store is malformed at ${path.map(String).join('.') || 'its top'}`)

/** The places of values that are not the same. */
const differences = (before: unknown, after: unknown): string[][] => {
  if (typeof before !== 'object' || before === null || typeof after !== 'object' || after === null) {
    return Object.is(before, after) ? [] : [[]]
  }
  return Object.entries(after).flatMap(([name, value]) =>
    differences(Reflect.get(before, name), value).map(path => [name, ...path]),
  )
}
