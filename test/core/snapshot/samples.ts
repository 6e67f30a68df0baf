// What the tests of the bundle have in common: contents, keys made for them alone, tars written by hand, and failures.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { canonicalJson } from '../../../src/protocol/canonical-json.ts'
import type { Live } from '../../../src/protocol/connection.ts'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import { type Scope, scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { BundleOptions } from '../../../src/core/snapshot/bundle.ts'
import type { StoredToken } from '../../../src/core/store/records.ts'
import type { BundleContent } from '../../../src/core/snapshot/content.ts'
import { createRecoveryKey } from '../../../src/core/snapshot/encryption.ts'
import { createSigner, type Signer } from '../../../src/core/snapshot/signing.ts'

/** An RSA key that guards nothing. */
export const TEST_PEM = readFileSync(new URL('format-1/test-key.pem', import.meta.url), 'utf8')

export const SIGNER = createSigner()
export const RECOVERY = await createRecoveryKey()
export const OTHER_RECOVERY = await createRecoveryKey()

const account = { type: 'organization', login: 'octo-org' } as const

export const CONNECTED: Extract<Live, { kind: 'connected' }> = {
  kind: 'connected',
  sinceMs: 1_700_000_000_000,
  app: {
    id: 918_273,
    clientId: 'Iv23liTest',
    slug: 'ghe-example-com',
    name: 'ghe-example-com',
    owner: account,
    htmlUrl: 'https://github.com/apps/ghe-example-com',
    permissions: { contents: 'read', metadata: 'read' },
  },
  account,
  host: { machineId: '0123456789abcdef', hostname: 'ghe.example.com' },
  enabledAtMs: 1_700_000_000_000,
}

export const tokenFor = (scope: Scope, more: Partial<StoredToken> = {}): StoredToken => ({
  key: scopeKey('actions', scope),
  slot: 'current',
  profile: 'actions',
  scope,
  token: new Secret('ghs_000000000000000000000000000000000000'),
  granted: { permissions: { metadata: 'read' } },
  mintedAtMs: 1_700_000_000_000,
  expiresAtMs: 1_700_003_600_000,
  ...more,
})

export const LIVE: BundleContent = {
  generation: 7,
  connection: CONNECTED,
  installations: [
    { id: 42, account, repositorySelection: 'all', permissions: { metadata: 'read' }, htmlUrl: 'https://github.com/x' },
  ],
  facts: { 'clock.offset': 12 },
  keys: [
    { fingerprint: 'SHA256:first', pem: new Secret(TEST_PEM), addedAtMs: 5 },
    { fingerprint: 'SHA256:second', pem: new Secret(TEST_PEM), addedAtMs: 6 },
  ],
  tokens: [tokenFor({ installation: 42, repositories: ['a', 'b'], permissions: { contents: 'read' } })],
  settings: { recipients: [] },
}

export const DISCONNECTED: BundleContent = {
  generation: 8,
  connection: { kind: 'disconnected', sinceMs: 1_700_000_000_000 },
  installations: [],
  facts: {},
  keys: [],
  tokens: [],
  settings: {},
}

export const optionsFor = (recipients: readonly string[], more: Partial<BundleOptions> = {}): BundleOptions => ({
  recipients,
  signer: SIGNER,
  createdMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  hostname: 'ghe.example.com',
  ...more,
})

const anyText = fc.string({ unit: 'grapheme', maxLength: 30 })
const anyName = anyText.filter(name => name !== '__proto__')
const anyPermissions = fc.dictionary(fc.stringMatching(/^[a-z_]{1,12}$/), fc.constantFrom('read', 'write', 'admin'), {
  noNullPrototype: true,
  maxKeys: 4,
})
const anyObject = fc.dictionary(anyName, fc.jsonValue({ maxDepth: 3 }).map(sane), {
  noNullPrototype: true,
  maxKeys: 4,
})
const anyScope: fc.Arbitrary<Scope> = fc.record(
  { installation: fc.nat(), repositories: fc.array(anyText, { maxLength: 3 }), permissions: anyPermissions },
  { requiredKeys: ['installation'], noNullPrototype: true },
)
const anyToken: fc.Arbitrary<StoredToken> = fc
  .record({ scope: anyScope, profile: anyText, token: anyText, expiresAtMs: fc.nat(), isNext: fc.boolean() })
  .map(({ scope, profile, token, expiresAtMs, isNext }) =>
    tokenFor(scope, {
      key: scopeKey(profile, scope),
      profile,
      token: new Secret(`ghs_${token}`),
      expiresAtMs,
      slot: isNext ? 'next' : 'current',
    }),
  )

export const anyContent: fc.Arbitrary<BundleContent> = fc
  .record({
    generation: fc.nat(),
    isConnected: fc.boolean(),
    facts: anyObject,
    settings: anyObject,
    tokens: fc.array(anyToken, { maxLength: 5 }),
    keys: fc.array(anyText, { minLength: 1, maxLength: 4 }),
  })
  .map(({ generation, isConnected, facts, settings, tokens, keys }) => ({
    ...(isConnected ? LIVE : DISCONNECTED),
    generation,
    facts,
    settings,
    tokens,
    keys: isConnected
      ? keys.map((fingerprint, index) => ({ fingerprint, pem: new Secret(TEST_PEM), addedAtMs: index }))
      : [],
  }))

/** What JSON has no word for is left out: -0 is read back as 0, and an own `__proto__` is no field of ours. */
function sane(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll('"__proto__"', '"proto"'))
}

/** Secrets compare as equal whatever they hold, so they are shown before values are compared. */
export const shown = (value: unknown): unknown => {
  if (value instanceof Secret) return value.reveal()
  if (Array.isArray(value)) return value.map(shown)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shown(inner)]))
}

/** The Failure that `work` ends with; anything else that it throws is thrown on. */
export const failureOf = async (work: () => unknown): Promise<Failure | undefined> => {
  try {
    await work()
    return undefined
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
}

export const codeOf = async (work: () => unknown): Promise<Code | undefined> => (await failureOf(work))?.code

export type RawEntry = {
  name: string
  bytes?: Uint8Array | string
  type?: string
  link?: string
  prefix?: string
  size?: string
}

/** A tar written by hand, which may be any kind of wrong. `tail`: what ends it. */
export const rawTar = (entries: readonly RawEntry[], tail: Uint8Array = Buffer.alloc(1024)): Buffer =>
  Buffer.concat([...entries.map(rawEntry), tail])

const rawEntry = ({ name, bytes = '', type = '0', link = '', prefix = '', size }: RawEntry): Buffer => {
  const body = Buffer.from(bytes)
  const block = Buffer.alloc(512)
  block.write(name, 0, 100)
  block.write('000600 \0', 100)
  block.write('000000 \0', 108)
  block.write('000000 \0', 116)
  block.write(size ?? `${body.length.toString(8).padStart(10, '0')} \0`, 124, 12, 'latin1')
  block.write('7033241600 \0', 136)
  block.write(type, 156, 1)
  block.write(link, 157, 100)
  block.write('ustar\x0000', 257)
  block.write('000000 \0', 329)
  block.write('000000 \0', 337)
  block.write(prefix, 345, 155)
  mendChecksum(block)
  return Buffer.concat([block, body, Buffer.alloc((512 - (body.length % 512)) % 512)])
}

export const mendChecksum = (block: Buffer): void => {
  block.fill(' ', 148, 156)
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')} \0`, 148)
}

/** The entries of a tar that is well made. */
export const entriesOf = (tar: Uint8Array): { name: string; bytes: Buffer }[] => {
  const archive = Buffer.from(tar)
  const entries: { name: string; bytes: Buffer }[] = []
  for (let offset = 0; archive[offset] !== 0; ) {
    const name = archive.toString('latin1', offset, offset + 100).replace(/\0.*$/, '')
    const size = Number.parseInt(archive.toString('latin1', offset + 124, offset + 135), 8)
    entries.push({ name, bytes: archive.subarray(offset + 512, offset + 512 + size) })
    offset += 512 + Math.ceil(size / 512) * 512
  }
  return entries
}

export const entryOf = (tar: Uint8Array, name: string): Buffer => {
  const entry = entriesOf(tar).find(one => one.name === name)
  if (entry === undefined) throw new Error(`no ${name}`)
  return entry.bytes
}

/** A bundle around any payload, rightly signed: what someone with a signing key of their own can make of it. */
export const signedBundle = (
  payload: Uint8Array,
  { header = {}, signer = SIGNER }: { header?: Record<string, unknown>; signer?: Signer } = {},
): Buffer => {
  const digest = { sha256: createHash('sha256').update(payload).digest('hex'), size: payload.length }
  const fields = {
    created: '2026-01-02T03:04:05.006Z',
    format: 1,
    generation: 8,
    hostname: 'ghe.example.com',
    payload: { name: 'payload.tar', ...digest },
    recipients: [],
    signer: signer.publicKey,
    state: 'disconnected',
    ...header,
  }
  const bytes = Buffer.from(`${canonicalJson(fields)}\n`)
  return rawTar([
    { name: 'header.json', bytes },
    { name: 'signature', bytes: signer.sign(bytes) },
    { name: 'payload.tar', bytes: payload },
  ])
}
