// Builds the doctor over what runs: the way out as the daemon uses it, the store as it is open, or the reason why it is not.

import { join } from 'node:path'
import { skipped } from '../doctor/check-rules.ts'
import { clusterRow } from '../doctor/check-cluster.ts'
import type { Connection } from '../protocol/connection.ts'
import { Failure } from '../protocol/errors.ts'
import { createDoctor as createChecks, type Doctor } from '../doctor/check.ts'
import type { ClusterCommands } from './cluster/cluster.ts'
import type { Patient } from '../doctor/ask-github.ts'
import type { Clock } from '../service/clock.ts'
import type { Config } from '../service/config.ts'
import type { Doubt } from '../service/config-findings.ts'
import type { Outbound } from './outbound/outbound.ts'
import { unitDoubts } from '../service/unit-files.ts'
import { VERSION } from '../service/version.ts'
import { readDatabaseKey } from './store/database.ts'
import { storeKeyOf } from './store/machine-key.ts'

export type DoctorDeps = {
  readonly config: () => Config
  /** Why the file on the disk was refused, where older settings hold. */
  readonly refused: () => string | undefined
  readonly doubts: () => readonly Doubt[]
  readonly env: NodeJS.ProcessEnv
  readonly outbound: Pick<Outbound, 'examine'>
  readonly clock: Clock
  readonly standing: () => { readonly state: string; readonly meaning: string; readonly next: string }
  /** Of the store that is open; throws why none is. */
  readonly patient: () => Patient
  /** Throws `cluster-member` where no cluster is configured. */
  readonly cluster: () => Promise<Pick<ClusterCommands, 'status'>>
  readonly whyNotCalling: () => Failure | undefined
}

export const createDoctor = ({ config, env, clock, ...deps }: DoctorDeps): Doctor => {
  const find = (): Patient | Failure => {
    try {
      return deps.patient()
    } catch (error) {
      if (error instanceof Failure) return error
      throw error
    }
  }
  return createChecks({
    clock,
    standing: deps.standing,
    examine: deps.outbound.examine,
    userAgent: `ghconnectd/${VERSION}`,
    addresses: () => config().github,
    profiles: () => config().policy.profiles,
    configuration() {
      const { file, policy } = config()
      const doubts = [...deps.doubts(), ...unitDoubts(policy)]
      return { file, profiles: policy.profiles.length, refused: deps.refused(), doubts }
    },
    examineStore() {
      const patient = find()
      if (patient instanceof Failure) throw patient
      // The key as the next start would find it, and not as it was at the last one.
      readDatabaseKey({ folder: join(config().paths.state, 'store'), storeKey: storeKeyOf(config(), env) })
      patient.checkStore()
      return 'Each page is whole, and the store key opens it.'
    },
    vault() {
      const patient = find()
      return patient instanceof Failure ? undefined : patient.vault()
    },
    async cluster() {
      if (find() instanceof Failure) return skipped({ layer: 'cluster' }, 'the store is closed')
      try {
        return clusterRow((await deps.cluster()).status())
      } catch (error) {
        if (error instanceof Failure && error.code === 'cluster-member') return clusterRow(undefined)
        throw error
      }
    },
    silence() {
      const patient = find()
      if (patient instanceof Failure) return undefined
      const mute = deps.whyNotCalling()
      if (mute) return `${mute.entry.title}: ${mute.message}`
      return patient.connection().kind === 'quarantined'
        ? 'the credentials are quarantined, and no call goes out'
        : undefined
    },
    patient() {
      const patient = find()
      if (patient instanceof Failure) return 'the store is closed'
      return whyNotApp(patient.connection()) ?? patient.whyNotCalling()?.message ?? patient
    },
  })
}

const whyNotApp = ({ kind }: Connection): string | undefined => {
  if (kind === 'disconnecting') return 'a disable is under way'
  return kind === 'disconnected' || kind === 'awaiting-app' || kind === 'key-lost' ? 'no App is stored' : undefined
}
