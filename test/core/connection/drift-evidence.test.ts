// No sequence of answers makes a state of less than repeated words of GitHub's own: raw answers, through the whole way in.

import test from 'ava'
import * as fc from 'fast-check'
import type { Connection } from '../../../src/protocol/connection.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { createGitHubClock } from '../../../src/core/github/clock.ts'
import { readPrivateKey } from '../../../src/core/github/app-key.ts'
import { createGitHub } from '../../../src/core/github/github.ts'
import { createAppLink } from '../../../src/core/connection/app-link.ts'
import { createDrift } from '../../../src/core/connection/drift.ts'
import { createEvents } from '../../../src/core/audit/events.ts'
import { createConnectionState } from '../../../src/core/connection/connection-state.ts'
import { createTokens } from '../../../src/core/tokens/tokens.ts'
import { createAuditWriter } from '../../../src/core/audit/audit-writer.ts'
import { makePem } from '../github/fakes.ts'
import { appBody, installationBody } from '../github/bodies.ts'
import {
  createFakeClock,
  createFakeLog,
  emptyDisk,
  openMemoryAudit,
  openMemoryStore,
  settle,
} from '../../support/fakes.ts'

type Sense = 'good' | 'key' | 'app' | 'nothing'
type Reply = { readonly sense: Sense; readonly status: number; readonly body: string; readonly genuine: boolean }

const json = (message: string): string => JSON.stringify({ message, documentation_url: 'https://docs.github.com/rest' })
const HTML = '<!doctype html><title>Unicorn!</title><p>Not now.</p>'
const NOTHING: readonly (readonly [number, string])[] = [
  [200, HTML],
  [200, '[{"id": 7, "acc'],
  [200, '{}'],
  [302, ''],
  [401, json('words of another year')],
  [401, HTML],
  [403, json('Forbidden')],
  [403, json('API rate limit exceeded')],
  [404, json('Not Found')],
  [404, HTML],
  [410, json('Gone')],
  [429, HTML],
  [500, ''],
  [503, HTML],
]
const WORDS: readonly (readonly [Sense, number, string])[] = [
  ['key', 401, json('A JSON web token could not be decoded')],
  ['key', 401, json('Integration must generate a public key')],
  ['app', 404, json('Integration not found')],
  ['app', 401, json("'Issuer' claim ('iss') must be an Integer")],
]
const genuine: readonly Reply[] = [
  ...NOTHING.map(([status, body]): Reply => ({ sense: 'nothing', status, body, genuine: true })),
  ...WORDS.map(([sense, status, body]): Reply => ({ sense, status, body, genuine: true })),
  { sense: 'good', status: 200, body: '', genuine: true },
]
/** The same from a stranger means nothing, whatever it says. */
const replies = [...genuine, ...genuine.map((one): Reply => ({ ...one, sense: 'nothing', genuine: false }))]

const key = readPrivateKey(makePem())

/** The whole way from bytes to states, over one reply that is changed from outside. */
const createSubject = () => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const disk = emptyDisk()
  const app = {
    id: 42,
    clientId: 'Iv23liAbCdEf',
    slug: 'octo-app',
    name: 'octo-app',
    owner: { type: 'organization', login: 'octo-org' },
    htmlUrl: 'https://github.com/apps/octo-app',
    permissions: {},
  } as const
  const host = { machineId: 'one', hostname: 'here' }
  const connection: Connection = { kind: 'connected', sinceMs: 0, app, account: app.owner, host, enabledAtMs: 0 }
  disk.record = {
    generation: 1,
    connection,
    installations: [],
    keys: [{ fingerprint: key.fingerprint, pem: key.pem, addedAtMs: 0 }],
  }
  const heard: { readonly sense: Sense; readonly atMs: number }[] = []
  let reply: Reply | undefined
  const fetch: typeof globalThis.fetch = async input => {
    if (!reply) throw new Failure('unreachable', 'nobody answers')
    const url = input instanceof Request ? input.url : String(input)
    const isApp = url.endsWith('/app')
    heard.push({ sense: reply.sense, atMs: clock.monotonic() })
    const good = JSON.stringify(isApp ? appBody() : [{ ...installationBody(7), repository_selection: 'all' }])
    const headers = new Headers({ 'content-type': 'application/json', date: new Date(clock.trueNow()).toUTCString() })
    if (reply.genuine) headers.set('x-github-request-id', 'C0DE:1')
    return new Response(reply.body || (reply.status === 200 ? good : null), { status: reply.status, headers })
  }
  const store = openMemoryStore(disk)
  const events = createEvents({ clock, log })
  const audit = createAuditWriter({ auditStore: openMemoryAudit(disk), clock, log })
  const githubClock = createGitHubClock({ clock, offsetMs: 0, onChange() {} })
  const settings = () =>
    ({ apiUrl: 'https://api.github.com', apiVersion: '2026-03-10', statelessTokens: 'default' }) as const
  const github = createGitHub({ outbound: { fetch }, clock, githubClock, settings, log, userAgent: 'test' })
  const connectionState = createConnectionState({ store, events, audit, githubUrl: () => 'https://github.com' })
  const link = createAppLink({ github, store, clock, readKey: readPrivateKey })
  const refresh = () => ({ beforeExpiryMs: 0, settleMs: 0 })
  const shared = { store, link, connectionState, audit, events, clock, log }
  const tokens = createTokens({ ...shared, githubClock, settings: refresh, random: () => 0, takeMint() {} })
  const drift = createDrift({ ...shared, tokens })
  return {
    clock,
    drift,
    heard,
    say: (next: Reply | undefined) => void (reply = next),
    kind: () => connectionState.read().connection.kind,
  }
}

/** What was heard last of GitHub's own words: how often the same without another, and over which time. */
const lastWords = (heard: readonly { sense: Sense; atMs: number }[]) => {
  const words = heard.filter(({ sense }) => sense !== 'nothing')
  const last = words.at(-1)
  const from = words.findLastIndex(({ sense }) => sense !== last?.sense) + 1
  const run = words.slice(from)
  return { sense: last?.sense, count: run.length, overMs: (last?.atMs ?? 0) - (run[0]?.atMs ?? 0) }
}

const step = fc.record({
  reply: fc.option(fc.nat(replies.length - 1), { freq: 12 }),
  times: fc.integer({ min: 1, max: 4 }),
  ms: fc.oneof(fc.constantFrom(0, 1, 16_000, 60_000), fc.nat(20_000)),
})

test('app-deleted and key-rejected are entered by three of GitHub’s own words over half a minute, and by nothing less', async t => {
  const entered = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async steps => {
      const subject = createSubject()
      let before = subject.kind()
      const observe = (): void => {
        const now = subject.kind()
        if (now !== before && (now === 'app-deleted' || now === 'key-rejected')) {
          const { sense, count, overMs } = lastWords(subject.heard)
          t.is(sense, now === 'app-deleted' ? 'app' : 'key')
          t.true(count >= 3, `${count} times`)
          t.true(overMs >= 30_000, `over ${overMs} ms`)
          entered.set(now, (entered.get(now) ?? 0) + 1)
        }
        before = now
      }
      for (const { reply, times, ms } of steps) {
        subject.say(reply === null ? undefined : replies[reply])
        for (let n = 0; n < times; n += 1) {
          await subject.drift.check()
          observe()
          await subject.clock.advance(ms)
          // Timers ask as well, and their answers take a few turns.
          for (let turns = 0; turns < 8; turns += 1) await settle()
          observe()
        }
      }
    }),
    { numRuns: 500 },
  )
  t.log(Object.fromEntries(entered))
})

for (const [sense, state] of [
  ['app', 'app-deleted'],
  ['key', 'key-rejected'],
] as const) {
  test(`so many words do make it ${state}, and one good answer ends it`, async t => {
    const { drift, clock, say, kind } = createSubject()
    say(genuine.find(one => one.sense === sense))
    await drift.check()
    await clock.advance(15_500)
    await drift.check()
    t.is(kind(), 'connected')
    await clock.advance(15_500)
    await drift.check()
    t.is(kind(), state)
    say(genuine.find(one => one.sense === 'good'))
    await drift.check()
    t.is(kind(), 'connected')
  })
}

test('strangers and outages, for hours, change nothing', async t => {
  const { drift, clock, say, kind } = createSubject()
  for (const reply of replies.filter(one => one.sense === 'nothing')) {
    say(reply)
    for (let n = 0; n < 5; n += 1) {
      await drift.check()
      await clock.advance(60_000)
      t.is(kind(), 'connected', `${reply.status} ${reply.body.slice(0, 60)}`)
    }
  }
})
