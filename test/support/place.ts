// A state folder with its configuration and key file, for what works upon the real disk without a daemon.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { Connection, Host } from '../../src/protocol/connection.ts'
import { type Config, parseConfig } from '../../src/service/config.ts'
import { encryptTo } from '../../src/core/snapshot/encryption.ts'
import { type AuditStore, openAudit } from '../../src/core/audit/audit-store.ts'
import type { StoreChange } from '../../src/core/store/tables.ts'
import { openStore, type Store } from '../../src/core/store/database.ts'
import { CONNECTED } from '../core/snapshot/samples.ts'
import { silentLog, STORE_KEY } from '../core/store/samples.ts'

export const OTHER_KEY = Buffer.alloc(32, 9)
/** What the configuration below says of this machine, and no machine-id. */
export const PLACE: Host = { machineId: '', hostname: 'ghe.example.com' }
/** Enabled on `PLACE`. */
export const LIVE_HERE: Extract<Connection, { kind: 'connected' }> = { ...CONNECTED, host: PLACE }

export type Place = ReturnType<typeof createPlace>

/** `keyFile: false`: the configuration names none. */
export const createPlace = (t: ExecutionContext, { toml = '', keyFile = true } = {}) => {
  const folder = mkdtempSync(join(tmpdir(), 'place-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const state = join(folder, 'state')
  mkdirSync(state, { mode: 0o700 })
  mkdirSync(join(folder, 'sealed'))
  const key = join(folder, 'store.key')
  writeFileSync(key, STORE_KEY, { mode: 0o600 })
  const configFile = join(folder, 'config.toml')
  const surroundings = { hostname: PLACE.hostname, findUser: () => 0, findGroup: () => 0 }
  const textOf = (more: string): string =>
    `[appliance]\nhostname = "${PLACE.hostname}"\n[paths]\nstate = "${state}"\nruntime = "${folder}/run"\n${keyFile ? `[store]\nkey_file = "${key}"\n` : ''}${more}`
  /** Whatever it is: a configuration may be wrong. */
  const putConfig = (more: string): void => writeFileSync(configFile, textOf(more))
  /** The configuration with this at its end, on the disk as well. */
  const configure = (more: string): Config => {
    putConfig(more)
    return parseConfig(textOf(more), { file: configFile, surroundings })
  }
  const onStore = <T>(work: (store: Store) => T, storeKey = STORE_KEY): T => {
    const store = openStore({ folder: join(state, 'store'), storeKey, log: silentLog })
    try {
      return work(store)
    } finally {
      store.close()
    }
  }
  const onAudit = <T>(work: (audit: AuditStore) => T, storeKey = STORE_KEY): T => {
    const audit = openAudit({ path: join(state, 'audit.db'), storeKey, log: silentLog })
    try {
      return work(audit)
    } finally {
      audit.close()
    }
  }
  return {
    folder,
    state,
    key,
    configFile,
    surroundings,
    /** No machine-id, and nothing of this machine's own store key. */
    env: {
      GHCONNECT_SEALED_STORE_KEY: join(folder, 'sealed', 'store.key'),
      GHCONNECT_MACHINE_ID_FILE: join(folder, 'no-machine-id'),
    } as NodeJS.ProcessEnv,
    config: configure(toml),
    configure,
    putConfig,
    onStore,
    onAudit,
    /** A store and an audit log, under `STORE_KEY`. */
    keep(change: StoreChange = { connection: LIVE_HERE }): void {
      onStore(store => store.replace(change))
      onAudit(audit => audit.append({ atMs: 1, event: 'before' }))
    },
    /** Both database keys for the recovery key, as a daemon leaves them. */
    async wrap(recipient: string, change: (text: string) => string = text => text): Promise<void> {
      const keys = { store: onStore(store => store.databaseKey()), audit: onAudit(audit => audit.databaseKey()) }
      const bytes = await encryptTo([recipient], Buffer.from(change(JSON.stringify(keys))))
      onStore(store => store.putRecoveryWrap(bytes))
    },
    /** Of the stores that lie there. */
    numbers: (): number[] =>
      readdirSync(join(state, 'store'))
        .filter(name => /^\d+$/.test(name))
        .map(Number)
        .toSorted((a, b) => a - b),
    /** Overwrites the file; gives what makes it whole again. */
    damage(path: string): () => void {
      const bytes = readFileSync(path)
      writeFileSync(path, Buffer.alloc(bytes.length, 1))
      return () => writeFileSync(path, bytes)
    },
    /** The key file holds another key from now on. */
    loseKey(): void {
      writeFileSync(key, OTHER_KEY)
    },
  }
}
