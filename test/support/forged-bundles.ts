// Bundles as somebody with a signing key of their own can make them: one field of a good one changed, and every digest right again.

import { createHash } from 'node:crypto'
import { canonicalJson } from '../../src/protocol/canonical-json.ts'
import { pack } from '../../src/core/snapshot/archive.ts'
import { createSigner } from '../../src/core/snapshot/signing.ts'
import { entriesOf, entryOf } from '../core/snapshot/samples.ts'

type Json = Record<string, unknown>

/** The files of a bundle in clear, to be changed in place. */
export type Files = { readonly header: Json; readonly connection: Json; readonly tokens: Json[] }

const signer = createSigner()

/** `change` may use strings that begin with `raw:` for what JSON.stringify does not write, as `raw:1e999`. */
export const forge = (bundle: Uint8Array, change: (files: Files) => void): Buffer => {
  const header: Json = JSON.parse(entryOf(bundle, 'header.json').toString())
  const [, ...inner] = entriesOf(entryOf(bundle, 'payload.tar'))
  const read = (name: string) => JSON.parse(inner.find(entry => entry.name === name)?.bytes.toString() ?? '[]')
  const files: Files = { header, connection: read('connection.json'), tokens: read('token.json') }
  change(files)
  const changed: Readonly<Record<string, unknown>> = { 'connection.json': files.connection, 'token.json': files.tokens }
  const entries = inner.map(({ name, bytes }) => ({
    name,
    bytes: Object.hasOwn(changed, name) ? textOf(changed[name]) : bytes,
  }))
  const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
  const listed = entries.map(({ name, bytes }) => ({ name, sha256: digestOf(bytes), size: bytes.length }))
  const payload = pack([{ name: 'inventory.json', bytes: textOf({ files: listed }) }, ...entries])
  const described = { name: 'payload.tar', sha256: digestOf(payload), size: payload.length }
  const headerBytes = textOf({ ...header, signer: signer.publicKey, payload: described })
  return pack([
    { name: 'header.json', bytes: headerBytes },
    { name: 'signature', bytes: signer.sign(headerBytes) },
    { name: 'payload.tar', bytes: payload },
  ])
}

const textOf = (value: unknown): Buffer => Buffer.from(`${canonicalJson(value).replaceAll(/"raw:([^"]*)"/g, '$1')}\n`)

const BAD_NUMBERS: readonly unknown[] = [1e300, -1, 'raw:1e999', null, '5', Date.UTC(2201, 0)]
const BAD_URLS: readonly unknown[] = ['', 'not a url', '//github.com', 'javascript:alert(1)', 'http://', 7]
const BAD_GENERATIONS: readonly unknown[] = [2 ** 60, 2 ** 48, -1, 1.5, null, 'raw:1e999']

type Place = { readonly name: string; readonly bad: readonly unknown[]; put(files: Files, value: unknown): void }

const within = (value: unknown): Json => {
  if (typeof value !== 'object' || value === null) throw new Error('no object')
  return Object.fromEntries(Object.entries(value))
}

const inConnection = (field: string, bad: readonly unknown[]): Place => ({
  name: field,
  bad,
  put: ({ connection }, value) =>
    void (connection['connection'] = { ...within(connection['connection']), [field]: value }),
})
const inApp = (field: string, bad: readonly unknown[]): Place => ({
  name: `app.${field}`,
  bad,
  put({ connection }, value) {
    const live = within(connection['connection'])
    connection['connection'] = { ...live, app: { ...within(live['app']), [field]: value } }
  },
})
const inFirst = (list: 'installations' | 'keys', field: string, bad: readonly unknown[]): Place => ({
  name: `${list}.${field}`,
  bad,
  put({ connection }, value) {
    const all: unknown = connection[list]
    if (Array.isArray(all)) connection[list] = [{ ...within(all[0]), [field]: value }, ...all.slice(1)]
  },
})
const inToken = (field: string, bad: readonly unknown[]): Place => ({
  name: `token.${field}`,
  bad,
  put: ({ tokens }, value) => tokens.splice(0, 1, { ...within(tokens[0]), [field]: value }),
})

const PLACES: readonly Place[] = [
  inConnection('sinceMs', BAD_NUMBERS),
  inConnection('enabledAtMs', BAD_NUMBERS),
  inApp('htmlUrl', BAD_URLS),
  inApp('id', [1e300, -1, 1.5, null, 'raw:1e999']),
  inFirst('installations', 'htmlUrl', BAD_URLS),
  inFirst('installations', 'suspendedAtMs', BAD_NUMBERS),
  inFirst('installations', 'id', [1e300, -1, 1.5, null]),
  inFirst('keys', 'addedAtMs', BAD_NUMBERS),
  inToken('mintedAtMs', BAD_NUMBERS),
  inToken('expiresAtMs', [...BAD_NUMBERS, Date.UTC(2199, 0)]),
  {
    name: 'generation',
    bad: BAD_GENERATIONS,
    put({ connection, header }, value) {
      connection['generation'] = value
      header['generation'] = value
    },
  },
  {
    name: 'disconnecting.deadlineMs',
    bad: BAD_NUMBERS,
    put({ connection, header }, value) {
      const live = within(connection['connection'])
      connection['connection'] = { ...live, kind: 'disconnecting', step: 'revoke', deadlineMs: value }
      header['state'] = 'disconnecting'
    },
  },
]

/** Each field that is a number or an address, with each value that is out of its bounds, by a name for people. */
export const forgedBundles = (bundle: Uint8Array): { readonly name: string; readonly bytes: Buffer }[] =>
  PLACES.flatMap(({ name, bad, put }) =>
    bad.map(value => ({
      name: `${name} = ${JSON.stringify(value)}`,
      bytes: forge(bundle, files => put(files, value)),
    })),
  )
