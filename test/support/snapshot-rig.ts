// Snapshots and recovery over the rig of the operations; bundles are kept in a table, and opened by whoever names their recipient.

import type { Host } from '../../src/protocol/connection.ts'
import { Failure } from '../../src/protocol/errors.ts'
import type { GithubAddresses } from '../../src/protocol/github-addresses.ts'
import { Secret } from '../../src/protocol/secret.ts'
import { createRecovery } from '../../src/core/snapshot/recovery.ts'
import { createSnapshots, type BundleTools } from '../../src/core/snapshot/snapshots.ts'
import type { BundleContent } from '../../src/core/snapshot/content.ts'
import type { BundleHeader } from '../../src/core/snapshot/bundle.ts'
import { openMemoryAudit } from './fakes.ts'
import { HERE, readFakeKey, type Rig } from './operations-rig.ts'

type Kept = { readonly header: BundleHeader; readonly content: BundleContent }

/** What outlives a daemon, besides the disk: bundles anywhere, and the one that waits. */
export type Shelf = { readonly bundles: Map<string, Kept>; waiting?: Uint8Array }
export const createShelf = (): Shelf => ({ bundles: new Map() })

/** `age1KEY` is opened by the identity `KEY`. */
export const identityOf = (recipient: string): Secret => new Secret(recipient.replace(/^age1/, ''))

export const GITHUB_COM: GithubAddresses = { url: 'https://github.com', apiUrl: 'https://api.github.com' }

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

export const createSnapshotRig = (
  rig: Rig,
  {
    cache,
    signer = 'signer',
    configured = [],
    trusted = [],
    isHome,
    github = GITHUB_COM,
    includeToken = true,
    onEncrypt = () => {},
  }: {
    cache: Shelf
    signer?: string
    configured?: readonly string[]
    /** Whose bundles the configuration trusts. */
    trusted?: readonly string[]
    isHome?: (host: Host) => boolean
    github?: GithubAddresses
    includeToken?: boolean
    /** While something is encrypted. */
    onEncrypt?: () => void
  },
) => {
  const { store, connectionState, tokens, audit, clock, log, disk } = rig
  const encrypted: { recipients: readonly string[]; text: string }[] = []
  const encryptTo = async (recipients: readonly string[], bytes: Uint8Array): Promise<Uint8Array> => {
    if (recipients.length > 20) throw new Failure('configuration', 'too many')
    if (bytes.length > 0) encrypted.push({ recipients, text: textOf(bytes) })
    onEncrypt()
    return Buffer.from(`to ${recipients.join(' ')}: ${textOf(bytes)}`)
  }
  const signerOf = () => ({ publicKey: signer, privatePem: new Secret(signer), sign: () => new Uint8Array() })
  const recovery = createRecovery({
    store,
    auditStore: openMemoryAudit(disk),
    audit,
    log,
    configured: () => configured,
    async assertRecipient(text) {
      if (!text.startsWith('age1')) throw new Failure('configuration', 'no recipient')
    },
    encryptTo,
    createSigner: signerOf,
    readSigner: signerOf,
  })
  const find = (bundle: Uint8Array): Kept => {
    const kept = cache.bundles.get(textOf(bundle))
    if (!kept) throw new Failure('bundle-corrupt', 'no bundle')
    return kept
  }
  const tools: BundleTools = {
    async writeBundle(content, { recipients, signer: by, createdMs, hostname }) {
      const id = `bundle ${cache.bundles.size + 1}`
      const { connection, generation } = content
      const header: BundleHeader = {
        ...('account' in connection ? { account: connection.account } : {}),
        created: new Date(createdMs).toISOString(),
        format: 1,
        generation,
        hostname,
        payload: { name: recipients.length > 0 ? 'payload.age' : 'payload.tar', sha256: id, size: 1 },
        recipients: [...recipients],
        signer: by.publicKey,
        state: connection.kind,
      }
      cache.bundles.set(id, { header, content })
      return Buffer.from(id)
    },
    readHeader: bundle => find(bundle).header,
    async openBundle(bundle, identities) {
      const { header, content } = find(bundle)
      const isOpen = identities.some(identity => header.recipients.includes(`age1${identity.reveal()}`))
      if (!isOpen && header.recipients.length > 0) throw new Failure('bundle-wrong-identity', 'another one')
      return content
    },
    recipientOf: async identity => `age1${identity.reveal()}`,
    readKey: readFakeKey,
  }
  const restored: number[] = []
  const snapshots = createSnapshots({
    store,
    connectionState,
    tokens,
    audit,
    recovery,
    clock,
    log,
    tools,
    waiting: {
      find: () => cache.waiting,
      put: bundle => void (cache.waiting = bundle),
      remove: () => void delete cache.waiting,
    },
    host: () => HERE,
    ...(isHome && { isHome }),
    settings: () => ({
      trusted,
      includeToken,
      github,
      configuration: () => [{ path: '/etc/ghconnectd/config.toml', text: '[app]\n' }],
    }),
    assertTellable: record => void rig.status.whole(record),
    onRestored: () => void restored.push(clock.now()),
  })
  return { snapshots, recovery, restored, encrypted, cache }
}

/** The bundle with other content, signed by somebody else. */
export const forge = (cache: Shelf, bundle: Uint8Array, change: (kept: Kept) => Kept): Uint8Array => {
  const id = `forged ${cache.bundles.size + 1}`
  const kept = cache.bundles.get(textOf(bundle))
  if (!kept) throw new Error('no bundle')
  cache.bundles.set(id, change(kept))
  return Buffer.from(id)
}
