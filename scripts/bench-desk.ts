// For the benchmark alone: token.sock over tokens in memory, with authorization, audit and rate limit, or `bare` of the three.
// usage: bench-issuer.ts SOCKET with|bare

import { userInfo } from 'node:os'
import { createMetrics } from '../src/core/api/metrics.ts'
import type { Backend } from '../src/core/api/context.ts'
import { createBodyBudgets } from '../src/core/api/body.ts'
import { createHolderTurns } from '../src/core/peers/holder.ts'
import { createApi } from '../src/core/api/dispatcher.ts'
import { createHttpServer, type Handler } from '../src/core/api/http-server.ts'
import { attestPeers, listenUnix } from '../src/core/api/sockets.ts'
import type { Policy } from '../src/protocol/profile.ts'
import type { Engine } from '../src/core/engine.ts'
import { createRateLimit } from '../src/core/peers/rate-limit.ts'
import { createTokenIssuer } from '../src/core/tokens/token-issuer.ts'
import { createClock } from '../src/service/clock.ts'
import { createAttest } from '../src/core/peers/peer.ts'
import { callerOf, connectedRig, peerOf } from '../test/support/operations-rig.ts'
import { quietLog } from './bench-parts.ts'

const [path = '', kind] = process.argv.slice(2)
const { uid, username } = userInfo()
const never = (): never => {
  throw new Error('the benchmark asks for tokens only')
}

/** Ten profiles: the one that admits is the last that is looked at. */
const policy: Policy = {
  profiles: Array.from({ length: 10 }, (_, n) => ({
    name: n === 9 ? 'mine' : `other-${n}`,
    installation: 'octo-org',
    permissions: { contents: 'read' },
    allow: { users: [{ name: username, id: n === 9 ? uid : 10_000 + n }], groups: [], units: [] },
  })),
}
const { rig } = await connectedRig({ policy })
const clock = createClock()
const rateLimit = createRateLimit({ clock })
const whole = createTokenIssuer({ ...rig, policy: () => policy, rateLimit })
const wanted = { repositories: ['web'], permissions: { contents: 'read' } } as const
const first = await whole.answer({ ...wanted, repositories: ['web'] }, callerOf(peerOf(uid)))
const grant = { profile: 'mine', scope: { installation: first.installation, ...wanted } }
const bare: Engine['issuer'] = {
  answer: () => (rig.tokens.find(grant) ? first : never()),
  narrowTo: never,
  deny: never,
}

const server = createHttpServer((incoming, outgoing) => handler(incoming, outgoing), clock.after)
const backend: Backend = {
  githubUrl: never,
  apiUrl: never,
  ownUid: uid,
  policy: () => policy,
  status: never,
  reload: never,
  readRedirect: never,
  readIdentities: never,
  issueLink: never,
  restore: never,
  unlock: never,
  check: never,
}
const operations = { issuer: kind === 'bare' ? bare : whole } as Engine
const events = { emit() {}, subscribe: () => () => {}, end() {} }
const handler: Handler = createApi({
  bodies: createBodyBudgets(),
  turns: createHolderTurns(),
  socket: 'token',
  peers: attestPeers(server, createAttest({ weakPid: () => false })),
  operations: () => operations,
  backend,
  events,
  metrics: createMetrics({ clock, events, operations: () => operations, version: '0.0.0', state: () => 'connected' }),
  rateLimit: kind === 'bare' ? { takeAnswer() {}, takeBytes: () => 0, takeProbe: () => true } : rateLimit,
  clock,
  log: quietLog,
  version: '0.0.0',
})
await listenUnix(server, { path, mode: 0o600 })
process.stdout.write('ready\n')
