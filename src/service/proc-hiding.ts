// Whether /proc hides the processes of other users from this one (proc(5), `hidepid`), and with them their units.

import { existsSync, readFileSync } from 'node:fs'

/**
 * Why a process that is there cannot be read; undefined where it can be, or is gone. The default stands for all: PID 1 is another
 * user's, and always there.
 */
export const findHiding = (pid = 1): string | undefined => {
  try {
    readFileSync(`/proc/${pid}/stat`)
    return undefined
  } catch (error) {
    if (!HIDDEN.has(codeOf(error)) || !isThere(pid)) return undefined
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
const isThere = (pid: number): boolean => {
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
