// The numbered stores: SQLCipher files under a wrapped key, swapped by rename, never opened by older code, never made over another.

import type { ConnectionChange, ConnectionStore } from './connection-store.ts'
import type { TokenStore } from './token-store.ts'
import type { FactStore } from './fact-store.ts'

export type Store = {
  readonly connection: ConnectionStore
  readonly tokens: TokenStore
  readonly facts: FactStore
  /** Which numbered folder is current. */
  number(): number
  /**
   * Writes a store with a new database key that holds `change` (and the generation, which goes on), makes it current by one rename, then drops the
   * old one's key and files. The same `Store` object speaks to the new one afterwards. What fails leaves the old one.
   */
  replace(change: ConnectionChange): void
  /** The database key in hexadecimal, for `ghconnect store-key`. */
  databaseKey(): string
  close(): void
}
