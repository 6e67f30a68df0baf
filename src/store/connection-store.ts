// The connection as it is kept: state, installations, private keys and generation, changed in one transaction.

import type { Connection, Installation } from '../domain/connection.ts'
import type { Secret } from '../domain/secret.ts'

/** A private key of the App as PEM (PKCS#8). The first of a record signs; the others are fallbacks. */
export type StoredKey = { readonly fingerprint: string; readonly pem: Secret; readonly addedAtMs: number }

export type ConnectionRecord = {
  /** Counts what the administrator changed: enable, disable, restore, adopt, keys. */
  readonly generation: number
  readonly connection: Connection
  readonly installations: readonly Installation[]
  readonly keys: readonly StoredKey[]
}

export type ConnectionChange = Partial<Omit<ConnectionRecord, 'generation'>> & { readonly newGeneration?: boolean }

export type ConnectionStore = {
  /** From memory: cheap. */
  read(): ConnectionRecord
  /** Durable on return. What is left out stays. */
  write(change: ConnectionChange): ConnectionRecord
}
