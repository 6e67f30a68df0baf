// Recovery and snapshots, built over an engine's store.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from '../protocol/connection.ts'
import { readPrivateKey } from './github/app-jwt.ts'
import type { ConnectionState } from './connection/connection-state.ts'
import { createRecovery, type Recovery } from './snapshot/recovery.ts'
import type { Membership } from './connection/membership.ts'
import { createSnapshots, type Snapshots, type SnapshotSettings } from './snapshot/snapshots.ts'
import type { Tokens } from './tokens/tokens.ts'
import type { AuditWriter } from './audit/audit-writer.ts'
import type { WaitingBundle } from './snapshot/waiting-bundle.ts'
import type { Clock } from '../service/clock.ts'
import type { Config } from '../service/config.ts'
import { configTextsForBundle } from '../service/config-texts.ts'
import { syncFolder, writeDurably } from '../service/files.ts'
import type { Log } from '../service/log.ts'
import { openBundle, readHeader, writeBundle } from './snapshot/bundle.ts'
import { createSigner, readSigner } from './snapshot/signing.ts'
import type { AuditStore } from './audit/audit-store.ts'
import type { ConnectionRecord } from './store/connection-store.ts'
import type { Store } from './store/database.ts'

export const createKeeping = (deps: {
  config: () => Config
  store: Store
  auditStore: AuditStore
  connectionState: ConnectionState
  tokens: Tokens
  audit: AuditWriter
  clock: Clock
  log: Log
  host: () => Host
  membership: () => Membership | undefined
  assertTellable: (record: ConnectionRecord) => void
  onRestored: () => void
}): { recovery: Recovery; snapshots: Snapshots } => {
  const { config, store, auditStore, connectionState, tokens, audit, clock, log, host, membership } = deps
  const recovery = createRecovery({
    store,
    auditStore,
    audit,
    log,
    configured: () => config().snapshot.recipients,
    assertRecipient: async text => (await age()).assertRecipient(text),
    encryptTo: async (recipients, bytes) => (await age()).encryptTo(recipients, bytes),
    createSigner,
    readSigner,
  })
  const snapshots = createSnapshots({
    store,
    connectionState,
    tokens,
    audit,
    recovery,
    clock,
    log,
    tools: {
      writeBundle,
      readHeader,
      openBundle,
      recipientOf: async identity => (await age()).recipientOf(identity),
      fingerprintOf: pem => readPrivateKey(pem.reveal()).fingerprint,
    },
    waiting: waitingBundleAt(config().paths.state),
    host,
    isHome: home => membership()?.isHome(home) ?? false,
    settings() {
      const settings = snapshotSettings(config())
      return { ...settings, trusted: [...settings.trusted, ...(membership()?.signers() ?? [])] }
    },
    assertTellable: deps.assertTellable,
    onRestored: deps.onRestored,
  })
  // A recovery key that is made on one node opens the snapshots of all.
  const add = (recipient: string): Promise<void> => connectionState.exclusively(() => recovery.add(recipient))
  return { recovery: { ...recovery, add }, snapshots }
}

export const snapshotSettings = ({ file, snapshot, github }: Config): SnapshotSettings => ({
  trusted: snapshot.trusted,
  includeToken: snapshot.includeToken,
  github,
  configuration: () => configTextsForBundle(file),
})

export const waitingBundleAt = (state: string): WaitingBundle => {
  const path = join(state, 'waiting.bundle')
  return {
    find: () => (existsSync(path) ? readFileSync(path) : undefined),
    put: bundle => writeDurably(path, bundle, 0o600),
    remove() {
      rmSync(path, { force: true })
      syncFolder(state)
    },
  }
}

/** Loaded with its first use: most starts see none. */
const age = () => import('./snapshot/encryption.ts')
