// What a bundle carries, as the files of its payload and back. The shapes are those of format 1; other shapes need another format.

import { createPrivateKey } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import { type Connection, type Installation, isLive } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import {
  connectionSchema,
  generationSchema,
  grantedSchema,
  installationsSchema,
  isTokenLife,
  scopeSchema,
  timeSchema,
} from '../store/records.ts'
import { type Granted, type Scope, type ScopeKey, scopeKey } from '../../protocol/scope.ts'
import { Secret } from '../../protocol/secret.ts'
import { digestOf, type Entry, FIRST_CONTENT, pack, roomFor, unpack } from './archive.ts'
import { parseJson, parseShape } from './header.ts'

/** A private key of the App in PEM. The first signs. */
export type BundleKey = { readonly fingerprint: string; readonly pem: Secret; readonly addedAtMs: number }

export type BundleToken = {
  /** Not in the file: made of profile and scope on reading. */
  readonly key: ScopeKey
  readonly slot: 'current' | 'next'
  readonly profile: string
  readonly scope: Scope
  readonly token: Secret
  readonly granted: Granted
  readonly mintedAtMs: number
  readonly expiresAtMs: number
}

/** Facts and settings are JSON values. A live connection has a key at least; a `disconnected` one needs nothing. */
export type BundleContent = {
  readonly generation: number
  readonly connection: Connection
  readonly installations: readonly Installation[]
  readonly facts: Readonly<Record<string, unknown>>
  readonly keys: readonly BundleKey[]
  readonly tokens: readonly BundleToken[]
  readonly settings: BundleSettings
}

/** Other names are left aside. */
export type BundleSettings = Readonly<z.infer<typeof settingsFile>>

export const MAX_KEYS = 25
const KIB = 1024
const LIMITS: Readonly<Record<string, number>> = {
  'inventory.json': 16 * KIB,
  'connection.json': 1024 * KIB,
  'token.json': 14 * 1024 * KIB,
  'settings.json': 256 * KIB,
}
const MAX_PEM_BYTES = 16 * KIB

/** How large a file of the payload may be; undefined for a name that has no place in it. */
const findPayloadLimit = (name: string): number | undefined => {
  const [, position] = /^private-key-([1-9]\d?)\.pem$/.exec(name) ?? []
  if (position !== undefined) return Number(position) <= MAX_KEYS ? MAX_PEM_BYTES : undefined
  return Object.hasOwn(LIMITS, name) ? LIMITS[name] : undefined
}

/**
 * The payload: one tar. Its inventory tells of what unpacking gives. Tokens that find no room are left out, the shortest-lived first:
 * they can be had again, and no backup is to fail for them.
 */
export const contentToPayload = (content: BundleContent): Buffer => {
  const tokens = encodeTokens(content.tokens)
  const files = [
    toEntry('connection.json', {
      connection: content.connection,
      facts: content.facts,
      generation: content.generation,
      installations: content.installations,
      keys: content.keys.map(({ fingerprint, addedAtMs }, index) => ({
        addedAtMs,
        file: keyName(index),
        fingerprint,
      })),
    }),
    ...content.keys.map(({ pem }, index) => ({ name: keyName(index), bytes: Buffer.from(pem.reveal()) })),
    ...(tokens === undefined ? [] : [{ name: 'token.json', bytes: tokens, isRoomy: true }]),
    toEntry('settings.json', content.settings),
  ]
  const blank = toEntry(INVENTORY, {
    files: files.map(({ name, bytes }) => ({ name, sha256: NO_DIGEST, size: bytes.length })),
  })
  const payload = pack([blank, ...files])
  const [, ...packed] = readPacked(payload)
  const inventory = toEntry(INVENTORY, { files: packed.map(describe) })
  if (inventory.bytes.length !== blank.bytes.length) throw corrupt('the inventory does not fit its place')
  payload.set(inventory.bytes, FIRST_CONTENT)
  return payload
}

const INVENTORY = 'inventory.json'
const NO_DIGEST = '0'.repeat(64)

const readPacked = (payload: Uint8Array): Entry[] => [...unpack(payload, 'the payload', findPayloadLimit)]

/** Throws `bundle-corrupt`. */
export const payloadToContent = (payload: Uint8Array): BundleContent => {
  const [inventory, ...files] = readPacked(payload)
  assertInventory(inventory, files)
  const record = readFile(connectionFile, files, 'connection.json')
  const hasTokens = files.some(({ name }) => name === 'token.json')
  const names = [
    'connection.json',
    ...record.keys.map((_, index) => keyName(index)),
    ...(hasTokens ? ['token.json'] : []),
    'settings.json',
  ]
  if (names.join() !== files.map(({ name }) => name).join()) {
    throw corrupt(`the payload holds other files than ${names.join(', ')}, or in another order`)
  }
  if (isLive(record.connection) && record.keys.length === 0) {
    throw corrupt(`the connection is ${record.connection.kind}, and there is no private key`)
  }
  const keys = record.keys.map(({ fingerprint, addedAtMs, file }, index) => {
    if (file !== keyName(index)) throw corrupt(`connection.json names ${keyName(index)} otherwise`)
    return { fingerprint, pem: readPem(getFile(files, file)), addedAtMs }
  })
  const { connection, facts, generation, installations } = record
  const tokens = hasTokens ? readFile(tokenFile, files, 'token.json').map(toToken) : []
  return {
    generation,
    connection,
    installations,
    facts,
    keys,
    tokens,
    settings: readFile(settingsFile, files, 'settings.json'),
  }
}

const keyName = (index: number): string => `private-key-${index + 1}.pem`

const toEntry = (name: string, value: unknown): Entry => ({ name, bytes: Buffer.from(`${canonicalJson(value)}\n`) })

const object = z.lazy(() => z.record(z.string(), z.unknown()))

const settingsFile = z.lazy(() =>
  z.looseObject({
    github_url: z.string().optional(),
    api_url: z.string().optional(),
    configuration: z.array(z.object({ path: z.string(), text: z.string() })).optional(),
  }),
)

const fileSchema = z.lazy(() => z.strictObject({ name: z.string(), sha256: z.string(), size: z.int() }))
const inventoryFile = z.lazy(() => z.strictObject({ files: z.array(fileSchema) }))

const connectionFile = z.lazy(() =>
  z.strictObject({
    connection: connectionSchema,
    facts: object,
    generation: generationSchema,
    installations: installationsSchema,
    keys: z.array(z.strictObject({ addedAtMs: timeSchema, file: z.string(), fingerprint: z.string() })).max(MAX_KEYS),
  }),
)

const tokenFile = z.lazy(() =>
  z.array(
    z
      .strictObject({
        slot: z.enum(['current', 'next']),
        profile: z.string(),
        scope: scopeSchema,
        token: z.string().min(1),
        granted: grantedSchema,
        mintedAtMs: z.number(),
        expiresAtMs: z.number(),
      })
      .refine(isTokenLife, { path: ['expiresAtMs'] }),
  ),
)

const toToken = (row: z.infer<typeof tokenFile>[number]): BundleToken => ({
  ...row,
  key: scopeKey(row.profile, row.scope),
  token: new Secret(row.token),
})

/** Fields in the order of the schema, so that what was read is written alike; canonical spelling would cost ten thousand tokens too much. */
const toRow = ({ slot, profile, scope, token, granted, mintedAtMs, expiresAtMs }: BundleToken) => ({
  slot,
  profile,
  scope: { installation: scope.installation, repositories: scope.repositories, permissions: scope.permissions },
  token: token.reveal(),
  granted: { repositories: granted.repositories, permissions: granted.permissions },
  mintedAtMs,
  expiresAtMs,
})

/** Undefined: there are none, or no room for any. */
const encodeTokens = (tokens: readonly BundleToken[]): Uint8Array | undefined => {
  const limit = findPayloadLimit('token.json') ?? 0
  return writeRows(tokens, limit) ?? writeRows(longestLived(tokens, limit), limit)
}

const BATCH = 100
const END = '\n]\n'
const COMMA = 0x2c
const OPENING = 0x5b
const NEW_LINE = 0x0a

/** A list of JSON, a batch of rows a line: ten thousand at once would keep the collector busy longer than the writing takes. Undefined where it is too long, or empty. */
const writeRows = (tokens: readonly BundleToken[], limit: number): Uint8Array | undefined => {
  if (tokens.length === 0) return undefined
  let buffer = roomFor(0)
  let size = 0
  for (let at = 0; at < tokens.length; at += BATCH) {
    const batch = tokens.slice(at, at + BATCH)
    const list = JSON.stringify(batch.map(toRow))
    const bytes = Buffer.byteLength(list)
    const end = size + bytes + END.length
    if (end > limit) return undefined
    if (end > buffer.length) {
      // As if all others were like these.
      const larger = roomFor(Math.min(limit, Math.ceil(end * (tokens.length / (at + batch.length)) * 1.1)))
      buffer.copy(larger, 0, 0, size)
      buffer = larger
    }
    // The list's own brackets are written over: a text without them would be another copy.
    // What is all ASCII is copied as it is.
    buffer.write(list, size + 1, bytes === list.length ? 'latin1' : 'utf8')
    buffer.set([at === 0 ? OPENING : COMMA, NEW_LINE], size)
    size += bytes
  }
  return buffer.subarray(0, size + buffer.write(END, size))
}

const longestLived = (tokens: readonly BundleToken[], limit: number): BundleToken[] => {
  const kept = new Set<BundleToken>()
  let size = '[\n\n]\n'.length
  for (const token of tokens.toSorted((a, b) => b.expiresAtMs - a.expiresAtMs)) {
    // As if it began a batch: its separator and a new line.
    size += Buffer.byteLength(JSON.stringify(toRow(token))) + ',\n'.length
    if (size > limit) break
    kept.add(token)
  }
  return tokens.filter(token => kept.has(token))
}

const describe = ({ name, bytes }: Entry): z.infer<typeof fileSchema> => ({
  name,
  sha256: digestOf(bytes),
  size: bytes.length,
})

/** Throws `bundle-corrupt` where the first file of a payload does not describe the others. */
const assertInventory = (inventory: Entry | undefined, files: readonly Entry[]): void => {
  if (inventory?.name !== INVENTORY) throw corrupt('the payload does not begin with inventory.json')
  const listed = parseShape(inventoryFile, parseJson(inventory.bytes, inventory.name), inventory.name).files
  if (listed.map(({ name }) => name).join() !== files.map(({ name }) => name).join()) {
    throw corrupt('inventory.json lists other files than there are')
  }
  for (const [index, file] of files.entries()) {
    const { sha256, size } = describe(file)
    if (listed[index]?.sha256 !== sha256 || listed[index].size !== size) {
      throw corrupt(`${file.name} is not as inventory.json describes it`)
    }
  }
}

const getFile = (files: readonly Entry[], name: string): Entry => {
  const file = files.find(entry => entry.name === name)
  if (file === undefined) throw corrupt(`${name} is missing`)
  return file
}

const readFile = <T>(shape: z.ZodType<T>, files: readonly Entry[], name: string): T =>
  parseShape(shape, parseJson(getFile(files, name).bytes, name), name)

const readPem = ({ name, bytes }: Entry): Secret => {
  const pem = Buffer.from(bytes).toString()
  try {
    createPrivateKey(pem)
  } catch (error) {
    throw corrupt(`${name} is no private key in PEM`, error)
  }
  return new Secret(pem)
}

const corrupt = (detail: string, cause?: unknown): Failure => new Failure('bundle-corrupt', detail, { cause })
