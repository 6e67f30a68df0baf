// What is read back from the store is checked here as any other input: unknown or malformed content is damage.

import type { z } from 'zod'
import { Failure } from '../domain/errors.ts'

/** What a column holds. Throws `store-corrupt`; the detail names the place, never the content. */
export const decode = <T>(schema: z.ZodType<T>, text: string, what: string): T => {
  const result = schema.safeParse(parseJson(text, what))
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Failure('store-corrupt', `${what} in the store is malformed at ${issue?.path.join('.') || 'its top'}`)
}

/** The text of a value that `decode` reads back. A value that it would not is an error of the program, found before it is stored. */
export const encode = <T>(schema: z.ZodType<T>, value: T, what: string): string => {
  const text = JSON.stringify(value)
  const result = schema.safeParse(text === undefined ? undefined : JSON.parse(text))
  if (result.success) return text
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
