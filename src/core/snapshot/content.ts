// What a bundle carries, as the files of its payload and back. The shapes are those of format 1; other shapes need another format.

import { createPrivateKey } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { z } from 'zod'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import { isLive } from '../../protocol/connection.ts'
import { asFailure } from '../../protocol/errors.ts'
import { scopeKey } from '../../protocol/scope.ts'
import { Secret } from '../../protocol/secret.ts'
import {
  type ConnectionRecord,
  connectionSchema,
  generationSchema,
  installationsSchema,
  isTokenLife,
  slotSchema,
  type StoredKey,
  type StoredToken,
  timeSchema,
  tokenSchema,
} from '../store/records.ts'
import { corrupt, digestOf, type Entry, pack, unpack } from './archive.ts'

/** Facts and settings are JSON values. A live connection has a key at least; a `disconnected` one needs nothing. */
export type BundleContent = ConnectionRecord & {
  readonly facts: Readonly<Record<string, unknown>>
  readonly tokens: readonly StoredToken[]
  /** Other names are left aside. */
  readonly settings: Readonly<z.infer<typeof settingsFile>>
}

export const MAX_KEYS = 25
/** More would not fit the header of an age file that we are ready to read. */
export const MAX_RECIPIENTS = 20
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

/** The payload: one tar, whose first file is an inventory of the others. */
export const contentToPayload = async ({ keys, tokens, settings, ...record }: BundleContent): Promise<Buffer> => {
  const rows = await writeTokens(tokens)
  const files = [
    toEntry('connection.json', {
      connection: record.connection,
      facts: record.facts,
      generation: record.generation,
      installations: record.installations,
      keys: keys.map(({ fingerprint, addedAtMs }, index) => ({ addedAtMs, file: keyName(index), fingerprint })),
    }),
    ...keys.map(({ pem }, index) => ({ name: keyName(index), bytes: Buffer.from(pem.reveal()) })),
    ...(rows === undefined ? [] : [{ name: 'token.json', bytes: rows }]),
    toEntry('settings.json', settings),
  ]
  return pack([toEntry(INVENTORY, { files: files.map(describe) }), ...files])
}

const INVENTORY = 'inventory.json'

/** Throws `bundle-corrupt`. */
export const payloadToContent = (payload: Uint8Array): BundleContent => {
  const [inventory, ...files] = [...unpack(payload, 'the payload', findPayloadLimit)]
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
  return {
    ...record,
    keys: record.keys.map(({ fingerprint, addedAtMs, file }, index) => {
      if (file !== keyName(index)) throw corrupt(`connection.json names ${keyName(index)} otherwise`)
      return { fingerprint, pem: readPem(getFile(files, file)), addedAtMs }
    }),
    tokens: hasTokens
      ? readFile(tokenFile, files, 'token.json').map(token => ({
          ...token,
          key: scopeKey(token.profile, token.scope),
        }))
      : [],
    settings: readFile(settingsFile, files, 'settings.json'),
  }
}

const keyName = (index: number): string => `private-key-${index + 1}.pem`

const toEntry = (name: string, value: unknown): Entry => ({ name, bytes: Buffer.from(`${canonicalJson(value)}\n`) })

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
    facts: z.record(z.string(), z.unknown()),
    generation: generationSchema,
    installations: installationsSchema,
    keys: z.array(z.strictObject({ addedAtMs: timeSchema, file: z.string(), fingerprint: z.string() })).max(MAX_KEYS),
  }),
)

const tokenFile = z.lazy(() =>
  z.array(
    tokenSchema
      .extend({ slot: slotSchema })
      .refine(({ token }) => token.length > 0, { path: ['token'] })
      .refine(isTokenLife, { path: ['expiresAtMs'] }),
  ),
)

const TOKENS_IN_TURN = 100

/** A list of JSON, a row a line. Undefined: there are none, or no room for any. Those that find no room, the shortest-lived, can be minted again. */
const writeTokens = async (tokens: readonly StoredToken[]): Promise<Buffer | undefined> => {
  const rows = new Map<StoredToken, string>()
  let room = (LIMITS['token.json'] ?? 0) - '[\n\n]\n'.length
  for (const [at, one] of tokens.toSorted((a, b) => b.expiresAtMs - a.expiresAtMs).entries()) {
    // Others are served between.
    if (at % TOKENS_IN_TURN === TOKENS_IN_TURN - 1) await setImmediate()
    const { key: _, token, ...rest } = one
    const row = canonicalJson({ ...rest, token: token.reveal() })
    room -= Buffer.byteLength(row) + ',\n'.length
    if (room < 0) break
    rows.set(one, row)
  }
  const kept = tokens.flatMap(token => rows.get(token) ?? [])
  return kept.length === 0 ? undefined : Buffer.from(`[\n${kept.join(',\n')}\n]\n`)
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

/** UTF-8 JSON. Throws `bundle-corrupt` without a cause, since JSON.parse quotes what it reads, secrets too. */
export const parseJson = (bytes: Uint8Array, name: string): unknown => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw corrupt(`${name} is no JSON`)
  }
}

/** Throws `bundle-corrupt`; names the place, never the content. */
export const parseShape = <T>(shape: z.ZodType<T>, value: unknown, name: string): T => {
  const result = shape.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw corrupt(`${name} is malformed at ${issue?.path.join('.') || 'its top'}`)
}

const readPem = ({ name, bytes }: Entry): Secret => {
  const pem = Buffer.from(bytes).toString()
  try {
    createPrivateKey(pem)
  } catch (error) {
    throw corrupt(`${name} is no private key in PEM`, error)
  }
  return new Secret(pem)
}

/** Each key as `read` reads it. One that is not the one it is called would be found out by GitHub only. Throws `bundle-corrupt`. */
export const readKeys = <K extends { readonly fingerprint: string }>(
  keys: readonly StoredKey[],
  read: (pem: string) => K,
): K[] =>
  keys.map(({ pem, fingerprint }) => {
    let key: K
    try {
      key = read(pem.reveal())
    } catch (error) {
      throw corrupt(`the key ${fingerprint} cannot be used: ${asFailure(error).message}`)
    }
    if (key.fingerprint === fingerprint) return key
    throw corrupt(`the key called ${fingerprint} is ${key.fingerprint}`)
  })
