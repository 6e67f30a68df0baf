// What the doctor sees without leaving the machine: configuration, store and key, recovery keys, the age of the last export.

import type { LastExport } from '../core/store/record-shapes.ts'
import { failed, ok, skipAll, skipped, warning } from './check-rules.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import { isoTime } from '../protocol/wire.ts'
import type { CheckRow } from '../protocol/wire-check.ts'

/** What the store tells of itself. */
export type Vault = {
  readonly generation: number
  /** Whether there is an App whose loss would matter. */
  readonly isLive: boolean
  readonly recipients: readonly string[]
  /** The database key stands beside the store, encrypted to the recovery keys. */
  readonly isWrapped: boolean
  /** Another node of the cluster leads, and may well be the one that is backed up. */
  readonly isFollower: boolean
  /** What the fact `last-export` holds. */
  readonly lastExport: unknown
}

export type LocalDeps = {
  nowMs(): number
  monotonic(): number
  configuration(): {
    readonly file: string
    readonly profiles: number
    /** Why the file on the disk was refused, where older settings hold. */
    readonly refused?: string | undefined
    readonly doubts: readonly { readonly said: string; readonly next: string }[]
  }
  /** Reads the store's pages, and tries its key as the next start would. Gives the evidence, and throws what is wrong. */
  examineStore(): string
  /** Undefined while the store is closed. */
  vault(): Vault | undefined
}

const DAY_MS = 86_400_000
const STALE_MS = 7 * DAY_MS

export const checkLocally = (deps: LocalDeps): CheckRow[] => {
  const store = storeRow(deps)
  const vault = deps.vault()
  const beyond = vault
    ? [recoveryRow(vault), backupRow(vault, deps.nowMs())]
    : skipAll(['recovery-key', 'backup'], 'the store is closed')
  return [configurationRow(deps.configuration()), store, ...beyond]
}

const configurationRow = ({ file, profiles, refused, doubts }: ReturnType<LocalDeps['configuration']>): CheckRow => {
  const of = { layer: 'configuration' } as const
  if (refused !== undefined) {
    const failure = new Failure(
      'configuration',
      `the settings of before are in force, as the file was refused: ${refused}`,
    )
    return failed(
      of,
      failure,
      'Correct it, then `systemctl reload ghconnectd`: with this file the daemon would not start again.',
    )
  }
  const said = `${file}: ${profiles} profile${profiles === 1 ? '' : 's'}`
  const [doubt] = doubts
  if (!doubt) return ok(of, `${said}.`)
  const more = doubts.length > 1 ? `, and ${doubts.length - 1} more` : ''
  return warning(of, `${said}. ${doubt.said}${more}.`, doubt.next)
}

const storeRow = (deps: LocalDeps): CheckRow => {
  const beganMs = deps.monotonic()
  const took = () => ({ layer: 'store', tookMs: deps.monotonic() - beganMs }) as const
  try {
    const evidence = deps.examineStore()
    return ok(took(), evidence)
  } catch (error) {
    const failure = asFailure(error)
    // Of one who asks without the daemon, and without its rights.
    return failure.code === 'not-permitted' ? skipped(took(), failure.message) : failed(took(), failure)
  }
}

const recoveryRow = ({ isLive, recipients, isWrapped }: Vault): CheckRow => {
  const of = { layer: 'recovery-key' } as const
  if (!isLive && recipients.length === 0) return skipped(of, 'there is no App to lose')
  if (recipients.length === 0) {
    const evidence = 'None exists: snapshots are unencrypted, and losing the store key means losing the connection.'
    return warning(of, evidence, 'Run `ghconnect recovery-key create` and keep what it prints away from this machine.')
  }
  if (!isWrapped) {
    const evidence = 'The database key is not encrypted to the recovery keys yet.'
    return warning(of, evidence, 'It is written at the next start; see the journal for what stood in the way.')
  }
  return ok(of, `${recipients.length} open${recipients.length === 1 ? 's' : ''} snapshots and store.`)
}

const backupRow = ({ isLive, isFollower, generation, lastExport }: Vault, nowMs: number): CheckRow => {
  const of = { layer: 'backup' } as const
  if (!isLive) return skipped(of, 'there is no App to lose')
  const next = "Run `ghconnect snapshot export`, or find out why the scheduled backup isn't running."
  const last = readLastExport(lastExport)
  const isFresh = last && last.generation === generation && nowMs - last.atMs < STALE_MS
  if (isFollower && !isFresh) return skipped(of, 'no fresh export was made here, and another node of the cluster leads')
  if (!last) return warning(of, 'This daemon never exported a snapshot.', next)
  const age = nowMs - last.atMs
  const days = Math.floor(age / DAY_MS)
  const ago = days < 1 ? 'less than a day ago' : days === 1 ? 'a day ago' : `${days} days ago`
  const when = `${isoTime(last.atMs).slice(0, 16)}Z (${ago})`
  if (last.generation !== generation) {
    const evidence = `The last export, of ${when}, is of generation ${last.generation}; this is ${generation}, with other keys.`
    return warning(of, evidence, next)
  }
  return age >= STALE_MS
    ? warning(of, `The last export is of ${when}.`, next)
    : ok(of, `The last export is of ${when}.`)
}

const readLastExport = (fact: unknown): LastExport | undefined => {
  if (typeof fact !== 'object' || fact === null || !('atMs' in fact) || !('generation' in fact)) return undefined
  const { atMs, generation } = fact
  return typeof atMs === 'number' && typeof generation === 'number' ? { atMs, generation } : undefined
}
