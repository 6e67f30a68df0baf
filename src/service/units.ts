// Units and their processes: whether systemd knows a unit by name, and whether /proc hides processes of other users, and with them their units.

import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Policy } from '../protocol/profile.ts'
import type { Doubt } from './config-findings.ts'

export type UnitDoubt = { readonly unit: string; readonly doubt: string; readonly next: string }

const NEXT = 'Correct it in the configuration, or install the unit: until then it admits nobody.'

/**
 * All of them where /proc hides processes. Else units without a file, and names that are an alias: processes are in the unit that it stands for. Nothing is doubted where systemd
 * is not the service manager, nor of scopes, which come and go without a file. An error would be wrong: a unit may be installed later.
 */
export const doubtfulUnits = (units: readonly string[], root = '/'): readonly UnitDoubt[] => {
  const hiding = units.length > 0 ? findHiding() : undefined
  if (hiding !== undefined) return [{ unit: [...new Set(units)].join(', '), doubt: hiding, next: HIDING_NEXT }]
  // As sd_booted(3) has it.
  if (!existsSync(join(root, 'run/systemd/system'))) return []
  return [...new Set(units)].flatMap(unit => {
    const doubt = doubtOf(unit, root)
    return doubt === undefined ? [] : [{ unit, doubt, next: NEXT }]
  })
}

const doubtOf = (unit: string, root: string): string | undefined => {
  if (!unit.endsWith('.service')) return undefined
  const names = [unit, unit.replace(/@.+(?=\.service$)/, '@')]
  const path = names.flatMap(name => FOLDERS.map(folder => join(root, folder, name))).find(isThere)
  if (path === undefined) return 'systemd knows no unit of this name'
  const target = aliasOf(path)
  if (target === undefined || names.includes(target)) return undefined
  return `an alias: processes are in ${target}, which is the name to give`
}

/** A link to a file of another name is an alias; one to /dev/null masks the unit, which may be unmasked. */
const aliasOf = (path: string): string | undefined => {
  if (!lstatSync(path).isSymbolicLink()) return undefined
  const target = basename(readlinkSync(path))
  return target.endsWith('.service') ? target : undefined
}

const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

/** systemd.unit(5), "System Unit Search Path". */
const FOLDERS = [
  'etc/systemd/system.control',
  'run/systemd/system.control',
  'run/systemd/transient',
  'run/systemd/generator.early',
  'etc/systemd/system',
  'etc/systemd/system.attached',
  'run/systemd/system',
  'run/systemd/system.attached',
  'run/systemd/generator',
  'usr/local/lib/systemd/system',
  'usr/lib/systemd/system',
  'lib/systemd/system',
  'run/systemd/generator.late',
]

/** What a policy says of units that systemd does not know. */
export const unitDoubts = ({ profiles }: Policy): Doubt[] =>
  doubtfulUnits(profiles.flatMap(({ allow }) => allow.units)).map(({ unit, doubt, next }) => ({
    said: `The policy names ${unit}: ${doubt}`,
    next,
  }))

/**
 * Why a process that is there cannot be read; undefined where it can be, or is gone. The default stands for all: PID 1 is another
 * user's, and always there.
 */
export const findHiding = (pid = 1): string | undefined => {
  try {
    readFileSync(`/proc/${pid}/stat`)
    return undefined
  } catch (error) {
    if (!HIDDEN.has(codeOf(error)) || !isAlive(pid)) return undefined
    const options = findOptions()
    const how = options === undefined ? '/proc hides' : `/proc is mounted with ${options}, which hides`
    return `${how} the processes of other users and their units from the daemon`
  }
}

export const HIDING_NEXT =
  'Give the daemon the group of the gid= option of /proc, by SupplementaryGroups= in a drop-in: see "Hidden processes" in docs/service.md.'

/** By hidepid=1 it is EPERM, by the others as if it were gone. */
const HIDDEN = new Set(['ENOENT', 'EPERM', 'EACCES'])

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')

/** A signal that is refused (EPERM) has found its process. */
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

const MOUNTS = '/proc/self/mountinfo'

/** `hidepid` and `gid` of the topmost mount of /proc, by proc_pid_mountinfo(5). */
const findOptions = (): string | undefined => {
  const mount = existsSync(MOUNTS)
    ? readFileSync(MOUNTS, 'utf8')
        .split('\n')
        .findLast(line => line.split(' ')[4] === '/proc')
    : undefined
  const found = mount?.split(' - ')[1]?.match(/\b(?:hidepid|gid)=\w+/g)
  return found?.some(option => option.startsWith('hidepid=')) ? found.join(',') : undefined
}
