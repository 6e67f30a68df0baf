// What GitHub does to a connection, one thing at a time: told everywhere with since when, what it means and what to do, and over by itself.

import { Agent } from 'node:http'
import { join } from 'node:path'
import { userInfo } from 'node:os'
import test, { type ExecutionContext } from 'ava'
import { z } from 'zod'
import { createClient } from '../../src/protocol/client.ts'
import type { EventBody, Status } from '../../src/protocol/wire.ts'
import { ghconnect } from '../support/probes.ts'
import { statusOf } from '../support/proxied-appliance.ts'
import { until } from '../support/processes.ts'
import { callUnix } from '../support/unix-http.ts'
import { type TimeTravel, travel } from '../support/time-machine.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND

const toml = `[[profiles]]
name = "test"
installation = "octo-org"
permissions = { contents = "read", issues = "write" }
allow = { users = ["${userInfo().username}"] }
`

const ids = async ({ appliance }: TimeTravel): Promise<{ app: number; installation: number }> => {
  const { app, installations } = await statusOf(appliance)
  return { app: app?.id ?? 0, installation: installations[0]?.id ?? 0 }
}

/** Rounds through daemon and sandbox in a row in which no call was made: time that jumps over one would have it fail. */
const QUIET_ROUNDS = 3

/** What the daemon does by itself: the heartbeats of that time, each with its calls. */
const letPass = async ({ time, appliance, control }: TimeTravel, ms: number, step = MINUTE): Promise<void> => {
  let seen = 0
  const countNew = async (): Promise<number> => {
    const calls = z.array(z.object({ sequence: z.int() })).parse(await control('GET', `log?since=${seen}`))
    seen = calls.at(-1)?.sequence ?? seen
    return calls.length
  }
  await countNew()
  for (let gone = 0; gone < ms; gone += step) {
    time.advance(step)
    for (let quiet = 0; quiet < QUIET_ROUNDS; ) {
      // On a connection of its own: one that is kept alive ends when time jumps.
      await callUnix(join(appliance.runtime, 'token.sock'), { method: 'GET', path: '/livez', agent: new Agent() })
      // A write to the disk may lie between two calls.
      await new Promise(pause => setTimeout(pause, 15))
      quiet = (await countNew()) === 0 ? quiet + 1 : 0
    }
  }
}

const listen = ({ appliance }: TimeTravel): { heard: EventBody[]; close(): void } => {
  const heard: EventBody[] = []
  const { close } = createClient(join(appliance.runtime, 'admin.sock')).subscribe(event => heard.push(event))
  return { heard, close }
}

type Trouble = {
  readonly state: string
  readonly name: string
  readonly put: (world: TimeTravel) => Promise<unknown>
  readonly lift: (world: TimeTravel) => Promise<unknown>
  readonly means: RegExp
  readonly next: RegExp
  /** Whether tokens at hand are served meanwhile. */
  readonly serves: boolean
}

const onInstallation = async (world: TimeTravel, action: string): Promise<unknown> =>
  world.control('POST', `installations/${(await ids(world)).installation}/${action}`)
const onApp = async (world: TimeTravel, action: string, body?: unknown): Promise<unknown> =>
  world.control('POST', `apps/${(await ids(world)).app}/${action}`, body)
const fault = (body: object) => ({
  put: ({ control }: TimeTravel) => control('POST', 'faults', body),
  lift: ({ control }: TimeTravel) => control('DELETE', 'faults'),
})

const TROUBLES: readonly Trouble[] = [
  {
    state: 'suspended',
    name: 'suspended, and unsuspended',
    put: world => onInstallation(world, 'suspend'),
    lift: world => onInstallation(world, 'unsuspend'),
    means: /suspended: GitHub says so for octo-org/,
    next: /owner of octo-org unsuspend/,
    serves: true,
  },
  {
    state: 'uninstalled',
    name: 'uninstalled, and installed again under a new id',
    put: world => onInstallation(world, 'uninstall'),
    lift: async world => world.control('POST', 'installations', { app: (await ids(world)).app, account: 'octo-org' }),
    means: /no longer installed/,
    next: /\/installations\/new/,
    serves: false,
  },
  {
    state: 'blocked',
    name: 'kept out by the IP allow list',
    ...fault({ kind: 'ip-block' }),
    means: /^The IP allow list of octo-org/,
    next: /egress address/,
    serves: true,
  },
  {
    state: 'blocked',
    name: 'kept out by a policy of the account',
    ...fault({ kind: 'account-policy' }),
    means: /^A policy of octo-org keeps the App out: .*SAML/,
    next: /single sign-on/,
    serves: true,
  },
  {
    state: 'key-rejected',
    name: 'its key revoked, and given back',
    put: world => onApp(world, 'revoke-keys'),
    lift: world => onApp(world, 'restore'),
    means: /rejects the private key: .*must generate a public key/,
    next: /keys add FILE/,
    serves: true,
  },
  {
    state: 'app-deleted',
    name: 'its App deleted, and given back',
    put: world => onApp(world, 'delete'),
    lift: world => onApp(world, 'restore'),
    means: /does not know the App any more: .*Integration not found.*request /,
    next: /disable --local/,
    serves: false,
  },
]

const assertExplained = (
  t: ExecutionContext,
  { means, next }: Trouble,
  told: { meaning: string; next: string },
): void => {
  t.regex(told.meaning, means)
  t.regex(told.next, next)
}

const auditOf = async ({ appliance }: TimeTravel): Promise<string> =>
  (await appliance.call('GET', '/v1/audit?limit=1000')).text

/** Status, readiness, metrics, command line, events, audit and journal say the same. */
const assertTold = async (
  t: ExecutionContext,
  world: TimeTravel,
  trouble: Trouble,
  heard: EventBody[],
): Promise<void> => {
  const { appliance, time } = world
  const { state } = trouble
  const status: Status = await statusOf(appliance)
  t.is(status.state, state)
  assertExplained(t, trouble, status)
  const sinceMs = Date.parse(status.since)
  t.true(sinceMs <= time.nowMs() && sinceMs > time.nowMs() - 10 * MINUTE, status.since)

  const ready = await appliance.ask('GET', '/readyz')
  t.is(ready.status, 503)
  t.true(ready.text.includes(`${state} since ${status.since}: `), ready.text)
  const { text: metrics } = await appliance.call('GET', '/metrics')
  t.true(metrics.includes(`ghconnect_state{state="${state}"} 1`))
  t.true(metrics.includes('ghconnect_state{state="connected"} 0'))

  await until('the event', () => heard.some(event => event.event === 'state' && event.state === state))
  const event = heard.find(one => one.event === 'state' && one.state === state)
  assertExplained(t, trouble, { meaning: event?.detail ?? '', next: event?.next ?? '' })
  t.true((await auditOf(world)).includes(`"event":"connection.${state}"`))
  const line = appliance
    .log()
    .split('\n')
    .findLast(one => one.includes('"message":"state"') && one.includes(state))
  t.regex(line ?? '', trouble.next, 'the journal')
  const { code, output } = await ghconnect('status', '--socket', appliance.runtime)
  t.is(code, 0)
  t.regex(output, new RegExp(`^State +${state} since `, 'm'))
}

test.serial('each trouble is told everywhere, serves what it can, and is over by itself', async t => {
  const world = await travel({ toml })
  t.teardown(() => world.close())
  const { appliance } = world
  const pid = appliance.pid()
  for (const trouble of TROUBLES) {
    // So that none of them seems to come and go.
    await letPass(world, 32 * MINUTE, 4 * MINUTE)
    t.is((await appliance.ask('POST', '/v1/tokens', {})).status, 200, trouble.name)
    const { heard, close } = listen(world)
    await until('the first event', () => heard.length > 0)
    await trouble.put(world)
    // What is asked of GitHub for a scope that is not at hand finds it out, or the next beat does.
    await appliance.ask('POST', '/v1/tokens', { repositories: ['docs'] })
    await letPass(world, 6 * MINUTE, 20 * SECOND)
    await appliance.until(trouble.state)
    await assertTold(t, world, trouble, heard)
    const asked = await appliance.ask('POST', '/v1/tokens', {})
    t.is(asked.status === 200, trouble.serves, `${trouble.name}: ${asked.text}`)
    close()

    await trouble.lift(world)
    await letPass(world, 6 * MINUTE, 20 * SECOND)
    await appliance.until('connected')
    t.is((await appliance.ask('POST', '/v1/tokens', { repositories: ['api'] })).status, 200, trouble.name)
    t.is((await appliance.ask('GET', '/readyz')).status, 200)
  }
  t.is(appliance.pid(), pid)
})

const changesIn = (heard: readonly EventBody[]): string[] =>
  heard.filter(({ event }) => event === 'change').map(({ detail = '' }) => detail)

const warningOf = async ({ appliance }: TimeTravel, code: string) =>
  (await statusOf(appliance)).warnings.find(warning => warning.code === code)

test.serial('what changes without harm is followed and told: names, owners, permissions, repositories', async t => {
  const world = await travel({ toml })
  t.teardown(() => world.close())
  const { appliance, control } = world
  const { app, installation } = await ids(world)
  const { heard, close } = listen(world)
  t.teardown(close)
  const refresh = async (): Promise<void> => {
    t.is((await appliance.call('POST', '/v1/refresh')).status, 200)
  }
  const told = async (detail: string): Promise<void> => {
    await until(`"${detail}" among ${JSON.stringify(changesIn(heard))}`, () =>
      changesIn(heard).some(one => one.includes(detail)),
    )
    t.true((await auditOf(world)).includes(JSON.stringify(detail).slice(1, -1)), detail)
  }
  await refresh()

  await control('POST', `apps/${app}/permissions`, {
    permissions: { metadata: 'read', contents: 'read', issues: 'write', actions: 'read' },
  })
  await refresh()
  await told('the App asks for other permissions: actions: none → read')
  const pending = await warningOf(world, 'permissions-pending')
  t.regex(pending?.detail ?? '', /octo-org has not approved .*: actions: read\./)
  t.true(pending?.next.includes(`/organizations/octo-org/settings/installations/${installation}`))
  const shown = await ghconnect('status', '--socket', appliance.runtime)
  t.regex(shown.output, /^Warning +permissions-pending: octo-org has not approved/m)
  await control('POST', `installations/${installation}/approve`)
  await refresh()
  await told('octo-org: actions: none → read')
  t.is(await warningOf(world, 'permissions-pending'), undefined)

  const both = { repositories: ['web', 'api'] }
  t.is((await appliance.ask('POST', '/v1/tokens', both)).status, 200)
  await control('POST', `installations/${installation}/repositories`, { repositories: ['web', 'docs'] })
  await refresh()
  await told('octo-org: some repositories, no longer all of them')
  const refused = await appliance.ask('POST', '/v1/tokens', both)
  t.is(refused.status, 422)
  t.like(refused.body, { type: 'urn:ghconnect:problem:repository-not-accessible' })
  await control('POST', `installations/${installation}/repositories`, { repositories: ['web', 'docs', 'api'] })
  await letPass(world, 6 * MINUTE)
  await told('octo-org: repositories added api')
  t.is((await appliance.ask('POST', '/v1/tokens', both)).status, 200)

  await control('POST', `apps/${app}/rename`, { name: 'Another Name' })
  await letPass(world, 16 * MINUTE)
  await told('the App appliance-test is named Another Name now')
  t.like(await statusOf(appliance), { app: { name: 'Another Name', slug: 'another-name' } })

  await control('POST', 'accounts/octo-org/rename', { login: 'hexa-org' })
  await letPass(world, 6 * MINUTE)
  await told('octo-org is named hexa-org now: renamed or transferred')
  const renamed = await statusOf(appliance)
  t.like(renamed, { state: 'connected', account: { login: 'hexa-org' } })
  t.regex((await warningOf(world, 'profile-unmatched'))?.detail ?? '', /profile test is for octo-org/)
  appliance.configure(toml.replace('octo-org', 'hexa-org'))
  appliance.signal('SIGHUP')
  await appliance.logged(/the configuration was read again/)
  t.is((await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })).status, 200)
  t.is(await warningOf(world, 'profile-unmatched'), undefined)

  await control('POST', `apps/${app}/transfer`, { owner: 'other-org' })
  await refresh()
  await told('the App belongs to other-org now')
  t.is((await statusOf(appliance)).state, 'connected')
})

test.serial(
  'a storm of 404s that ends, and a suspension that flaps, change little and leave nothing behind',
  async t => {
    const world = await travel({ toml })
    t.teardown(() => world.close())
    const { appliance, control } = world
    const states = async (): Promise<string[]> =>
      [...(await auditOf(world)).matchAll(/"event":"connection\.(suspended|uninstalled|app-deleted|connected)"/g)].map(
        ([, state = '']) => state,
      )
    const before = (await states()).length
    t.is((await appliance.ask('POST', '/v1/tokens', {})).status, 200)
    await control('POST', 'faults', { kind: 'not-found-storm' })
    await letPass(world, 20 * MINUTE, 30 * SECOND)
    const during = await statusOf(appliance)
    t.is(during.state, 'connected')
    t.is(during.last_failure?.code, 'github-unexpected')
    t.is((await appliance.ask('POST', '/v1/tokens', {})).status, 200, 'what is at hand is served')
    await control('DELETE', 'faults')
    await control('POST', 'faults', { kind: 'not-found-storm', message: 'Integration not found' })
    await letPass(world, 4 * MINUTE, 10 * SECOND)
    t.is((await statusOf(appliance)).state, 'connected', 'no token proves it')
    await control('DELETE', 'faults')
    t.like((await appliance.call('POST', '/v1/refresh')).body, { failed: [] })
    t.is((await statusOf(appliance)).last_failure, undefined)
    t.is((await states()).length, before)

    const { installation } = await ids(world)
    for (let n = 0; n < 20; n += 1) {
      await control('POST', `installations/${installation}/${n % 2 === 0 ? 'suspend' : 'unsuspend'}`)
      await letPass(world, 5 * MINUTE)
    }
    const flapped = (await states()).length - before
    t.true(flapped > 0 && flapped <= 10, `${flapped} rows for 20 changes`)
    await control('POST', `installations/${installation}/unsuspend`)
    t.like((await appliance.call('POST', '/v1/refresh')).body, { failed: [] })
    t.like(await statusOf(appliance), { state: 'connected', warnings: [{ code: 'no-recovery-key' }] })
  },
)
