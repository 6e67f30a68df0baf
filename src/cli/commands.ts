// The commands there are, in the order in which --help lists them.

import type { CommandSpec } from './command.ts'
import { audit, auditVerify } from './commands/audit.ts'
import { check } from './commands/check.ts'
import { clusterJoin, clusterLeave, clusterPromote, clusterRotateSecret, clusterStatus } from './commands/cluster.ts'
import { disable } from './commands/disable.ts'
import { enable } from './commands/enable.ts'
import { exec } from './commands/exec.ts'
import { explain } from './commands/explain.ts'
import { features, featuresDisable, featuresEnable } from './commands/features.ts'
import { gitCredential } from './commands/git-credential.ts'
import { importApp } from './commands/import.ts'
import { keysAdd, keysList, keysRetire } from './commands/keys.ts'
import { installations, profiles } from './commands/lists.ts'
import { completion, configCheck, daemon, sandbox } from './commands/local.ts'
import { adopt, recoveryKeyCreate, storeKey, unlock } from './commands/recovery.ts'
import { refresh } from './commands/refresh.ts'
import { snapshotExport, snapshotInspect, snapshotVerify } from './commands/snapshot.ts'
import { snapshotRestore } from './commands/snapshot-restore.ts'
import { sink } from './commands/sink.ts'
import { status } from './commands/status.ts'
import { token } from './commands/token.ts'
import { ui } from './commands/ui.ts'

export const COMMANDS: readonly CommandSpec[] = [
  enable,
  importApp,
  disable,
  status,
  token,
  exec,
  sink,
  gitCredential,
  refresh,
  installations,
  profiles,
  explain,
  features,
  featuresEnable,
  featuresDisable,
  audit,
  auditVerify,
  snapshotExport,
  snapshotRestore,
  snapshotInspect,
  snapshotVerify,
  recoveryKeyCreate,
  unlock,
  adopt,
  keysList,
  keysAdd,
  keysRetire,
  storeKey,
  check,
  ui,
  clusterStatus,
  clusterJoin,
  clusterLeave,
  clusterPromote,
  clusterRotateSecret,
  configCheck,
  daemon,
  sandbox,
  completion,
]
