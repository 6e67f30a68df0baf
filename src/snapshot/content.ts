// What a bundle carries, as the files of its payload and back. The shapes are those of format 1; other shapes need another format.

import { createHash, createPrivateKey } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../domain/canonical-json.ts'
import { type Connection, type Installation, isLive } from '../domain/connection.ts'
import { Failure } from '../domain/errors.ts'
import { connectionSchema, grantedSchema, installationsSchema, scopeSchema } from '../domain/record.ts'
import { type Granted, type Scope, type ScopeKey, scopeKey } from '../domain/scope.ts'
import { Secret } from '../domain/secret.ts'
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
  readonly settings: Readonly<Record<string, unknown>>
}

export type Entry = { readonly name: string; readonly bytes: Uint8Array }

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
export const findPayloadLimit = (name: string): number | undefined => {
  const [, position] = /^private-key-([1-9]\d?)\.pem$/.exec(name) ?? []
  if (position !== undefined) return Number(position) <= MAX_KEYS ? MAX_PEM_BYTES : undefined
  return Object.hasOwn(LIMITS, name) ? LIMITS[name] : undefined
}

/** Tokens that find no room are left out, the shortest-lived first: they can be had again, and no backup is to fail for them. */
export const contentToFiles = (content: BundleContent): Entry[] => {
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
    ...(tokens === undefined ? [] : [{ name: 'token.json', bytes: tokens }]),
    toEntry('settings.json', content.settings),
  ]
  return [toEntry('inventory.json', { files: files.map(describe) }), ...files]
}

/** Throws `bundle-corrupt`. */
export const filesToContent = (entries: readonly Entry[]): BundleContent => {
  const [inventory, ...files] = entries
  if (inventory?.name !== 'inventory.json') throw corrupt('the payload does not begin with inventory.json')
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
    settings: readFile(object, files, 'settings.json'),
  }
}

const keyName = (index: number): string => `private-key-${index + 1}.pem`

const toEntry = (name: string, value: unknown): Entry => ({ name, bytes: Buffer.from(`${canonicalJson(value)}\n`) })

const object = z.record(z.string(), z.unknown())

const fileSchema = z.strictObject({ name: z.string(), sha256: z.string(), size: z.int() })
const inventoryFile = z.strictObject({ files: z.array(fileSchema) })

const connectionFile = z.strictObject({
  connection: connectionSchema,
  facts: object,
  generation: z.int().nonnegative(),
  installations: installationsSchema,
  keys: z.array(z.strictObject({ addedAtMs: z.number(), file: z.string(), fingerprint: z.string() })).max(MAX_KEYS),
})

const tokenFile = z.array(
  z.strictObject({
    slot: z.enum(['current', 'next']),
    profile: z.string(),
    scope: scopeSchema,
    token: z.string().min(1),
    granted: grantedSchema,
    mintedAtMs: z.number(),
    expiresAtMs: z.number(),
  }),
)

const toToken = (row: z.infer<typeof tokenFile>[number]): BundleToken => ({
  ...row,
  key: scopeKey(row.profile, row.scope),
  token: new Secret(row.token),
})

/** Fields in the order of the schema, so that what was read is written alike; canonical spelling would cost ten thousand tokens too much. */
const encodeToken = (token: BundleToken): string =>
  JSON.stringify({
    slot: token.slot,
    profile: token.profile,
    scope: {
      installation: token.scope.installation,
      repositories: token.scope.repositories,
      permissions: token.scope.permissions,
    },
    token: token.token.reveal(),
    granted: { repositories: token.granted.repositories, permissions: token.granted.permissions },
    mintedAtMs: token.mintedAtMs,
    expiresAtMs: token.expiresAtMs,
  })

const encodeTokens = (tokens: readonly BundleToken[]): Uint8Array | undefined => {
  const limit = findPayloadLimit('token.json') ?? 0
  const whole = writeLines(tokens, { limit, encode: encodeToken })
  if (whole !== 'too-long') return whole
  const some = writeLines(longestLived(tokens, limit), { limit, encode: text => text })
  return some === 'too-long' ? undefined : some
}

const BATCH = 100

/** As a list of JSON, a batch at a time: ten thousand lines at once would keep the collector busy longer than the writing takes. */
const writeLines = <T>(
  items: readonly T[],
  { limit, encode }: { limit: number; encode: (item: T) => string },
): Uint8Array | 'too-long' | undefined => {
  if (items.length === 0) return undefined
  // Memory that is not written to is never had.
  const buffer = Buffer.allocUnsafeSlow(limit)
  let size = buffer.write('[\n')
  for (let at = 0; at < items.length; at += BATCH) {
    const lines = items
      .slice(at, at + BATCH)
      .map(encode)
      .join(',\n')
    const text = at === 0 ? lines : `,\n${lines}`
    if (size + Buffer.byteLength(text) + END.length > limit) return 'too-long'
    size += buffer.write(text, size)
  }
  return buffer.subarray(0, size + buffer.write(END, size))
}

const END = '\n]\n'

const longestLived = (tokens: readonly BundleToken[], limit: number): string[] => {
  const lines = tokens.map(token => ({ text: encodeToken(token), expiresAtMs: token.expiresAtMs }))
  const kept = new Set<(typeof lines)[number]>()
  let size = '[\n\n]\n'.length
  for (const line of lines.toSorted((a, b) => b.expiresAtMs - a.expiresAtMs)) {
    size += Buffer.byteLength(line.text) + ',\n'.length
    if (size > limit) break
    kept.add(line)
  }
  return lines.filter(line => kept.has(line)).map(({ text }) => text)
}

const describe = ({ name, bytes }: Entry): z.infer<typeof fileSchema> => ({
  name,
  sha256: createHash('sha256').update(bytes).digest('hex'),
  size: bytes.length,
})

const assertInventory = (inventory: Entry, files: readonly Entry[]): void => {
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
