// One fault of GitHub's or of the machine's at a time: the doctor names its layer and no other, status says so, and one refresh after it is gone all is well.

import { chmodSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { userInfo } from 'node:os'
import test from 'ava'
import { type Appliance, createAppliance } from '../support/appliance.ts'
import {
  assertAllWell,
  assertNames,
  assertTold,
  checkOf,
  exportSnapshot,
  type Naming,
  recoveryToml,
  refresh,
  type Told,
} from '../support/checking.ts'
import { reload } from '../support/proxied-appliance.ts'
import { travel } from '../support/time-machine.ts'

type Fault = {
  readonly name: string
  readonly put: (appliance: Appliance) => unknown
  readonly lift: (appliance: Appliance) => unknown
  readonly names: Naming
  readonly told: Told
}

const PROFILE = `[[profiles]]
name = "test"
installation = "octo-org"
repositories = ["web", "api"]
permissions = { contents = "read", issues = "write" }
allow = { users = ["${userInfo().username}"] }
`
const toml = PROFILE + (await recoveryToml())

const appliance = await createAppliance({ toml })
test.before(async t => {
  await appliance.start()
  await appliance.enable()
  await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })
  await exportSnapshot(t, appliance)
})
test.after.always(() => appliance.close())

const ids = async (): Promise<{ app: number; installation: number }> => {
  const { body } = await appliance.call('GET', '/v1/status')
  const installations: unknown = body['installations']
  const [first]: unknown[] = Array.isArray(installations) ? installations : []
  return { app: Number(Reflect.get(Object(body['app']), 'id')), installation: Number(Reflect.get(Object(first), 'id')) }
}

const fault = (body: Readonly<Record<string, unknown>>) => ({
  put: () => appliance.control('POST', 'faults', body),
  lift: () => appliance.control('DELETE', 'faults'),
})
const onInstallation = async (action: string, body?: unknown): Promise<unknown> =>
  appliance.control('POST', `installations/${(await ids()).installation}/${action}`, body)
const onApp = async (action: string): Promise<unknown> =>
  appliance.control('POST', `apps/${(await ids()).app}/${action}`)
const setClock = (seconds: number) => () => appliance.control('POST', 'clock', { offset_ms: seconds * 1_000 })
const keyFile = join(appliance.folder, 'store.key')
const GRANTED = { metadata: 'read', contents: 'read', issues: 'write' }

const FAULTS: readonly Fault[] = [
  {
    name: 'an installation that is suspended',
    put: () => onInstallation('suspend'),
    lift: () => onInstallation('unsuspend'),
    names: { layer: 'installation', verdict: 'failed', subject: 'octo-org', code: 'suspended' },
    told: { state: 'suspended' },
  },
  {
    name: 'an App that was uninstalled, and is installed again under another id',
    put: () => onInstallation('uninstall'),
    lift: async () =>
      appliance.control('POST', 'installations', { app: (await ids()).app, account: 'octo-org', repositories: 'all' }),
    names: { layer: 'installation', verdict: 'failed', code: 'installation-not-found' },
    told: { state: 'uninstalled' },
  },
  {
    name: 'an App that GitHub does not know',
    put: () => onApp('delete'),
    lift: () => onApp('restore'),
    names: { layer: 'app', verdict: 'failed', code: 'app-not-found' },
    told: { failure: 'app-not-found' },
  },
  {
    name: 'a key that GitHub rejects',
    put: () => onApp('revoke-keys'),
    lift: () => onApp('restore'),
    names: { layer: 'key', verdict: 'failed', subject: 'SHA256:', code: 'key-rejected' },
    told: { failure: 'key-rejected' },
  },
  {
    name: 'an IP allow list',
    ...fault({ kind: 'ip-block' }),
    names: { layer: 'egress', verdict: 'failed', subject: 'octo-org', code: 'ip-blocked' },
    told: { state: 'blocked' },
  },
  {
    name: 'an outage',
    ...fault({ kind: 'outage' }),
    names: { layer: 'host', verdict: 'failed', code: 'github-outage' },
    told: { state: 'connected', failure: 'github-outage' },
  },
  {
    name: 'an outage of the calls of Apps alone',
    ...fault({ kind: 'outage', path: '/app' }),
    names: { layer: 'host', verdict: 'failed', code: 'github-outage' },
    told: { state: 'connected', failure: 'github-outage' },
  },
  {
    name: 'GitHub answering in HTML',
    ...fault({ kind: 'html-503' }),
    names: { layer: 'host', verdict: 'failed', code: 'github-outage' },
    told: { state: 'connected', failure: 'github-outage' },
  },
  {
    name: 'a captive portal that answers 200 HTML for everything',
    ...fault({ kind: 'no-request-id-portal' }),
    names: { layer: 'host', verdict: 'failed', code: 'portal', says: /without GitHub's request id/ },
    told: { state: 'connected', failure: 'portal' },
  },
  {
    name: 'a storm of 404',
    ...fault({ kind: 'not-found-storm' }),
    names: { layer: 'host', verdict: 'failed', code: 'github-unexpected', says: /404: Not Found/ },
    told: { state: 'connected', failure: 'installation-not-found' },
  },
  {
    name: 'connections that break',
    ...fault({ kind: 'drop' }),
    names: { layer: 'host', verdict: 'failed', code: 'unreachable' },
    told: { state: 'connected', failure: 'unreachable' },
  },
  {
    name: 'a clock that is five minutes behind',
    put: setClock(300),
    lift: setClock(0),
    names: { layer: 'clock', verdict: 'warning', says: /(299|300|301) s behind/ },
    told: { state: 'connected', warning: 'clock' },
  },
  {
    name: 'a clock that is five minutes ahead',
    put: setClock(-300),
    lift: setClock(0),
    names: { layer: 'clock', verdict: 'warning', says: /(299|300|301) s ahead/ },
    told: { state: 'connected', warning: 'clock' },
  },
  {
    name: 'permissions that were taken away',
    put: () => onInstallation('permissions', { permissions: { metadata: 'read', contents: 'read' } }),
    lift: () => onInstallation('permissions', { permissions: GRANTED }),
    names: {
      layer: 'permissions',
      verdict: 'failed',
      subject: 'octo-org',
      says: /Profile test asks for issues: write/,
    },
    told: { state: 'connected', warning: 'permissions-pending' },
  },
  {
    name: 'a repository that was taken out of the installation',
    put: () => onInstallation('repositories', { repositories: ['web', 'docs'] }),
    lift: () => onInstallation('repositories', { repositories: 'all' }),
    names: { layer: 'repositories', verdict: 'failed', subject: 'octo-org', says: /profile test: .*: api\.$/i },
    told: { state: 'connected' },
  },
  {
    name: 'a store key that is gone',
    put: () => renameSync(keyFile, `${keyFile}.away`),
    lift: () => renameSync(`${keyFile}.away`, keyFile),
    names: { layer: 'store', verdict: 'failed', code: 'locked' },
    told: { state: 'connected' },
  },
  {
    name: 'a store key that others may read',
    put: () => chmodSync(keyFile, 0o644),
    lift: () => chmodSync(keyFile, 0o600),
    names: { layer: 'store', verdict: 'failed', code: 'configuration' },
    told: { state: 'connected' },
  },
  {
    name: 'a configuration that was refused',
    async put() {
      appliance.configure(`${toml}[refresh]\nschedule = "now and then"\n`)
      appliance.signal('SIGHUP')
      await appliance.logged(/the old configuration stays/)
    },
    lift: () => reload(appliance, toml),
    names: { layer: 'configuration', verdict: 'failed', code: 'configuration', says: /schedule/ },
    told: { state: 'connected' },
  },
]

/** What GitHub said is kept to by whatever the daemon does by itself: gone is a limit when its time is over, or when somebody asks. */
const LIMITS = [
  {
    name: 'a primary rate limit',
    put: { path: 'faults', body: { kind: 'rate-limit', reset_seconds: 900 } },
    names: { layer: 'quota', verdict: 'failed', code: 'quota' },
    told: { state: 'connected', failure: 'quota' },
    restMs: 15 * 60_000,
  },
  {
    name: 'a Retry-After of a day',
    put: { path: 'faults', body: { kind: 'secondary-rate-limit', retry_after: 86_400 } },
    names: { layer: 'quota', verdict: 'failed', code: 'quota' },
    told: { state: 'connected', failure: 'quota' },
    restMs: 24 * 3_600_000,
  },
  {
    name: 'a low quota',
    put: { path: 'settings', body: { hourly_quota: 60 } },
    names: { layer: 'quota', verdict: 'warning', subject: 'octo-org', says: /of 60 requests are left/ },
    told: { state: 'connected' },
    restMs: undefined,
  },
] as const

/** As `status` says it. */
const restEndOf = (warnings: unknown): number => {
  const [, until = ''] = /"code":"quota-rest","detail":"[^"]* until (\S+Z),/.exec(JSON.stringify(warnings)) ?? []
  return Date.parse(until)
}

for (const { name, put, names, told, restMs } of LIMITS) {
  test.serial(name, async t => {
    const { appliance: limited, control, time, close } = await travel({ toml })
    t.teardown(close)
    await exportSnapshot(t, limited)
    await control('POST', put.path, put.body)
    await refresh(limited)
    assertNames(t, await checkOf(limited), names)
    await assertTold(t, limited, told)

    const { body } = await limited.call('GET', '/v1/status')
    await control('DELETE', 'faults')
    await control('POST', 'settings', { hourly_quota: 5_000 })
    const untilMs = restEndOf(body['warnings'])
    if (restMs !== undefined)
      t.true(Math.abs(untilMs - time.nowMs() - restMs) < 30_000, new Date(untilMs).toISOString())
    const refreshed = await refresh(limited)
    t.like(refreshed, { failed: [] }, JSON.stringify(refreshed))
    await assertAllWell(t, limited, name)
  })
}

for (const { name, put, lift, names, told } of FAULTS) {
  test.serial(name, async t => {
    const pid = appliance.pid()
    await put(appliance)
    try {
      await refresh(appliance)
      await assertTold(t, appliance, told)
      assertNames(t, await checkOf(appliance), names)
    } finally {
      await lift(appliance)
    }
    const refreshed = await refresh(appliance)
    t.like(refreshed, { failed: [] }, JSON.stringify(refreshed))
    await assertAllWell(t, appliance, name)
    t.is(appliance.pid(), pid)
  })
}
