// Profiles and who is measured by them: what a configuration gives, what the kernel tells of a caller, what a caller asks for.

import { foldName, type Permissions, type Scope } from './scope.ts'

/** The process at the other end of a unix socket, as the kernel tells it. `unit` is the systemd unit, if it can be told. */
export type Peer = {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  readonly unit?: string
  /** Where it may well be in a unit, but this kernel has no proof of it and `[policy] weak_pid` does not stand in: no unit matches. */
  readonly unitWithheld?: true
  /** N where the process runs below `user-N.slice`: whose login it belongs to, whatever uid it shows. Never used to grant. */
  readonly userSlice?: number
  /** When the process started, in clock ticks since boot: with the pid it names the process. Undefined where /proc hides it. */
  readonly startTicks?: number
}

/** A user or group: the name that the administrator wrote, and the id that the system gave for it at load. */
export type Principal = { readonly name: string; readonly id: number }

export type Allow = {
  readonly users: readonly Principal[]
  readonly groups: readonly Principal[]
  readonly units: readonly string[]
}

export type Profile = {
  readonly name: string
  /** An account's login or slug, or an installation's id. May be left out where there is exactly one installation. */
  readonly installation?: string | number
  /** Names or patterns with `*`. None: all of the installation. */
  readonly repositories?: readonly string[]
  readonly permissions?: Permissions
  readonly allow: Allow
}

/** What a profile may be called, in the configuration and in each request. */
export const PROFILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
/** A unit that can run a process, by its full name. */
export const UNIT_NAME = /^[A-Za-z0-9:_.\\@-]{1,255}\.(?:service|scope)$/

export type Policy = { readonly profiles: readonly Profile[] }

/** Whom a profile admits, as the administrator wrote it. */
export const allowNames = ({ allow }: Profile): { users: string[]; groups: string[]; units: string[] } => ({
  users: allow.users.map(user => user.name),
  groups: allow.groups.map(group => group.name),
  units: [...allow.units],
})

/** Just enough of an installation to find it by id or account. */
export type InstallationName = { readonly id: number; readonly account: { readonly login: string } }

export type Grant = { readonly profile: string; readonly scope: Scope }

/** The holder that admin.sock mints for; no profile can have this name (names are not empty). */
export const ADMIN_PROFILE = ''

/** A number is an id; a text is an account, or an id in digits. What two installations answer to is neither's name. */
export const findInstallation = <I extends InstallationName>(
  installations: readonly I[],
  wanted: string | number | undefined,
): I | undefined => {
  if (wanted === undefined) return installations.length === 1 ? installations[0] : undefined
  if (typeof wanted === 'number') return installations.find(i => i.id === wanted)
  const named = installations.filter(i => String(i.id) === wanted || foldName(i.account.login) === foldName(wanted))
  return named.length === 1 ? named[0] : undefined
}
