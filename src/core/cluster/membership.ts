// Membership: what this node remembers of being in a cluster. It is bound to the machine, so a copy of its state is no member.

import { randomBytes } from 'node:crypto'
import type { NodeRole, Version } from '../store/generations.ts'
import { type Host, isOtherHost } from '../../protocol/connection.ts'
import type { FactStore } from '../store/fact-store.ts'

export type Agreed = {
  readonly version: Version
  /** Of the record's content. */
  readonly digest: string
  readonly floor: number
  /** Of App and enablement: where it changes, tokens of before are void. */
  readonly identity: string
}

export type Memory = {
  /** Undefined where this machine is in no cluster, or in another one than that of the configuration. */
  find(): { readonly node: string; readonly role: NodeRole } | undefined
  /** The name of this node, made with its first use. */
  node(): string
  join(role: NodeRole): void
  forget(): void
  /** The same, for a new store. */
  factsOfLeaving(): Readonly<Record<string, unknown>>
  agreed(): Agreed
  agree(agreed: Agreed): void
  /** Facts that hold from the same moment as a new store. */
  factsOf(agreed: Agreed): Readonly<Record<string, unknown>>
  isUnsent(): boolean
  setUnsent(unsent: boolean): void
  signers(): readonly string[]
  setSigners(signers: readonly string[]): void
}

export const NOTHING_AGREED: Agreed = {
  version: { generation: 0, sequence: 0, id: '' },
  digest: '',
  floor: -1,
  identity: '',
}

const MEMBER = 'cluster.member'
const AGREED = 'cluster.agreed'
const UNSENT = 'cluster.unsent'
const SIGNERS = 'cluster.signers'

const LEFT = { [MEMBER]: null, [AGREED]: null, [UNSENT]: false }

type Member = { readonly cluster: string; readonly node: string; readonly role: NodeRole; readonly host: Host }

export const createMemory = (deps: { facts: FactStore; cluster: string; host: () => Host }): Memory => {
  const { facts, cluster, host } = deps
  let fresh: string | undefined

  const read = (): Member | undefined => {
    const found = facts.find(MEMBER)
    if (!isMember(found) || found.cluster !== cluster || isOtherHost(found.host, host())) return undefined
    return found
  }
  let member = read()
  let agreed = readAgreed(facts.find(AGREED))
  let unsent = facts.find(UNSENT) === true

  /** Readable in etcd's own listings. */
  const makeNode = (): string => `${host().hostname.replaceAll(/[^\w.-]/g, '-')}-${randomBytes(3).toString('hex')}`
  const node = (): string => member?.node ?? (fresh ??= makeNode())

  return {
    find: () => member,
    node,
    join(role) {
      const next = { cluster, node: node(), role, host: host() }
      facts.put(MEMBER, next)
      member = next
    },
    factsOfLeaving: () => LEFT,
    forget() {
      for (const [name, value] of Object.entries(LEFT)) facts.put(name, value)
      member = undefined
      agreed = NOTHING_AGREED
      unsent = false
    },
    agreed: () => agreed,
    agree(next) {
      facts.put(AGREED, next)
      agreed = next
    },
    factsOf: next => ({ [AGREED]: next, [UNSENT]: false }),
    isUnsent: () => unsent,
    setUnsent(next) {
      if (next === unsent) return
      facts.put(UNSENT, next)
      unsent = next
    },
    signers() {
      const found = facts.find(SIGNERS)
      return Array.isArray(found) ? found.filter(text => typeof text === 'string') : []
    },
    setSigners: signers => facts.put(SIGNERS, signers),
  }
}

const isMember = (found: unknown): found is Member =>
  typeof found === 'object' &&
  found !== null &&
  'cluster' in found &&
  'node' in found &&
  'host' in found &&
  'role' in found &&
  typeof found.node === 'string' &&
  typeof found.host === 'object' &&
  found.host !== null

/** Written by this program alone; anything else counts as nothing, and the cluster's record is taken. */
const readAgreed = (found: unknown): Agreed => {
  const parsed = found as Partial<Agreed> | null | undefined
  return typeof parsed?.digest === 'string' && typeof parsed.version?.sequence === 'number'
    ? { ...NOTHING_AGREED, ...parsed }
    : NOTHING_AGREED
}
