// Nodes of a cluster as far as their link: each with a client of one etcd in memory, and with what it was told.

import { createLink, type ClusterLink } from '../../src/core/cluster/link.ts'
import { createKeyring } from '../../src/core/cluster/sealing.ts'
import { type Ask, createCodecs, type SharedRecord, type TokenOf } from '../../src/core/cluster/values.ts'
import { scopeKey } from '../../src/protocol/scope.ts'
import { Secret } from '../../src/protocol/secret.ts'
import { createFakeEtcd, type FakeClient, type FakeEtcd } from './fake-etcd.ts'
import { createFakeClock, createFakeLog, type FakeClock } from './fakes.ts'

export const SECRET = Buffer.from('a secret that all nodes of the cluster know')
export const HOUR = 3_600_000

/** Opens and seals what the nodes do. */
export const codecs = createCodecs(createKeyring({ cluster: 'test', secrets: [SECRET] }))

export type LinkNode = {
  readonly link: ClusterLink
  readonly client: FakeClient
  readonly log: ReturnType<typeof createFakeLog>
  /** What it was told of the asks of others. */
  readonly asked: readonly Ask[]
  /** What it was told of touch and leadership, in order. */
  readonly told: readonly string[]
  readonly tokensTold: readonly TokenOf[]
}

export const createNode = async (
  { etcd, clock }: { etcd: FakeEtcd; clock: FakeClock },
  node: string,
  { secrets = [SECRET] }: { secrets?: readonly Buffer[] } = {},
): Promise<LinkNode> => {
  const client = etcd.client()
  const asked: Ask[] = []
  const told: string[] = []
  const tokensTold: TokenOf[] = []
  const log = createFakeLog()
  const link: ClusterLink = createLink({
    etcd: client,
    cluster: 'test',
    secrets,
    node,
    handlers: {
      onRecord() {},
      onToken: token => void tokensTold.push(token),
      onAsk: ask => void asked.push(ask),
      onTouch: inTouch => void told.push(inTouch ? 'in touch' : 'cut off'),
      onLead: leads => void told.push(leads ? 'leads' : 'leads no more'),
      member: () => ({
        generation: 1,
        sequence: 1,
        role: 'member',
        able: true,
        host: { machineId: node, hostname: node },
        version: '0',
        mayLead: true,
      }),
    },
    clock,
    log,
  })
  await link.start()
  await clock.advance(0)
  return { link, client, log, asked, told, tokensTold }
}

/** Two nodes, the first of which leads. */
export const twoNodes = async () => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const place = { etcd, clock }
  const a = await createNode(place, 'a')
  const b = await createNode(place, 'b')
  const entryOf = (key: string) => etcd.entries().find(entry => entry.key === key)
  const keysOf = (prefix: string) => etcd.entries().flatMap(({ key }) => (key.startsWith(prefix) ? [key] : []))
  return { ...place, a, b, entryOf, keysOf, valueOf: (key: string) => entryOf(key)?.value }
}

export const recordOf = (sequence: number, id = 'x'): SharedRecord => ({
  version: { generation: 1, sequence, id },
  floor: 1,
  connection: { kind: 'disconnected', sinceMs: sequence },
  installations: [],
  keys: [],
  recipients: [],
  signers: [],
  by: 'a',
})

export const SCOPE = { installation: 4, permissions: { contents: 'read' } } as const
export const KEY = scopeKey('p', SCOPE)

export const tokenOf = (text: string, expiresAtMs: number, installation: number = SCOPE.installation): TokenOf => {
  const scope = { ...SCOPE, installation }
  return {
    appId: 1,
    generation: 1,
    token: {
      key: scopeKey('p', scope),
      profile: 'p',
      scope,
      token: new Secret(text),
      granted: { permissions: { contents: 'read' } },
      mintedAtMs: expiresAtMs - HOUR,
      expiresAtMs,
    },
  }
}

export const textsOf = ({ link }: LinkNode): string[] => link.tokens().map(({ token }) => token.token.reveal())
