// What the nodes of a cluster share, and the one order in which its records replace each other.

import type { Connection, Host, Installation } from '../../protocol/connection.ts'
import type { Code } from '../../protocol/errors.ts'
import type { Grant } from '../../protocol/profile.ts'
import type { Granted, Scope, ScopeKey } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'

/** What a node may become: a replica holds the credentials, calls nobody and never leads. */
export type NodeRole = 'member' | 'replica'
export type Role = 'single' | 'leader' | 'follower' | 'replica'

/**
 * Records are ordered by generation, which counts what administrators change, then by sequence, which counts every record of the cluster.
 * The id tells two histories apart that an etcd restored from a backup may have made of one.
 */
export type Version = { readonly generation: number; readonly sequence: number; readonly id: string }

export const compareVersions = (a: Version, b: Version): number =>
  a.generation - b.generation || a.sequence - b.sequence || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

export type SharedKey = { readonly fingerprint: string; readonly pem: Secret; readonly addedAtMs: number }

/** The connection for all nodes. One that is `disconnected` is the tombstone: it clears the nodes that see it. */
export type SharedRecord = {
  readonly version: Version
  /** Of the App that it is of; in a tombstone, that it was of. */
  readonly appId?: number
  /** Tokens of lower generations are void: they were revoked, or belong to what was replaced. */
  readonly floor: number
  readonly connection: Connection
  readonly installations: readonly Installation[]
  readonly keys: readonly SharedKey[]
  /** Recovery keys that were made on any node, and the keys with which nodes sign their bundles. */
  readonly recipients: readonly string[]
  readonly signers: readonly string[]
  /** The node that wrote it. */
  readonly by: string
}

export type SharedToken = {
  readonly key: ScopeKey
  readonly profile: string
  readonly scope: Scope
  readonly token: Secret
  readonly granted: Granted
  readonly mintedAtMs: number
  readonly expiresAtMs: number
}

/** A token with what it belongs to. */
export type TokenOf = { readonly appId: number; readonly generation: number; readonly token: SharedToken }

export type Member = {
  readonly node: string
  readonly host: Host
  readonly role: NodeRole
  /** Nothing keeps it from GitHub, as far as it knows: it may take the office of one that does not get through. */
  readonly able: boolean
  readonly version: string
  readonly generation: number
  readonly sequence: number
  /** The marks of the secrets that it knows. */
  readonly secrets: readonly string[]
  readonly sinceMs: number
}

export type MintOptions = { readonly minTtlMs?: number; readonly rejected?: string; readonly renew?: boolean }

/** What a follower asks of the leader: one token that it waits for, or that scopes are refreshed ahead. */
export type Ask = {
  readonly id: string
  readonly from: string
  readonly atMs: number
  readonly want:
    | { readonly kind: 'token'; readonly grant: Grant; readonly wish: MintOptions }
    | { readonly kind: 'ahead'; readonly grants: readonly Grant[] }
}

export type Answer =
  | { readonly kind: 'working' }
  | { readonly kind: 'token'; readonly token: SharedToken }
  | { readonly kind: 'failure'; readonly code: Code; readonly detail: string; readonly retryAfterSeconds?: number }

/** What keeps one node from GitHub, and says nothing of the App: another node may fare better. */
export const OF_THE_WAY: ReadonlySet<Code> = new Set<Code>([
  'proxy-unreachable',
  'proxy-authentication',
  'proxy-auth-scheme',
  'proxy-refused',
  'portal',
  'dns',
  'tls',
  'unreachable',
  'timeout',
  'clock-skew',
  'ip-blocked',
])

/** What a node holds, beside what it last agreed on with the cluster. */
export type Standing = {
  readonly generation: number
  readonly digest: string
  readonly agreed: { readonly version: Version; readonly digest: string }
  /** An administrator's change of this node has not reached the cluster yet. */
  readonly unsent: boolean
  readonly leads: boolean
}

export type Step =
  /** Both are the same. */
  | { readonly kind: 'keep' }
  /** The content is the same, under a newer version. */
  | { readonly kind: 'agree' }
  /** The cluster's takes the place of this node's. `lost`: what stood here and was not in the cluster yet. */
  | { readonly kind: 'apply'; readonly lost: 'nothing' | 'note' | 'change' }
  /** This node's goes into the cluster: as it was agreed, where etcd has an older one, or as a new version. */
  | { readonly kind: 'offer'; readonly anew: boolean }

/** What a node does about the record that etcd holds; `undefined`: it holds none. No order of records leads back to a lower version. */
export const nextStep = (standing: Standing, seen: { version: Version; digest: string } | undefined): Step => {
  const { agreed, digest, generation, unsent, leads } = standing
  const clean = digest === agreed.digest
  if (seen === undefined) return { kind: 'offer', anew: !clean }
  const newer = compareVersions(seen.version, agreed.version)
  if (newer < 0) return { kind: 'offer', anew: !clean }
  if (newer === 0) {
    if (clean) return { kind: 'keep' }
    // What a follower notes of GitHub is its own view; the leader's is the cluster's.
    return unsent || leads ? { kind: 'offer', anew: true } : { kind: 'apply', lost: 'note' }
  }
  if (seen.digest === digest) return { kind: 'agree' }
  if (clean) return { kind: 'apply', lost: 'nothing' }
  if (!unsent) return { kind: 'apply', lost: 'note' }
  // What others decided since holds, a disable above all: however many changes were made here without knowing of it.
  const isOvertaken = seen.version.generation > agreed.version.generation || generation <= seen.version.generation
  return isOvertaken ? { kind: 'apply', lost: 'change' } : { kind: 'offer', anew: true }
}

/** The version of a record that is offered anew: above all that this node has seen. */
export const versionAbove = (
  standing: Pick<Standing, 'generation' | 'agreed'>,
  seen: Version | undefined,
  id: string,
): Version => ({
  generation: Math.max(standing.generation, seen?.generation ?? 0),
  sequence: Math.max(standing.agreed.version.sequence, seen?.sequence ?? 0) + 1,
  id,
})
