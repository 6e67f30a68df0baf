// A request's body: JSON, small, checked by its schema before anybody sees it.

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { z } from 'zod'
import { Failure } from '../../protocol/errors.ts'
import { parseWith } from '../../protocol/wire.ts'
import type { BodyAccount } from './body-budget.ts'

/** Requests are small; a route that takes a bundle says how large. */
const MAX_BODY_BYTES = 64 * 1024
/** Clients ask the same again and again: parsed requests are kept by their text, which bears no secret where they are small. */
const MAX_KEPT = 512
const MAX_KEPT_BYTES = 512
/** To parse and check so much costs about as much as to answer with a token from the cache. */
const COST_BYTES = 2_048

const kept = new WeakMap<z.ZodType, Map<string, unknown>>()

/** Throws `body-too-large`, `invalid-request`, `rate-limited` where `account` has no room. What it returns may be shared: callers do not change it. */
export const readJson = async (
  incoming: IncomingMessage,
  options: {
    schema: z.ZodType
    maxBytes: number | undefined
    account: BodyAccount
    /** Resolves when it is this caller's turn to have something done that costs so much. Rejects with `rate-limited`. */
    turn(cost: number): Promise<void>
  },
): Promise<unknown> => {
  const { schema, maxBytes = MAX_BODY_BYTES, account, turn } = options
  const { headers } = incoming
  if (Number(headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  if (!isJson(headers['content-type']))
    throw new Failure('invalid-request', 'the body must be JSON, and content-type say so')
  const text = await readText(incoming, account, maxBytes)
  if (text.length > COST_BYTES) await turn(Math.floor(text.length / COST_BYTES))
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

export const hasBody = ({ 'content-length': length, 'transfer-encoding': coding }: IncomingHttpHeaders): boolean =>
  coding !== undefined || (length !== undefined && Number(length) > 0)

const isJson = (type: string | undefined): boolean =>
  type === 'application/json' || /^application\/json\s*(?:;|$)/i.test(type ?? '')

export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure('invalid-request', 'the body is not JSON', { cause })
  }
}

/** Throws `body-too-large`, `rate-limited`, and `invalid-request` where it is cut off. */
export const readText = (
  incoming: IncomingMessage,
  account: BodyAccount,
  maxBytes = MAX_BODY_BYTES,
): Promise<string> => {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const chunks: Buffer[] = []
  let size = 0
  incoming.on('data', (chunk: Buffer) => {
    size += chunk.length
    const refusal = size > maxBytes ? tooLarge(maxBytes) : account.take(chunk.length) ? undefined : noRoom()
    if (!refusal) {
      chunks.push(chunk)
      return
    }
    // What follows stays where it is: each piece of it would be memory for a moment.
    incoming.pause()
    chunks.length = 0
    reject(refusal)
  })
  incoming.once('end', () => {
    const [only] = chunks
    resolve(chunks.length > 1 ? Buffer.concat(chunks).toString() : (only?.toString() ?? ''))
  })
  // After 'end' this changes nothing. A request may close with its body complete and not read yet, and before anybody listens.
  const cut = (): void => reject(new Failure('invalid-request', 'the body was cut off'))
  incoming.on('error', cut)
  incoming.once('close', cut)
  if (incoming.destroyed) cut()
  return promise
}

const tooLarge = (maxBytes: number): Failure => new Failure('body-too-large', `at most ${maxBytes} bytes`)

export const noRoom = (): Failure =>
  new Failure('rate-limited', 'the bodies of requests under way are too large together', { retryAfterSeconds: 5 })
