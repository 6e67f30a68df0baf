// Between the cluster's words and etcd's: keys with their namespace, conditions, writes, entries, changes.

import type { Change, Committed, Condition, Entry, Write } from './etcd-types.ts'

/** All keys of a cluster begin with this; a role of etcd can be limited to it. */
export const namespaceOf = (name: string): string => `ghconnect/${name}/`

export type KeyValue = {
  readonly key: Buffer
  readonly value: Buffer
  readonly create_revision: string
  readonly mod_revision: string
  readonly lease: string
}

type Answer = {
  readonly succeeded: boolean
  readonly header: { readonly revision: string }
  readonly responses: readonly { readonly response_range?: { readonly kvs: readonly KeyValue[] } | null }[]
}

export type Keys = ReturnType<typeof createKeys>

export const createKeys = (namespace: string) => {
  const keyOf = (key: string): Buffer => Buffer.from(namespace + key)
  const nameOf = (key: Buffer): string => key.toString().slice(namespace.length)
  const entryOf = (kv: KeyValue): Entry => ({
    key: nameOf(kv.key),
    value: kv.value,
    createRevision: BigInt(kv.create_revision),
    modRevision: BigInt(kv.mod_revision),
    ...(kv.lease !== '0' && { lease: kv.lease }),
  })
  const compareOf = (condition: Condition) => ({
    key: keyOf(condition.key),
    result: 0 as const,
    ...('modRevision' in condition
      ? { target: 2 as const, mod_revision: String(condition.modRevision) }
      : { target: 1 as const, create_revision: String(condition.createRevision) }),
  })
  const operationOf = (write: Write) =>
    write.kind === 'put'
      ? { request_put: { key: keyOf(write.key), value: write.value, ...(write.lease && { lease: write.lease }) } }
      : { request_delete_range: { key: keyOf(write.key) } }
  return {
    keyOf,
    entryOf,
    rangeOf: (prefix: string) => ({ key: keyOf(prefix), range_end: endOf(keyOf(prefix)) }),
    /** On a second try, what is there is asked for as well. */
    transactionOf: (conditions: readonly Condition[], writes: readonly Write[], again: boolean) => ({
      compare: conditions.map(compareOf),
      success: writes.map(operationOf),
      failure: again ? writes.map(({ key }) => ({ request_range: { key: keyOf(key) } })) : [],
    }),
    /**
     * A first try may have been done although its answer was lost. It was, where all that it puts is there to the byte: a sealed
     * value never comes about twice. Its revision is theirs: the one of this answer counts what others wrote since.
     */
    committedOf: (answer: Answer, writes: readonly Write[]): Committed => {
      const found = answer.responses.map(response => response.response_range?.kvs[0])
      const done =
        !answer.succeeded &&
        found.length > 0 &&
        writes.some(write => write.kind === 'put') &&
        writes.every((write, i) =>
          write.kind === 'put' ? found[i]?.value.equals(write.value) === true : found[i] === undefined,
        )
      const written = done ? found.find(kv => kv !== undefined)?.mod_revision : undefined
      return { committed: answer.succeeded || done, revision: BigInt(written ?? answer.header.revision) }
    },
    changeOf: (event: { readonly type: string; readonly kv: KeyValue }): Change =>
      event.type.toLowerCase() === 'put'
        ? { kind: 'put', entry: entryOf(event.kv) }
        : { kind: 'delete', key: nameOf(event.kv.key), modRevision: BigInt(event.kv.mod_revision) },
  }
}

/** The first key after all that begin with this one. */
const endOf = (prefix: Buffer): Buffer => {
  const end = Buffer.from(prefix)
  end.writeUInt8((end.at(-1) ?? 0) + 1, end.length - 1)
  return end
}
