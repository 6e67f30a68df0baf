// The commands, by topic, in the order in which --help lists them.

import type { CommandSpec } from './command.ts'
import { audit, auditVerify } from './commands/audit.ts'
import { check } from './commands/check.ts'
import { clusterJoin, clusterLeave, clusterPromote, clusterRotateSecret, clusterStatus } from './commands/cluster.ts'
import { debugBundleCommand } from './commands/debug.ts'
import { disable } from './commands/disable.ts'
import { enable } from './commands/enable.ts'
import { exec } from './commands/exec.ts'
import { explain } from './commands/explain.ts'
import { features, featuresDisable, featuresEnable } from './commands/features.ts'
import { gitCredential } from './commands/git-credential.ts'
import { importApp } from './commands/import.ts'
import { keysAdd, keysList, keysRetire } from './commands/keys.ts'
import { installations, profiles } from './commands/lists.ts'
import { configCheck, reload } from './commands/config.ts'
import { completion, daemon, sandbox } from './commands/local.ts'
import { adopt, recoveryKeyCreate, storeKey, storeKeyRotate, unlock } from './commands/recovery.ts'
import { refresh } from './commands/refresh.ts'
import { snapshotExport, snapshotInspect, snapshotVerify } from './commands/snapshot.ts'
import { snapshotRestore } from './commands/snapshot-restore.ts'
import { revoke } from './commands/revoke.ts'
import { sink } from './commands/sink.ts'
import { status } from './commands/status.ts'
import { token } from './commands/token.ts'
import { ui } from './commands/ui.ts'

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
  { title: 'Diagnose', commands: [check, explain, audit, auditVerify, configCheck, debugBundleCommand] },
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
