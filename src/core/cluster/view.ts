// The view: what stands in etcd, read and typed; what is written there goes out under a fence. Owned by the link.

import { Failure } from '../../protocol/errors.ts'
import type { ScopeKey } from '../../protocol/scope.ts'
import { conditionsOf, type Held, type LinkContext, type Right } from './election.ts'
import type { Change, Condition, Entry, Write } from './etcd.ts'
import type { Keyring } from './sealing.ts'
import { type Answer, type Ask, digestOf, KEYS, type Member, type SharedRecord, type TokenOf } from './values.ts'

/** The record as etcd holds it. `damaged`: nothing that this cluster wrote there; it counts as absent. */
export type Seen =
  | { readonly kind: 'record'; readonly record: SharedRecord; readonly digest: string; readonly modRevision: bigint }
  | { readonly kind: 'absent' | 'foreign' | 'newer' | 'damaged'; readonly modRevision: bigint }

export type ViewHandlers = {
  /** The record may be another one: look. */
  onRecord(): void
  /** What was followed may not be what there is. */
  onDoubt(): void
  onToken(token: TokenOf): void
  onMembers(): void
  onAsk(ask: Ask): void
  onAskGone(id: string): void
  onAnswer(id: string, answer: Answer): void
}

/** As many as one transaction of etcd takes. */
const AT_ONCE = 60
const partsOf = <T>(list: readonly T[]): readonly T[][] =>
  Array.from({ length: Math.ceil(list.length / AT_ONCE) }, (_, at) => list.slice(at * AT_ONCE, (at + 1) * AT_ONCE))

const ABSENT: Seen = { kind: 'absent', modRevision: 0n }

type Kept = { readonly name: string; readonly modRevision: bigint; readonly of: TokenOf; readonly seal: string }

/** Bears the seal's tag, which no two values have in common. */
const sealOf = (value: Buffer): string => value.toString('latin1', Math.max(0, value.length - SEAL_CHARACTERS))
const SEAL_CHARACTERS = 32

export const createView = (
  { etcd, codecs, log }: LinkContext,
  { keyring, leaderFence }: { keyring: Keyring; leaderFence: () => Condition | undefined },
  handlers: ViewHandlers,
) => {
  let seen: Seen = ABSENT
  let raw: Buffer | undefined
  const tokens = new Map<ScopeKey, Kept>()
  const byName = new Map<string, ScopeKey>()
  const members = new Map<string, Member>()
  const asks = new Map<string, Ask>()

  const readSeen = ({ value, modRevision }: Entry): Seen => {
    const read = codecs.record.read(KEYS.record, value)
    if (read.kind !== 'value') {
      log.error('the record in etcd cannot be opened', { why: read.kind })
      return { kind: read.kind, modRevision }
    }
    const { value: record } = read
    return {
      kind: 'record',
      record,
      digest: digestOf({ ...record, generation: record.version.generation }),
      modRevision,
    }
  }

  /** Revisions come twice where etcd was restored from a backup: only the same bytes are the same record. */
  const noteRecord = (entry: Entry | undefined): void => {
    if (entry && raw?.equals(entry.value) && entry.modRevision === seen.modRevision) return
    raw = entry?.value
    seen = entry ? readSeen(entry) : ABSENT
    handlers.onRecord()
  }

  const keep = (name: string, kept: Omit<Kept, 'name'>): void => {
    const key = kept.of.token.key
    tokens.set(key, { name, ...kept })
    byName.set(name, key)
  }

  const putMember = ({ key, value }: Entry): void => {
    const read = codecs.member.read(key, value)
    if (read.kind === 'value') members.set(key, read.value)
    else members.delete(key)
  }

  const put = (entry: Entry): void => {
    const { key, value } = entry
    if (key === KEYS.record) return noteRecord(entry)
    if (key.startsWith(KEYS.tokens)) {
      const read = codecs.token.read(key, value)
      if (read.kind !== 'value') return
      keep(key, { modRevision: entry.modRevision, of: read.value, seal: sealOf(value) })
      return handlers.onToken(read.value)
    }
    if (key.startsWith(KEYS.members)) {
      putMember(entry)
      return handlers.onMembers()
    }
    if (key.startsWith(KEYS.asks)) {
      const read = codecs.ask.read(key, value)
      if (read.kind !== 'value') return
      asks.set(key, read.value)
      return handlers.onAsk(read.value)
    }
    if (key.startsWith(KEYS.answers)) {
      const read = codecs.answer.read(key, value)
      if (read.kind === 'value') handlers.onAnswer(key.slice(KEYS.answers.length), read.value)
    }
  }

  const remove = (key: string): void => {
    if (key === KEYS.record) return noteRecord(undefined)
    const token = byName.get(key)
    if (token !== undefined) {
      byName.delete(key)
      if (tokens.get(token)?.name === key) tokens.delete(token)
    }
    if (members.delete(key)) handlers.onMembers()
    if (asks.delete(key)) handlers.onAskGone(key.slice(KEYS.asks.length))
  }

  const nameOf = (key: ScopeKey): string => KEYS.tokens + keyring.nameOf(key)

  /** Under its present name, and no longer under the one that a former secret gave it. */
  const drawUp = (of: TokenOf): { name: string; writes: Write[]; noteAt(revision: bigint): void } => {
    const name = nameOf(of.token.key)
    const former = tokens.get(of.token.key)?.name
    const value = codecs.token.write(name, of)
    const write: Write = { kind: 'put', key: name, value }
    return {
      name,
      writes: former === undefined || former === name ? [write] : [write, { kind: 'delete', key: former }],
      noteAt: modRevision => keep(name, { modRevision, of, seal: sealOf(value) }),
    }
  }

  /** What is known already need not be opened again: with thousands of tokens that would hold up those who wait for one. */
  const relist = (entries: readonly Entry[]): Entry[] => {
    const known = new Map([...tokens.values()].map(kept => [kept.name, kept]))
    tokens.clear()
    byName.clear()
    return entries.filter(({ key, value, modRevision }) => {
      const kept = known.get(key)
      if (kept?.seal !== sealOf(value)) return true
      keep(key, { ...kept, modRevision })
      return false
    })
  }

  /** False: another node was first, or the right has ended; nothing was written. Throws `cluster-unreachable`. */
  const putRecord = async (record: SharedRecord, right: Right): Promise<boolean> => {
    const conditions = conditionsOf(right, leaderFence())
    if (!conditions) return false
    const value = codecs.record.write(KEYS.record, record)
    const unchanged = { key: KEYS.record, modRevision: seen.modRevision }
    const { committed, revision } = await etcd.commit(
      [...conditions, unchanged],
      [{ kind: 'put', key: KEYS.record, value }],
    )
    // What the watch tells later is the same.
    if (committed && seen.modRevision < revision) {
      raw = value
      seen = readSeen({ key: KEYS.record, value, createRevision: revision, modRevision: revision })
    }
    return committed
  }

  /** False: the fence does not hold any more, and not all were written. */
  const putUnder = async (fence: Condition, list: readonly TokenOf[]): Promise<boolean> => {
    for (const part of partsOf(list)) {
      const drawn = part.map(drawUp)
      const { committed, revision } = await etcd.commit(
        [fence],
        drawn.flatMap(({ writes }) => writes),
      )
      if (!committed) return false
      for (const { noteAt } of drawn) noteAt(revision)
    }
    return true
  }

  return {
    /** What stands there at one revision. */
    list(entries: readonly Entry[]): void {
      const [record] = entries.filter(({ key }) => key === KEYS.record)
      for (const map of [members, asks]) map.clear()
      // All of them before anything is sealed: with which secret is up to the one of them that knows least.
      const isMember = ({ key }: Entry): boolean => key.startsWith(KEYS.members)
      for (const entry of entries.filter(isMember)) putMember(entry)
      handlers.onMembers()
      noteRecord(record)
      for (const entry of relist(entries)) if (entry.key !== KEYS.record && !isMember(entry)) put(entry)
    },
    change(change: Change): void {
      if (change.kind === 'put') put(change.entry)
      else remove(change.key)
    },
    record: (): Seen => seen,
    /** Asks etcd itself, and notes what it says. */
    async readRecord(): Promise<Seen> {
      const entry = await etcd.get(KEYS.record)
      // Another history than the one that was followed, or the watch was quicker: a list tells.
      if (
        entry &&
        (entry.modRevision < seen.modRevision || (entry.modRevision === seen.modRevision && !raw?.equals(entry.value)))
      )
        handlers.onDoubt()
      noteRecord(entry)
      return seen
    },
    putRecord,
    /** As the leader; false: it is not the leader any more, and not all were written. */
    async putTokens(list: readonly TokenOf[]): Promise<boolean> {
      const fence = leaderFence()
      return fence !== undefined && putUnder(fence, list)
    },
    tokens: (): readonly TokenOf[] => [...tokens.values()].map(({ of }) => of),
    findExpiry: (key: ScopeKey): number | undefined => tokens.get(key)?.of.token.expiresAtMs,
    /** Without leading: only over the one that this node knows. */
    async offerToken(of: TokenOf): Promise<boolean> {
      const { name, writes, noteAt } = drawUp(of)
      const known = tokens.get(of.token.key)
      const modRevision = known?.name === name ? known.modRevision : 0n
      const { committed, revision } = await etcd.commit([{ key: name, modRevision }], writes)
      if (committed) noteAt(revision)
      return committed
    },
    /** As the leader: drops what has ended, or belongs to nothing any more. */
    async sweepTokens(isOver: (token: TokenOf) => boolean): Promise<void> {
      const fence = leaderFence()
      if (!fence) return
      const over = [...tokens.values()].filter(({ of }) => isOver(of)).map(({ name }) => name)
      for (const part of partsOf(over)) {
        await etcd.commit(
          [fence],
          part.map(key => ({ kind: 'delete', key })),
        )
      }
    },
    /** Writes record and tokens once more, with the secret that seals now. Throws `cluster-conflict` where the lock was lost. */
    async reseal(held: Held): Promise<number> {
      const all = [...tokens.values()].map(({ of }) => of)
      const lost = () => new Failure('cluster-conflict', 'the lock was lost meanwhile; seal anew once more')
      if (seen.kind === 'record' && !(await putRecord(seen.record, held))) throw lost()
      if (!(await putUnder(held.fence, all))) throw lost()
      return all.length + (seen.kind === 'record' ? 1 : 0)
    },
    members: (): readonly Member[] => [...members.values()],
    asks: (): readonly Ask[] => [...asks.values()],
  }
}
