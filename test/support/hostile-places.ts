// Where hostile processes and the well-behaved caller run: users and control groups of their own, as logins and services have them.

import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A user of every Debian system, so that profiles can name it, and the path of a control group. */
export type Place = {
  readonly name: string
  readonly uid: number
  /** Undefined: the group of whoever starts it. */
  readonly cgroup?: string
  /** The access to issues that its requests for tokens name: GitHub's log shows by it whose quota was used. */
  readonly issues: 'read' | 'write'
}

/** Profiles name this user, and `news`; each is one holder, whatever units and uids it shows. */
export const ATTACKER_USERS = ['games', 'news'] as const
export const CALLER_USER = 'www-data'

const SESSIONS = 'user.slice/user-5.slice'

/** Three logins of one user and a subordinate uid of it, a service, and a user whom no profile admits. */
export const ATTACKERS: readonly Place[] = [
  ...[1, 2, 3].map(n => ({
    name: `games, session ${n}`,
    uid: 5,
    cgroup: `${SESSIONS}/session-${n}.scope`,
    issues: 'read' as const,
  })),
  { name: 'games, subordinate uid', uid: 100_005, cgroup: `${SESSIONS}/user@5.service/app.slice`, issues: 'read' },
  { name: 'news, a service', uid: 9, cgroup: 'system.slice/ghconnect-hostile.service', issues: 'write' },
  { name: 'nobody', uid: 65_534, issues: 'read' },
]
export const CALLER: Place = {
  name: 'www-data, a service',
  uid: 33,
  cgroup: 'system.slice/ghconnect-caller.service',
  issues: 'read',
}

/** The hierarchy that systemd keeps its units in: the only one, or the one of its own on older machines. */
const HIERARCHY = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'].find(path => existsSync(join(path, 'cgroup.procs')))

/** The command under another user; unchanged where this is not root. */
export const asUser = ({ uid }: Place, command: readonly string[]): readonly string[] =>
  process.getuid?.() === 0 ? ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...command] : command

export type Groups = {
  /** Puts a process there. False where this machine or user does not allow it. */
  put(pid: number, place: Place): boolean
  /** Removes the groups that were made. Their processes must have ended. */
  remove(): void
}

export const createGroups = (): Groups => {
  const made: string[] = []
  return {
    put(pid, { cgroup }) {
      if (HIERARCHY === undefined || cgroup === undefined || process.getuid?.() !== 0) return false
      try {
        let at = HIERARCHY
        for (const part of cgroup.split('/')) {
          at = join(at, part)
          if (existsSync(at)) continue
          mkdirSync(at)
          made.push(at)
        }
        writeFileSync(join(at, 'cgroup.procs'), String(pid))
        return true
      } catch {
        return false
      }
    },
    remove() {
      for (const folder of made.toReversed()) rmdirSync(folder)
    },
  }
}
