// What the tests of the store have in common: a state folder of their own, a connection, tokens, and reading files whole.

import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { Connection, Installation } from '../../../src/protocol/connection.ts'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import { type Scope, scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { Log } from '../../../src/service/log.ts'
import type { StoredKey } from '../../../src/core/store/records.ts'
import type { StoredToken } from '../../../src/core/store/records.ts'

export const STORE_KEY = Buffer.alloc(32, 7)

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

export const makeState = (t: ExecutionContext): string => {
  const state = mkdtempSync(join(tmpdir(), 'ghconnect-store-'))
  t.teardown(() => rmSync(state, { recursive: true, force: true }))
  return state
}

export const APP_ID = 9_182_736_455
export const PEM = `-----BEGIN PRIVATE KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0B'.repeat(60)}\n-----END PRIVATE KEY-----\n`
export const TOKEN = `ghs_${'Zx9'.repeat(12)}`

const account = { type: 'organization', login: 'octo-org' } as const

export const CONNECTED: Connection = {
  kind: 'connected',
  sinceMs: 1_700_000_000_000,
  app: {
    id: APP_ID,
    clientId: 'Iv23liNeedleNeedle',
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

export const INSTALLATION: Installation = {
  id: 4242,
  account,
  repositorySelection: 'all',
  permissions: { metadata: 'read' },
  htmlUrl: 'https://github.com/organizations/octo-org/settings/installations/4242',
}

export const keyNamed = (fingerprint: string): StoredKey => ({ fingerprint, pem: new Secret(PEM), addedAtMs: 5 })

export const tokenFor = (scope: Scope, slot: StoredToken['slot'] = 'current', token = TOKEN): StoredToken => ({
  key: scopeKey('actions', scope),
  slot,
  profile: 'actions',
  scope,
  token: new Secret(token),
  granted: { permissions: { metadata: 'read' } },
  mintedAtMs: 1,
  expiresAtMs: 3_600_001,
})

/** Secrets compare as equal whatever they hold, so they are shown before values are compared. */
export const shown = (value: unknown): unknown => {
  if (value instanceof Secret) return value.reveal()
  if (Array.isArray(value)) return value.map(shown)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shown(inner)]))
}

/** The Failure that `work` throws; anything else that it throws is thrown on. */
export const failureOf = (work: () => unknown): Failure | undefined => {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
}

export const codeOf = (work: () => unknown): Code | undefined => failureOf(work)?.code

/** Each file under a folder with its bytes; what SQLite makes anew at each start (-shm, an empty -wal) left out. */
export const filesUnder = (folder: string): Map<string, Buffer> => {
  const files = new Map<string, Buffer>()
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const bytes = readFileSync(path)
    if (!path.endsWith('-shm') && !(path.endsWith('-wal') && bytes.length === 0)) {
      files.set(relative(folder, path), bytes)
    }
  }
  return files
}

/** The same as digests, for comparing. */
export const digestsUnder = (folder: string): Record<string, string> =>
  Object.fromEntries([...filesUnder(folder)].map(([path, bytes]) => [path, digestOf(bytes)]))

export const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

export const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)

/** Which files below a folder this process holds open, by their names below it. */
export const openFilesBelow = (folder: string): string[] =>
  readdirSync('/proc/self/fd')
    .flatMap(fd => {
      try {
        const path = readlinkSync(`/proc/self/fd/${fd}`)
        // A wait for the disk may hold a log a moment longer than the database, which removes it.
        const isOver = path.endsWith('-wal (deleted)')
        return path.startsWith(`${folder}/`) && !isOver ? [relative(folder, path)] : []
      } catch {
        // The descriptor by which the list itself was read.
        return []
      }
    })
    .toSorted()

/** The same sequence for a seed: numbers from 0 up to 1. */
export const randomFrom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
