// A request's body: JSON, small, checked by its schema before anybody sees it.

import type { IncomingMessage } from 'node:http'
import type { z } from 'zod'
import { Failure } from '../domain/errors.ts'
import { parseWith } from '../domain/wire.ts'

/** Requests are small; a route that takes a bundle says how large. */
const MAX_BODY_BYTES = 64 * 1024
/** Clients ask the same again and again: parsed requests are kept by their text, which bears no secret where they are small. */
const MAX_KEPT = 512
const MAX_KEPT_BYTES = 512

const kept = new WeakMap<z.ZodType, Map<string, unknown>>()

/** Throws `body-too-large`, `invalid-request`. What it returns may be shared: callers do not change it. */
export const readJson = async (
  incoming: IncomingMessage,
  options: { schema: z.ZodType; maxBytes: number | undefined },
): Promise<unknown> => {
  const { schema, maxBytes = MAX_BODY_BYTES } = options
  const { headers } = incoming
  if (Number(headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  if (!isJson(headers['content-type']))
    throw new Failure('invalid-request', 'the body must be JSON, and content-type say so')
  const text = await readText(incoming, maxBytes)
  const known = kept.get(schema) ?? new Map<string, unknown>()
  kept.set(schema, known)
  const found = known.get(text)
  if (found !== undefined) return found
  const parsed = parseWith(schema, parseJson(text))
  if (text.length <= MAX_KEPT_BYTES) {
    if (known.size >= MAX_KEPT) known.clear()
    known.set(text, parsed)
  }
  return parsed
}

const isJson = (type: string | undefined): boolean =>
  type === 'application/json' || /^application\/json\s*;/i.test(type ?? '')

export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure('invalid-request', 'the body is not JSON', { cause })
  }
}

/** Throws `body-too-large`, and `invalid-request` where it is cut off. */
export const readText = async (incoming: IncomingMessage, maxBytes = MAX_BODY_BYTES): Promise<string> =>
  (await readBytes(incoming, maxBytes)).toString()

/** The same for bytes. */
export const readBytes = (incoming: IncomingMessage, maxBytes: number): Promise<Buffer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let size = 0
  incoming.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size <= maxBytes) chunks.push(chunk)
    else {
      // What follows stays where it is: each piece of it would be memory for a moment.
      incoming.pause()
      reject(tooLarge(maxBytes))
    }
  })
  incoming.once('end', () => {
    const [only = EMPTY] = chunks
    resolve(chunks.length > 1 ? Buffer.concat(chunks) : only)
  })
  incoming.once('close', () => {
    if (!incoming.complete) reject(new Failure('invalid-request', 'the body was cut off'))
  })
  return promise
}

const EMPTY = Buffer.alloc(0)

const tooLarge = (maxBytes: number): Failure => new Failure('body-too-large', `at most ${maxBytes} bytes`)
