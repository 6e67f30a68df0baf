// What the command line can do where no daemon answers: the shape of the second composition root, which this room may not import.

import type { Secret } from '../protocol/secret.ts'
import type { RestoreAnswer, StateAnswer } from '../protocol/wire.ts'

/** What can be told of a bundle without a key: its header, and its size. */
export type BundleSummary = {
  readonly format: number
  readonly created: string
  readonly state: string
  readonly generation: number
  readonly hostname: string
  readonly signer: string
  readonly recipients: readonly string[]
  readonly sealed: boolean
  readonly size: number
  readonly sha256: string
  readonly account?: { readonly type: string; readonly login: string }
  readonly app_id?: number
}

export type BundleProof = {
  readonly summary: BundleSummary
  /** Fingerprints of the private keys, each computed from its key. */
  readonly keys: readonly string[]
  /** Tokens in the bundle that have not ended yet. */
  readonly live_tokens: number
  readonly installations: readonly string[]
  readonly configuration?: RestoreAnswer['configuration']
  /** What GitHub said, where it was asked: the name of the App. */
  readonly github?: string
  /** Why GitHub was not asked, though it was wished. */
  readonly github_skipped?: string
}

export type RestoreWish = { readonly bundle: Uint8Array; readonly identity?: Secret; readonly force: boolean }

export type Exported = { readonly bundle: Uint8Array; readonly warnings: readonly string[] }

/** All methods throw Failures. */
export type OfflineWork = {
  /** Reads the store as it stands, changes nothing, calls nobody. */
  export(wish: { readonly withConfig: boolean }): Promise<Exported>
  /** Throws `state-in-use`, naming the process, while a daemon holds the store. So do the three that follow. */
  restore(wish: RestoreWish): Promise<RestoreAnswer>
  unlock(identity: Secret): Promise<StateAnswer>
  adopt(): Promise<StateAnswer>
  disableLocally(): Promise<StateAnswer>
  /** The account that the store is connected to, if any. Throws where the store cannot be opened. */
  findAccount(): Promise<string | undefined>
  /**
   * Makes a store key where there is none that opens; says what it made, if anything. Never replaces one. Throws where the identity
   * is not a recovery key of this store.
   */
  ensureStoreKey(identity: Secret): Promise<string | undefined>
  /** Whether this process can open the sealed store key that systemd passes to the daemon with its next start. */
  hasSealedKey(): boolean
  /** The database key in hexadecimal. */
  storeKey(): Promise<string>
  /** A new store key in place of the one that is there; gives its file. Throws `configuration` with what to type where it cannot be put there. */
  rotateStoreKey(wish: { readonly sealWith?: string }): Promise<string>
  inspect(bundle: Uint8Array): BundleSummary
  verify(wish: {
    readonly bundle: Uint8Array
    readonly identity?: Secret
    readonly againstGithub: boolean
  }): Promise<BundleProof>
  createRecoveryKey(): Promise<{ readonly identity: Secret; readonly recipient: string }>
  isRoot(): boolean
}
