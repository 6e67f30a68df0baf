// etcd's calls and their messages, as far as this program uses them, and how they are written and read: protobuf.

type Kind = 'int' | 'bool' | 'bytes' | 'text' | Shape
/** A field with its number; a list has it as often as it has elements. What is not named here is skipped. */
type Shape = { readonly [field: string]: readonly [number: number, kind: Kind, list?: 'list'] }

const HEADER = { clusterId: [1, 'int'], revision: [3, 'int'], raftTerm: [4, 'int'] } as const
const KEY_VALUE = {
  key: [1, 'bytes'],
  createRevision: [2, 'int'],
  modRevision: [3, 'int'],
  value: [5, 'bytes'],
  lease: [6, 'int'],
} as const
const RANGE = { key: [1, 'bytes'], rangeEnd: [2, 'bytes'], limit: [3, 'int'], revision: [4, 'int'] } as const
const RANGE_REPLY = { header: [1, HEADER], kvs: [2, KEY_VALUE, 'list'], more: [3, 'bool'] } as const
/** Target 1 is the revision of a key's creation, 2 that of its last change; result 0: they are equal. */
const COMPARE = {
  result: [1, 'int'],
  target: [2, 'int'],
  key: [3, 'bytes'],
  createRevision: [5, 'int'],
  modRevision: [6, 'int'],
} as const
const OPERATION = {
  range: [1, RANGE],
  put: [2, { key: [1, 'bytes'], value: [2, 'bytes'], lease: [3, 'int'] }],
  deleteRange: [3, { key: [1, 'bytes'] }],
} as const
/** Type 0 is a put, 1 a delete. */
const EVENT = { type: [1, 'int'], kv: [2, KEY_VALUE] } as const
const LEASE_REPLY = { header: [1, HEADER], id: [2, 'int'], ttl: [3, 'int'] } as const

export const METHODS = {
  range: { path: '/etcdserverpb.KV/Range', request: RANGE, reply: RANGE_REPLY },
  txn: {
    path: '/etcdserverpb.KV/Txn',
    request: { compare: [1, COMPARE, 'list'], success: [2, OPERATION, 'list'], failure: [3, OPERATION, 'list'] },
    reply: { header: [1, HEADER], succeeded: [2, 'bool'], responses: [3, { range: [1, RANGE_REPLY] }, 'list'] },
  },
  leaseGrant: { path: '/etcdserverpb.Lease/LeaseGrant', request: { ttl: [1, 'int'] }, reply: LEASE_REPLY },
  leaseRevoke: {
    path: '/etcdserverpb.Lease/LeaseRevoke',
    request: { id: [1, 'int'] },
    reply: { header: [1, HEADER] },
  },
  /** A stream, on which etcd answers each request with one message. One is sent on each. */
  leaseKeepAlive: { path: '/etcdserverpb.Lease/LeaseKeepAlive', request: { id: [1, 'int'] }, reply: LEASE_REPLY },
  authenticate: {
    path: '/etcdserverpb.Auth/Authenticate',
    request: { name: [1, 'text'], password: [2, 'text'] },
    reply: { token: [2, 'text'] },
  },
  watch: {
    path: '/etcdserverpb.Watch/Watch',
    request: {
      create: [1, { key: [1, 'bytes'], rangeEnd: [2, 'bytes'], startRevision: [3, 'int'] }],
      progress: [3, {}],
    },
    reply: {
      header: [1, HEADER],
      created: [3, 'bool'],
      canceled: [4, 'bool'],
      compactRevision: [5, 'int'],
      cancelReason: [6, 'text'],
      events: [11, EVENT, 'list'],
    },
  },
} as const satisfies Record<string, { path: string; request: Shape; reply: Shape }>

export type Method = keyof typeof METHODS
export type Request<M extends Method> = Written<(typeof METHODS)[M]['request']>
export type Reply<M extends Method> = Read<(typeof METHODS)[M]['reply']>
export type KeyValue = Read<typeof KEY_VALUE>

type Scalar<K> = K extends 'int' ? bigint : K extends 'bool' ? boolean : K extends 'bytes' ? Buffer : string
type WrittenAs<K> = K extends Shape ? Written<K> : Scalar<K>
type Written<S extends Shape> = {
  readonly [N in keyof S]?: S[N][2] extends 'list' ? readonly WrittenAs<S[N][1]>[] : WrittenAs<S[N][1]>
}
type ReadAs<K> = K extends Shape ? Read<K> : Scalar<K>
type Read<S extends Shape> = {
  readonly [N in keyof S]: S[N][2] extends 'list' ? readonly ReadAs<S[N][1]>[] : ReadAs<S[N][1]>
}

type Message = Readonly<Record<string, unknown>>

const NUMBER = 0
const BYTES = 2
/** Fields of these wire types are skipped: of what is read here, none is one. */
const FIXED_LENGTHS = new Map([
  [1, 8],
  [5, 4],
])

export const encode = (shape: Shape, message: Message): Buffer =>
  Buffer.concat(
    Object.entries(shape).flatMap(([name, [number, kind]]) => {
      const value = message[name]
      const all: readonly unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value]
      return all.flatMap(one => encodeField(number, kind, one))
    }),
  )

const encodeField = (number: number, kind: Kind, value: unknown): Buffer[] => {
  if (kind === 'int' || kind === 'bool') return [varint((number << 3) | NUMBER), varint(value as bigint | boolean)]
  const bytes =
    kind === 'bytes' ? (value as Buffer) : kind === 'text' ? Buffer.from(String(value)) : encode(kind, value as Message)
  return [varint((number << 3) | BYTES), varint(bytes.length), bytes]
}

const varint = (value: bigint | number | boolean): Buffer => {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

/** A field that is absent has the value that protobuf gives it: 0, false, nothing. Throws where the bytes are no message. */
export const decode = (shape: Shape, bytes: Buffer): Message => {
  const fields = Object.entries(shape)
  const message: Record<string, unknown> = {}
  for (const [name, [, kind, list]] of fields) message[name] = list ? [] : decodeField(kind, EMPTY)
  let at = 0
  const readVarint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes.readUInt8(at++)
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(64, value)
    }
    throw new RangeError('a number in a message of etcd is too long')
  }
  while (at < bytes.length) {
    const tag = Number(readVarint())
    const wire = tag & 7
    const fixed = FIXED_LENGTHS.get(wire)
    if (fixed === undefined && wire !== NUMBER && wire !== BYTES) throw unreadable(wire)
    let value: bigint | Buffer = fixed === undefined ? readVarint() : BigInt(fixed)
    if (wire !== NUMBER) {
      const end = at + Number(value)
      if (end < at || end > bytes.length) throw new RangeError('a message of etcd is cut off')
      value = bytes.subarray(at, end)
      at = end
    }
    const field = fields.find(([, [number]]) => number === tag >>> 3)
    if (!field) continue
    if (fixed !== undefined) throw unreadable(wire)
    const [name, [, kind, list]] = field
    const read = decodeField(kind, value)
    if (list) (message[name] as unknown[]).push(read)
    else message[name] = read
  }
  return message
}

const unreadable = (wire: number) => new RangeError(`a message of etcd has a field of the kind ${wire}`)

const EMPTY = Buffer.alloc(0)

const decodeField = (kind: Kind, value: bigint | Buffer): unknown => {
  if (kind === 'int' || kind === 'bool') {
    const number = typeof value === 'bigint' ? value : 0n
    return kind === 'int' ? number : number !== 0n
  }
  if (typeof value === 'bigint') throw new RangeError('a message of etcd has a number where none belongs')
  return kind === 'bytes' ? value : kind === 'text' ? value.toString() : decode(kind, value)
}
