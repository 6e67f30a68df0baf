// Bodies: requests are read within the memory that bodies under way may hold, and checked by their schema; answers go out with their length.

import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { z } from 'zod'
import { Failure } from '../../protocol/errors.ts'
import { parseWith } from '../../protocol/wire.ts'
import { type Account, type Budget, type BudgetLimits, createBudget } from '../peers/holder.ts'

/** JSON is refused where it has no room, the gateway then streams, and a bundle waits for the one before it: none takes the others' room. */
export type BodyBudgets = Readonly<Record<'json' | 'replay' | 'streamed' | 'large', Budget>>

const MIB = 2 ** 20
const LIMITS: Readonly<Record<keyof BodyBudgets, BudgetLimits>> = {
  json: { all: 8 * MIB, ofHolder: 2 * MIB },
  replay: { all: 8 * MIB, ofHolder: 2 * MIB },
  streamed: { all: 8 * MIB, ofHolder: 2 * MIB },
  large: { all: 32 * MIB, ofHolder: 32 * MIB },
}
/** What a small piece costs besides its bytes: a body may come in pieces of one byte. */
export const PIECE_BYTES = 256
const SMALL_BYTES = 1_024
/** Every holder has room for this much, whatever others hold, its first and last piece small: token requests are smaller. */
export const ASSURED_BYTES = 16_384 + 2 * PIECE_BYTES

export const createBodyBudgets = (limits = LIMITS): BodyBudgets => ({
  json: createBodyBudget(limits.json),
  replay: createBodyBudget(limits.replay),
  streamed: createBodyBudget(limits.streamed),
  large: createBodyBudget(limits.large),
})

/** In bytes, as they really came. */
export const createBodyBudget = (limits: BudgetLimits): Budget =>
  createBudget({
    ...limits,
    assured: ASSURED_BYTES,
    costOf: bytes => (bytes < SMALL_BYTES ? bytes + PIECE_BYTES : bytes),
  })

/** Requests are small; an endpoint that takes a bundle says how large. */
const MAX_BODY_BYTES = 64 * 1024
/** What clients ask again and again is kept, parsed, by its text: of an endpoint that says so, since what others take may be a secret. */
const MAX_KEPT = 512
const MAX_KEPT_BYTES = 512
/** To parse and check so much costs about as much as to answer with a token from the cache. */
const COST_BYTES = 2_048

/** Resolves when it is the caller's turn to have something done that costs so much. Rejects with `rate-limited`. */
export type Turn = (cost: number) => Promise<void>

const kept = new WeakMap<z.ZodType, Map<string, unknown>>()

/** Throws `body-too-large`, `invalid-request`, `rate-limited` where `account` has no room. What it returns may be shared: callers do not change it. */
export const readJson = async (
  incoming: IncomingMessage,
  options: {
    schema: z.ZodType
    maxBytes: number | undefined
    account: Account
    turn: Turn
    repeats: boolean
  },
): Promise<unknown> => {
  const { schema, maxBytes = MAX_BODY_BYTES, account, turn, repeats } = options
  const { headers } = incoming
  if (Number(headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  if (!isJson(headers['content-type']))
    throw new Failure('invalid-request', 'the body must be JSON, and content-type say so')
  const text = await readText(incoming, { account, maxBytes, turn })
  if (!repeats) return parseWith(schema, parseJson(text))
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
export const readText = async (
  incoming: IncomingMessage,
  { account, maxBytes = MAX_BODY_BYTES, turn }: { account: Account; maxBytes?: number; turn: Turn },
): Promise<string> => {
  const text = await collect(incoming, account, maxBytes)
  if (text.length > COST_BYTES) await turn(Math.floor(text.length / COST_BYTES))
  return text
}

const collect = (incoming: IncomingMessage, account: Account, maxBytes: number): Promise<string> => {
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

export const JSON_HEAD = { 'content-type': 'application/json', 'cache-control': 'no-store' } as const

/** With its length the answer is one write; in chunks it would be several. */
export const sendText = (
  outgoing: ServerResponse,
  { status, text, head = JSON_HEAD }: { status: number; text: string; head?: OutgoingHttpHeaders },
): undefined => void outgoing.writeHead(status, { ...head, 'content-length': Buffer.byteLength(text) }).end(text)

export const sendJson = (outgoing: ServerResponse, status: number, answer: unknown): undefined =>
  sendText(outgoing, { status, text: JSON.stringify(answer) })
