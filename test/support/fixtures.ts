// What scripts/fixtures.ts keeps of a version, read with the code of today: the store, the audit log, bundles and the values in etcd.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { createCodecs } from '../../src/core/cluster/values.ts'
import { createKeyring } from '../../src/core/cluster/sealing.ts'
import { Secret } from '../../src/protocol/secret.ts'
import type { Surroundings } from '../../src/service/config.ts'
import { createAuditArchive } from '../../src/core/audit/audit-archive.ts'
import { openAudit } from '../../src/core/audit/audit-store.ts'
import { readStore } from '../../src/core/store/database.ts'
import { silentLog } from '../core/store/samples.ts'

/** The machine on which fixtures are made. */
export const FIXTURE_HOST = { machineId: '0'.repeat(31) + '1', hostname: 'appliance.test' }
/** Keys that guard nothing but fixtures. */
export const FIXTURE_STORE_KEY = createHash('sha256').update('test store key').digest()
export const FIXTURE_CLUSTER = 'fixtures'
export const FIXTURE_CLUSTER_SECRET = createHash('sha256').update('test cluster secret').digest('hex')

export const FIXTURE_SURROUNDINGS: Surroundings = {
  hostname: 'surroundings.test',
  findUser: name => ({ git: 998, nginx: 33 })[name],
  findGroup: name => ({ ci: 2_000 })[name],
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/** The value with a digest in place of each secret. */
export const withDigests = (value: unknown): unknown => {
  if (value instanceof Secret) return digestOf(value.reveal())
  if (Array.isArray(value)) return value.map(withDigests)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withDigests(inner)]))
}

export const readState = (state: string, storeKey = FIXTURE_STORE_KEY) => {
  const store = readStore({ folder: join(state, 'store'), storeKey })
  if (!store) throw new Error(`no store in ${state}`)
  return {
    record: withDigests(store.record),
    tokens: withDigests(store.tokens),
    recipients: store.findFact('recovery.recipients') ?? [],
    audit: readAudit(state, storeKey),
  }
}

/** Each row of the log and of its archive, with its hash: the chain is followed from the first to the last. */
const readAudit = (state: string, storeKey: Buffer) => {
  const audit = openAudit({ path: join(state, 'audit.db'), storeKey, log: silentLog })
  const archive = createAuditArchive({ folder: join(state, 'audit'), databaseKey: audit.databaseKey() })
  try {
    const archived = archive.list({ after: 0, limit: 1_000 })
    return {
      archived: archived.length,
      archivedTo: archive.check(archive.anchor() ?? audit.anchor(), 1_000),
      verified: audit.verify(),
      rows: [...archived, ...audit.list({ limit: 1_000 })],
    }
  } finally {
    archive.close()
    audit.close()
  }
}

export const fixtureCodecs = () => {
  const keyring = createKeyring({ cluster: FIXTURE_CLUSTER, secrets: [Buffer.from(FIXTURE_CLUSTER_SECRET)] })
  return { keyring, codecs: createCodecs(keyring) }
}

type Kind = keyof ReturnType<typeof createCodecs>

export const kindOf = (key: string): Kind => {
  if (key === 'connection') return 'record'
  if (key === 'leader' || key === 'lock') return 'holder'
  const [, kind] = /^(token|member|ask|answer)s\//.exec(key) ?? []
  if (kind === 'token' || kind === 'member' || kind === 'ask' || kind === 'answer') return kind
  throw new Error(`no kind of value under ${key}`)
}

/** A value of etcd: its key without the cluster's prefix, and its bytes in base64. */
export type EtcdValue = { readonly key: string; readonly value: string }

export const unseal = ({ key, value }: EtcdValue): unknown => {
  const read = fixtureCodecs().codecs[kindOf(key)].read(key, Buffer.from(value, 'base64'))
  if (read.kind !== 'value') throw new Error(`${key} is ${read.kind}`)
  return withDigests(read.value)
}
