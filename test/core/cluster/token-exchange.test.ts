// Tokens in a cluster as one node sees them: which it takes over, which it puts there, and what it makes of the leader's answers.

import test from 'ava'
import type { ClusterLink } from '../../../src/core/cluster/link.ts'
import type { Answer, Ask, NodeRole, SharedToken, TokenOf } from '../../../src/core/cluster/values.ts'
import type { MintOptions } from '../../../src/core/connection/membership.ts'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import { scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createTokenExchange } from '../../../src/core/cluster/token-exchange.ts'
import type { Memory } from '../../../src/core/cluster/memory.ts'
import type { Tokens } from '../../../src/core/tokens/tokens.ts'
import type { StoredToken } from '../../../src/core/store/records.ts'
import { createFakeLog, failureOf, settle } from '../../support/fakes.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000
const APP = 7
const [FLOOR, GENERATION] = [3, 5]
const GRANT: Grant = { profile: 'p', scope: { installation: 1, permissions: { contents: 'read' } } }

const tokenOf = (text: string, more: { profile?: string; expiresAtMs?: number } = {}): SharedToken => {
  const { profile = 'p', expiresAtMs = NOW + HOUR } = more
  const { scope } = GRANT
  const granted = { permissions: { contents: 'read' } } as const
  const token = new Secret(text)
  return { key: scopeKey(profile, scope), profile, scope, token, granted, mintedAtMs: expiresAtMs - HOUR, expiresAtMs }
}
const of = (text: string, more: Partial<Omit<TokenOf, 'token'>> & { expiresAtMs?: number } = {}): TokenOf => {
  const { expiresAtMs = NOW + HOUR, ...place } = more
  return { appId: APP, generation: GENERATION, token: tokenOf(text, { expiresAtMs }), ...place }
}
const textsOf = (tokens: readonly { readonly token: Secret }[]): string[] => tokens.map(({ token }) => token.reveal())

type Scene = {
  readonly leads?: boolean
  readonly role?: NodeRole
  /** What the leader answers. */
  readonly answer?: Exclude<Answer, { kind: 'working' }>
  /** What stands in the cluster. */
  readonly there?: readonly TokenOf[]
  /** What this node holds. */
  readonly here?: readonly StoredToken[]
  /** What of the link is another one. */
  readonly link?: Partial<ClusterLink>
  readonly inCluster?: boolean
  readonly obtain?: Tokens['obtain']
}

const setUp = (scene: Scene = {}) => {
  const { leads = false, role = 'member', answer, there = [], here = [], inCluster = true } = scene
  const received: string[] = []
  const answers: Answer[] = []
  const put: string[] = []
  const offered: string[] = []
  const asked: MintOptions[] = []
  const told: number[] = []
  const done: string[] = []
  const refreshed: (readonly Grant[])[] = []
  let resyncs = 0
  const log = createFakeLog()
  let quiet: boolean | undefined
  let sweep: ((token: TokenOf) => boolean) | undefined
  const link: Partial<ClusterLink> = {
    node: 'b',
    leads: () => leads,
    inTouch: () => true,
    leader: () => 'a',
    tokens: () => there,
    findExpiry: key => there.find(({ token }) => token.key === key)?.token.expiresAtMs,
    ask: async () => answer,
    async answer(_, given) {
      answers.push(given)
    },
    async putTokens(tokens) {
      put.push(...textsOf(tokens.map(({ token }) => token)))
      return true
    },
    async offerToken({ token }) {
      offered.push(token.token.reveal())
      return true
    },
    async sweepTokens(isOver) {
      sweep = isOver
    },
    async tell(want) {
      if (want.kind === 'ahead') told.push(want.grants.length)
    },
    async done({ id }) {
      done.push(id)
    },
    resync: () => void (resyncs += 1),
    ...scene.link,
  }
  const minted: StoredToken = { ...tokenOf('minted'), slot: 'current' }
  const tokens: Pick<Tokens, 'find' | 'obtain' | 'renew' | 'refreshFor' | 'live' | 'receive'> = {
    find: () => ({ ...tokenOf('at hand'), slot: 'current' }),
    async obtain(_, wish = {}) {
      asked.push(wish)
      return minted
    },
    renew: async () => minted,
    refreshFor: async grants => void refreshed.push(grants),
    live: () => here,
    receive(list, options) {
      received.push(...textsOf(list))
      quiet = options?.quiet
    },
    ...(scene.obtain && { obtain: scene.obtain }),
  }
  const established = { app: { id: APP }, account: {}, host: {}, enabledAtMs: 0 }
  const connectionState = {
    read: () => ({ generation: GENERATION, connection: { kind: 'connected', ...established } }),
  }
  const memory: Partial<Memory> = {
    find: () => (inCluster ? { cluster: 'test', node: 'b', role, host: { machineId: '', hostname: '' } } : undefined),
    agreed: () => ({
      version: { generation: GENERATION, sequence: 9, id: '' },
      digest: '',
      floor: FLOOR,
      identity: '',
    }),
  }
  const exchange = createTokenExchange({
    link: link as ClusterLink,
    memory: memory as Memory,
    connectionState: connectionState as never,
    tokens,
    log,
    now: () => NOW,
  })
  return {
    exchange,
    received,
    answers,
    put,
    offered,
    asked,
    told,
    done,
    refreshed,
    log,
    resyncs: () => resyncs,
    quiet: () => quiet,
    isSwept: (token: TokenOf) => sweep?.(token),
  }
}

const FOREIGN = of('of another App', { appId: APP + 1 })
const VOID = of('revoked', { generation: FLOOR - 1 })
const EARLY = of('of a record that is not here yet', { generation: GENERATION + 1 })
const GOOD = [of('of the floor', { generation: FLOOR }), of('of now')]

test('a token of another App, of a generation that was revoked, or of one to come is not taken over', t => {
  const all = [FOREIGN, VOID, EARLY, ...GOOD]
  const { exchange, received } = setUp({ there: all })
  for (const token of all) exchange.onToken(token)
  t.deepEqual(received, ['of the floor', 'of now'], 'as each comes')
  received.length = 0
  exchange.takeAll()
  t.deepEqual(received, ['of the floor', 'of now'], 'all at once')
})

test('the leader takes out what has ended or is void, and leaves what others may still need', async t => {
  const { exchange, isSwept } = setUp({ leads: true })
  await exchange.reconcile()
  const ended = of('ended', { expiresAtMs: NOW })
  t.deepEqual([ended, VOID, FOREIGN].map(isSwept), [true, true, true])
  t.deepEqual([...GOOD, EARLY].map(isSwept), [false, false, false])
})

test('of two tokens of one scope the one that lasts longer goes into the cluster, and only where that lacks it', async t => {
  const current: StoredToken = { ...tokenOf('current', { expiresAtMs: NOW + HOUR / 2 }), slot: 'current' }
  const next: StoredToken = { ...tokenOf('next'), slot: 'next' }
  for (const here of [
    [current, next],
    [next, current],
  ]) {
    const leader = setUp({ leads: true, here })
    await leader.exchange.reconcile()
    t.deepEqual([leader.put, leader.offered], [['next'], []])
    const follower = setUp({ here })
    await follower.exchange.reconcile()
    t.deepEqual([follower.put, follower.offered], [[], ['next']])
    const known = setUp({ here, there: [of('next')] })
    await known.exchange.reconcile()
    t.deepEqual(known.offered, [])
  }
})

const failing = (code: Code): Scene['answer'] => ({ kind: 'failure', code, detail: 'so it says' })

test('what keeps the leader alone from a token has a member mint itself; what GitHub says of the scope is final', async t => {
  const ofTheWay = [
    'proxy-unreachable',
    'proxy-authentication',
    'proxy-auth-scheme',
    'proxy-refused',
    'portal',
  ] as const
  const ofTheNet = ['dns', 'tls', 'unreachable', 'timeout', 'clock-skew', 'ip-blocked'] as const
  const ofTheLeader = [
    'not-connected',
    'cluster-unreachable',
    'isolated',
    'locked',
    'io',
    'disk-full',
    'internal',
  ] as const
  for (const code of [...ofTheWay, ...ofTheNet, ...ofTheLeader]) {
    const answer = failing(code)
    t.is(await setUp({ ...(answer && { answer }) }).exchange.mint(GRANT, {}), undefined, code)
  }
  for (const code of ['quota', 'permission-not-granted', 'repository-not-accessible'] as const) {
    const answer = failing(code)
    t.is((await failureOf(setUp({ ...(answer && { answer }) }).exchange.mint(GRANT, {}))).code, code)
  }
})

test('a replica mints nothing itself, whatever keeps the primary from it', async t => {
  for (const answer of [undefined, failing('proxy-unreachable'), failing('internal')]) {
    const { exchange } = setUp({ role: 'replica', ...(answer && { answer }) })
    t.is((await failureOf(exchange.mint(GRANT, {}))).code, 'replica')
  }
})

const askFor = (wish: MintOptions, more: Partial<Ask> = {}): Ask => ({
  id: 'one',
  from: 'c',
  atMs: NOW,
  want: { kind: 'token', grant: GRANT, wish },
  ...more,
})

test('the leader answers with the token at hand, but not where GitHub refused it or it is to be renewed', async t => {
  const finals = async (wish: MintOptions): Promise<string[]> => {
    const { exchange, answers } = setUp({ leads: true })
    exchange.onAsk(askFor(wish))
    await settle()
    return answers.map(answer => (answer.kind === 'token' ? answer.token.token.reveal() : answer.kind))
  }
  t.deepEqual(await finals({}), ['at hand'])
  t.deepEqual(await finals({ minTtlMs: HOUR / 2 }), ['at hand'])
  t.deepEqual(await finals({ rejected: 'hash' }), ['working', 'minted'])
  t.deepEqual(await finals({ renew: true }), ['working', 'minted'])
})

test('an ask is answered once however often etcd tells of it, and a node answers none of its own', async t => {
  const { exchange, answers } = setUp({ leads: true })
  exchange.onAsk(askFor({}, { from: 'b' }))
  for (let times = 0; times < 3; times++) exchange.onAsk(askFor({}))
  await settle()
  t.is(answers.length, 1)
})

test('a node that was told all tokens at once makes no news of them, but of each that comes', t => {
  const { exchange, quiet } = setUp({ there: GOOD })
  exchange.takeAll()
  t.true(quiet())
  exchange.onToken(of('another'))
  t.falsy(quiet())
})

test('what a node minted goes into the cluster: by the leader as its own, by others as an offer, where it is newer there', async t => {
  const minted: StoredToken = { ...tokenOf('minted'), slot: 'current' }
  const run = async (scene: Scene) => {
    const made = setUp(scene)
    made.exchange.minted(minted)
    await settle()
    return made
  }
  t.deepEqual((await run({ leads: true })).put, ['minted'])
  t.deepEqual((await run({})).offered, ['minted'])
  const silent: readonly Scene[] = [{ there: [of('known')] }, { inCluster: false }, { link: { inTouch: () => false } }]
  for (const scene of silent) {
    const { put, offered } = await run(scene)
    t.deepEqual([put, offered], [[], []])
  }
  t.deepEqual((await run({ there: [of('older', { expiresAtMs: NOW + 1 })] })).offered, ['minted'])
  const late: readonly Scene[] = [
    { leads: true, link: { putTokens: async () => false } },
    { link: { offerToken: async () => false } },
  ]
  for (const scene of late) {
    const { log, resyncs } = await run(scene)
    t.like(log.lines, [{ level: 'warn', fields: { generation: GENERATION } }])
    t.is(resyncs(), 1, 'it looks what is there')
  }
})

const UNREACHABLE = async (): Promise<never> => {
  throw new Failure('cluster-unreachable', 'no etcd')
}

test('whatever etcd does not take goes out later, and is no error of whoever minted', async t => {
  const minted: StoredToken = { ...tokenOf('minted'), slot: 'current' }
  const scene: Scene = { link: { offerToken: UNREACHABLE, tell: UNREACHABLE, answer: UNREACHABLE }, here: [minted] }
  const { exchange, log } = setUp(scene)
  exchange.minted(minted)
  exchange.wantAhead([GRANT])
  exchange.onAsk(askFor({}))
  await exchange.reconcile()
  await settle()
  t.is(log.lines.length, 4)
  t.true(log.lines.every(({ level }) => level === 'debug'))
})

test('a reconciliation offers a few at a time, and none out of touch or out of a cluster', async t => {
  const here = Array.from(
    { length: 60 },
    (_, n): StoredToken => ({ ...tokenOf(`t${n}`, { profile: `p${n}` }), slot: 'current' }),
  )
  const follower = setUp({ here })
  await follower.exchange.reconcile()
  t.is(follower.offered.length, 50)
  t.is(follower.isSwept(VOID), undefined, 'only the leader takes out')
  const leader = setUp({ here, leads: true })
  await leader.exchange.reconcile()
  t.is(leader.put.length, 60)
  const outside: readonly Scene[] = [{ link: { inTouch: () => false } }, { inCluster: false }]
  for (const scene of outside) {
    const out = setUp({ here, ...scene })
    await out.exchange.reconcile()
    t.deepEqual(out.offered, [])
  }
})

test('scopes that are due are told in parts, and the leader that was told says when it is done', async t => {
  const { exchange, told, refreshed, done } = setUp({ leads: true })
  exchange.wantAhead(Array.from({ length: 450 }, () => GRANT))
  t.deepEqual(told, [200, 200, 50])
  exchange.onAsk({ ...askFor({}), want: { kind: 'ahead', grants: [GRANT] } })
  await settle()
  t.deepEqual(refreshed, [[GRANT]])
  t.deepEqual(done, ['one'])
})

test("what the leader met with is told with GitHub's words and waiting time, and reaches the caller of another node so", async t => {
  const answerOf = async (code: Code): Promise<Answer | undefined> => {
    const { exchange, answers } = setUp({
      leads: true,
      obtain: async () => {
        throw new Failure(code, 'so it says', { retryAfterSeconds: 90 })
      },
    })
    exchange.onAsk(askFor({ rejected: 'hash' }))
    await settle()
    return answers.at(-1)
  }
  const quota = await answerOf('quota')
  t.deepEqual(quota, { kind: 'failure', code: 'quota', detail: 'so it says', retryAfterSeconds: 90 })
  t.like(await answerOf('proxy-auth-scheme'), { code: 'proxy-authentication' })
  if (quota?.kind !== 'failure') throw new Error('no failure')
  const failure = await failureOf(setUp({ answer: quota }).exchange.mint(GRANT, {}))
  t.like(failure, { code: 'quota', message: 'so it says', retryAfterSeconds: 90 })
})

test("the leader's token is handed on; without a leader that answers, or out of a cluster, a member mints", async t => {
  const answer = { kind: 'token', token: tokenOf('of the leader') } as const
  const given = await setUp({ answer }).exchange.mint(GRANT, {})
  t.like(given, { slot: 'current', profile: 'p' })
  t.is(given?.token.reveal(), 'of the leader')
  const alone: readonly Scene[] = [
    { leads: true },
    { inCluster: false },
    { link: { inTouch: () => false } },
    { link: { leader: () => undefined } },
    { link: { ask: UNREACHABLE } },
  ]
  for (const scene of alone) {
    t.is(await setUp({ answer, ...scene }).exchange.mint(GRANT, {}), undefined)
  }
  t.is(
    (await failureOf(setUp({ role: 'replica', link: { ask: UNREACHABLE } }).exchange.mint(GRANT, {}))).code,
    'replica',
  )
})

test('what was asked is remembered for ten thousand asks, and the rest is forgotten', async t => {
  const { exchange, done } = setUp({ leads: true })
  const ahead = (n: number): Ask => ({ ...askFor({}), id: `${n}`, want: { kind: 'ahead', grants: [] } })
  for (let n = 0; n <= 10_000; n += 1) exchange.onAsk(ahead(n))
  exchange.onAsk(ahead(1))
  await settle()
  t.is(done.length, 10_001)
  exchange.onAsk(ahead(0))
  await settle()
  t.is(done.length, 10_002)
})
