// The commands, by topic, in the order in which --help lists them.

import type { CommandSpec } from './command.ts'
import { audit, auditVerify } from './commands/audit.ts'
import { check, debugBundle } from './commands/check.ts'
import { clusterJoin, clusterLeave, clusterPromote, clusterRotateSecret, clusterStatus } from './commands/cluster.ts'
import { disable, enable, importApp } from './commands/connect.ts'
import { features, featuresDisable, featuresEnable } from './commands/features.ts'
import { gitCredential } from './commands/git-credential.ts'
import { keysAdd, keysList, keysRetire } from './commands/keys.ts'
import { completion, daemon, sandbox } from './commands/local.ts'
import { configCheck, explain, installations, profiles, reload } from './commands/policy.ts'
import { adopt, recoveryKeyCreate, storeKey, storeKeyRotate, unlock } from './commands/recovery.ts'
import { snapshotExport, snapshotInspect, snapshotRestore, snapshotVerify } from './commands/snapshot.ts'
import { status, ui } from './commands/status.ts'
import { exec, refresh, revoke, sink, token } from './commands/tokens.ts'

/** By what somebody wants to do. A group of two words (`keys list`) stands where its first command does. */
export const TOPICS: readonly { readonly title: string; readonly commands: readonly CommandSpec[] }[] = [
  { title: 'Connect', commands: [enable, importApp, disable, status, ui] },
  {
    title: 'Use tokens',
    commands: [
      token,
      exec,
      sink,
      gitCredential,
      refresh,
      installations,
      profiles,
      features,
      featuresEnable,
      featuresDisable,
    ],
  },
  {
    title: 'Back up and recover',
    commands: [
      snapshotExport,
      snapshotRestore,
      snapshotInspect,
      snapshotVerify,
      recoveryKeyCreate,
      unlock,
      adopt,
      storeKey,
      storeKeyRotate,
    ],
  },
  { title: 'Diagnose', commands: [check, explain, audit, auditVerify, configCheck, debugBundle] },
  {
    title: 'Administer',
    commands: [
      keysList,
      keysAdd,
      keysRetire,
      clusterStatus,
      clusterJoin,
      clusterLeave,
      clusterPromote,
      clusterRotateSecret,
      revoke,
      reload,
      daemon,
      sandbox,
      completion,
    ],
  },
]

export const COMMANDS: readonly CommandSpec[] = TOPICS.flatMap(({ commands }) => commands)

export const topicOf = (spec: CommandSpec): string | undefined =>
  TOPICS.find(({ commands }) => commands.includes(spec))?.title
