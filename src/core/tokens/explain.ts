// Explains the policy: who would get what, for a caller that is described, and for a process that lives.

import { asFailure, Failure } from '../../protocol/errors.ts'
import { explain, type Subject } from '../policy/explain.ts'
import type { Peer, Policy } from '../../protocol/profile.ts'
import type { Scope } from '../../protocol/scope.ts'
import type { ExplainAnswer, ExplainRequest } from '../../protocol/wire-policy.ts'
import type { ConnectionState } from '../connection/connection-state.ts'

type ScopeBody = NonNullable<ExplainAnswer['profiles'][number]['scope']>

export type Explain = (request: ExplainRequest, asker: Peer) => ExplainAnswer

/** What the system knows of users, groups and processes. */
export type Directory = {
  findUser(name: string): { uid: number; gid: number } | undefined
  findGroup(name: string): number | undefined
  userName(uid: number): string | undefined
  groupName(gid: number): string | undefined
  groupsOfUser(name: string, gid: number): readonly number[]
  findProcess(pid: number): Peer | undefined
  /** Why a process that is there cannot be seen; without a pid, those of other users. */
  findHiding(pid?: number): string | undefined
  /** What to do about it. */
  readonly hidingNext: string
}

/** Throws `invalid-request` for users, groups and processes that there are not. */
export const createExplain =
  (deps: {
    policy: () => Policy
    connectionState: Pick<ConnectionState, 'read' | 'requireServing'>
    directory: Directory
  }): Explain =>
  (request, asker) => {
    const { directory } = deps
    const { installations } = deps.connectionState.read()
    const subject = subjectOf(request, directory)
    // The kernel is the same for all: what it cannot prove of the one who asks it cannot prove of anybody.
    const hiding = request.pid === undefined ? directory.findHiding() : undefined
    const believed: Subject = {
      ...subject,
      ...(asker.unitWithheld && { unitWithheld: true }),
      ...(hiding !== undefined && { unitsHidden: hiding }),
    }
    const { profile, installation, repositories, permissions } = request
    const { profiles, decision } = explain(deps.policy(), believed, {
      wanted: {
        ...(profile !== undefined && { profile }),
        ...(installation !== undefined && { installation }),
        ...(repositories && { repositories }),
        ...(permissions && { permissions }),
      },
      installations,
    })
    const { uid, gid, groups, unit } = subject
    const held = [...new Set([...(gid === undefined ? [] : [gid]), ...(groups ?? [])])]
    const user = request.user ?? (uid === undefined ? undefined : directory.userName(uid))
    return {
      caller: {
        ...(request.pid !== undefined && { pid: request.pid }),
        ...(uid !== undefined && { uid }),
        ...(user !== undefined && { user }),
        ...(held.length > 0 && { groups: held.map(id => directory.groupName(id) ?? String(id)) }),
        ...(unit !== undefined && { unit }),
      },
      decision,
      ...withheldBy(deps.connectionState),
      profiles: profiles.map(({ scope, reasons, ...one }) => ({
        ...one,
        reasons: [...reasons],
        ...(scope && { scope: scopeBody(scope) }),
      })),
    }
  }

/** Whatever the policy says: why no token is served now. */
const withheldBy = ({ requireServing }: Pick<ConnectionState, 'requireServing'>): Pick<ExplainAnswer, 'withheld'> => {
  try {
    requireServing()
    return {}
  } catch (error) {
    const { code, message, next } = asFailure(error)
    return { withheld: { code, detail: message, next } }
  }
}

const scopeBody = ({ installation, repositories, permissions }: Scope): ScopeBody => ({
  installation,
  ...(repositories && { repositories: [...repositories] }),
  ...(permissions && { permissions: { ...permissions } }),
})

const subjectOf = (request: ExplainRequest, directory: Directory): Subject => {
  if (request.pid !== undefined) {
    const peer = directory.findProcess(request.pid)
    if (!peer) {
      const hiding = directory.findHiding(request.pid)
      if (hiding === undefined) throw new Failure('invalid-request', `pid: there is no process ${request.pid}`)
      throw new Failure('invalid-request', `pid: process ${request.pid} is hidden: ${hiding}`, {
        next: directory.hidingNext,
      })
    }
    const { uid, gid, groups, unit } = peer
    return { uid, gid, groups, unit }
  }
  const user = request.user === undefined ? undefined : userOf(request.user, directory)
  const group = request.group === undefined ? undefined : groupOf(request.group, directory)
  return {
    ...(user && { uid: user.uid, groups: [...user.groups, ...(group === undefined ? [] : [group])] }),
    // A group alone does not tell which others there are.
    ...(!user && group !== undefined && { gid: group }),
    ...(request.unit !== undefined && { unit: request.unit }),
  }
}

const userOf = (name: string, directory: Directory): { uid: number; groups: readonly number[] } => {
  const found = directory.findUser(name)
  if (found) return { uid: found.uid, groups: directory.groupsOfUser(name, found.gid) }
  if (/^\d{1,9}$/.test(name)) return userOfId(Number(name), directory)
  throw new Failure('invalid-request', `user: there is no user ${name}`)
}

/** A container's user may have an id and no name here. */
const userOfId = (uid: number, directory: Directory): { uid: number; groups: readonly number[] } => {
  const name = directory.userName(uid)
  const found = name === undefined ? undefined : directory.findUser(name)
  return { uid, groups: name !== undefined && found ? directory.groupsOfUser(name, found.gid) : [] }
}

const groupOf = (name: string, directory: Directory): number => {
  const id = directory.findGroup(name) ?? (/^\d{1,9}$/.test(name) ? Number(name) : undefined)
  if (id === undefined) throw new Failure('invalid-request', `group: there is no group ${name}`)
  return id
}
