// The whole status: each field an administrator reads, each warning with what to do, and the states that hide the connection.

import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { isoTime, parseWith, Status } from '../../src/protocol/wire.ts'
import type { Membership } from '../../src/core/connection/membership.ts'
import { createStatusReport } from '../../src/core/status.ts'
import type { BundleHeader } from '../../src/core/snapshot/bundle.ts'
import { failureOf } from '../support/fakes.ts'
import { connectedRig, HERE, NO_RECOVERY, NO_SNAPSHOTS } from '../support/operations-rig.ts'

const MINUTE = 60_000

type Deps = Parameters<typeof createStatusReport>[0]

/** Status over a connected rig, with some of what it is told. */
const reporting = async (more: Partial<Deps> = {}) => {
  const all = await connectedRig()
  const { rig } = all
  const report = (with_: Partial<Deps> = more) =>
    createStatusReport({
      ...rig,
      policy: () => ({ profiles: [] }),
      recovery: { ...NO_RECOVERY, recipients: () => ['age1one'] },
      snapshots: NO_SNAPSHOTS,
      settings: () => ({
        githubUrl: 'https://github.com',
        apiUrl: 'https://api.github.com',
        beforeExpiryMs: 10 * MINUTE,
      }),
      proxyFor: () => undefined,
      featureWarnings: () => [],
      doubts: () => ({ settings: [], units: [] }),
      version: '1.2.3',
      ...with_,
    })
  return { ...all, report, status: report() }
}
const warningsOf = async (more: Partial<Deps>) => (await reporting(more)).status.whole().warnings

/** A bundle that waits for its key: nothing else of it is asked here. */
const waitingFor = (header: { account?: { type: 'organization'; login: string }; hostname: string }) => ({
  ...NO_SNAPSHOTS,
  findWaiting: () => header as BundleHeader,
})
const seatThat = (more: Partial<Membership>): (() => Membership) => {
  const membership: Partial<Membership> = {
    whyNotServing: () => undefined,
    isHome: () => false,
    warnings: () => [],
    role: () => 'follower',
    ...more,
  }
  return () => membership as Membership
}

test('status holds every figure of a connection', async t => {
  const { status, report, app, pem, installation, clock, tokens, world, link, connectionState } = await reporting()
  const sinceMs = clock.now()
  await clock.advance(5 * MINUTE)
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  const mintedMs = clock.now()
  await clock.advance(MINUTE)
  world.refuse('getApp', 'proxy-refused')
  await failureOf(link.getApp())
  const failedMs = clock.now()
  await clock.advance(MINUTE)
  const whole = parseWith(Status, report({ proxyFor: url => `proxy of ${url}` }).whole())
  t.deepEqual(whole, {
    state: 'connected',
    since: isoTime(sinceMs),
    meaning: `Connected to Octo-Org as ${app.name}.`,
    next: 'Allow CONNECT to the GitHub hosts on port 443 in the proxy.',
    version: '1.2.3',
    account: { type: 'organization', login: 'Octo-Org' },
    app: { id: app.id, client_id: app.clientId, slug: app.slug, name: app.name, html_url: app.htmlUrl },
    keys: [{ fingerprint: pem, added_at: isoTime(sinceMs) }],
    installations: [
      {
        id: installation.id,
        account: installation.account,
        repository_selection: 'all',
        permissions: installation.permissions,
        html_url: installation.htmlUrl,
      },
    ],
    tokens: {
      live: 2,
      oldest_expires_at: isoTime(sinceMs + 60 * MINUTE),
      next_refresh_at: isoTime(sinceMs + 50 * MINUTE),
      last_minted_at: isoTime(mintedMs),
    },
    last_failure: {
      code: 'proxy-refused',
      detail: 'refused: proxy-refused',
      next: 'Allow CONNECT to the GitHub hosts on port 443 in the proxy.',
      at: isoTime(failedMs),
    },
    proxy: 'proxy of https://api.github.com',
    clock_known: true,
    clock_offset_seconds: 0,
    generation: connectionState.read().generation,
    role: 'single',
    hostname: 'ghe.example.com',
    recovery_recipients: ['age1one'],
    signer: 'none',
    warnings: [
      {
        code: 'proxy-refused',
        detail: 'The web proxy refuses the way to GitHub: refused: proxy-refused',
        next: 'Allow CONNECT to the GitHub hosts on port 443 in the proxy.',
      },
    ],
  })
  world.suspend(installation.id, true)
  connectionState.transition(connectionState.read().connection, {
    installations: [{ ...installation, suspendedAtMs: sinceMs }],
  })
  t.is(status.whole().installations[0]?.suspended_at, isoTime(sinceMs))
  const before = { ...connectionState.read(), connection: { kind: 'disconnected', sinceMs: 0 } } as const
  t.is(status.whole(before).state, 'disconnected', 'of a record that is to take its place')
  t.is(status.whole(before).account, undefined)
})

test('what the daemon was told by its owner is a warning each, with what to do', async t => {
  t.deepEqual(
    await warningsOf({
      recovery: NO_RECOVERY,
      refused: () => 'line 3',
      pageFault: () => new Failure('io', 'port 8470 is taken', { next: 'Free it.' }),
      featureWarnings: () => [{ code: 'feature-permissions', detail: 'D.', next: 'N.' }],
      doubts: () => ({
        settings: [{ said: 'A key stands twice', next: 'Take one out.' }],
        units: [{ said: 'x.service is unknown', next: 'Correct it.' }],
      }),
      snapshots: waitingFor({ hostname: 'old' }),
      membership: seatThat({ isHome: () => true, warnings: () => [{ code: 'cluster', detail: 'C.', next: 'M.' }] }),
      revokeAll: {
        findRemaining: () => ({ tokens: 2, endsAtMs: 0, failure: new Failure('dns', 'no address') }),
      },
    }),
    [
      {
        code: 'tokens-unrevoked',
        detail:
          'Revoked tokens that GitHub still accepts: 2, until 1970-01-01T00:00:00.000Z at most: The name of the GitHub host cannot be resolved: no address.',
        next: 'They are tried again with each refresh. Correct the nameserver in /etc/resolv.conf.',
      },
      {
        code: 'no-recovery-key',
        detail:
          'No recovery key exists: snapshots are unencrypted, and losing the store key means losing the connection.',
        next: 'Run `ghconnect recovery-key create` and keep what it prints away from this machine.',
      },
      {
        code: 'config-refused',
        detail: 'The changed configuration was refused, and the previous settings still apply: line 3',
        next: 'Correct the file, then run `ghconnect reload`.',
      },
      { code: 'io', detail: 'There is no settings page: port 8470 is taken.', next: 'Free it.' },
      { code: 'feature-permissions', detail: 'D.', next: 'N.' },
      { code: 'config-doubt', detail: 'A key stands twice.', next: 'Take one out.' },
      { code: 'unknown-unit', detail: 'x.service is unknown.', next: 'Correct it.' },
      {
        code: 'waiting-bundle',
        detail: 'A sealed bundle waits for its identity; it would replace the connection.',
        next: 'Run `ghconnect unlock --identity FILE`.',
      },
      { code: 'cluster', detail: 'C.', next: 'M.' },
    ],
  )
  t.deepEqual(
    await warningsOf({ revokeAll: { findRemaining: () => ({ tokens: 1, endsAtMs: 0, failure: undefined }) } }),
    [
      {
        code: 'tokens-unrevoked',
        detail: 'Revoked tokens that GitHub still accepts: 1, until 1970-01-01T00:00:00.000Z at most.',
        next: 'They are tried again with each refresh.',
      },
    ],
  )
})

test('a clock that is half a minute off is a warning, in both directions, and less is none', async t => {
  const { status, githubClock, clock } = await reporting()
  const told = (offsetMs: number): string | undefined => {
    githubClock.learn(new Date(clock.now() + offsetMs).toUTCString(), clock.now())
    return status.whole().warnings.find(({ code }) => code === 'clock')?.detail
  }
  t.is(told(28_000), undefined)
  t.is(told(40_000), "This machine's clock is 41 s behind GitHub's.")
  t.is(status.whole().clock_offset_seconds, 40.5)
  t.regex(status.whole().next, /^Set the clock: `timedatectl set-ntp true`/)
  t.is(told(-40_000), "This machine's clock is 39 s ahead of GitHub's.")
})

test('a machine with one of its two marks changed is a warning that says which', async t => {
  const movedTo = async (machineId: string, hostname: string, more: Partial<Deps> = {}) =>
    (await warningsOf({ host: () => ({ machineId, hostname }), ...more })).find(({ code }) => code === 'moved')
  t.is(await movedTo(HERE.machineId, HERE.hostname), undefined)
  t.deepEqual(await movedTo(HERE.machineId, 'new'), {
    code: 'moved',
    detail: 'Enabled on ghe.example.com; this machine is new, with the same machine-id.',
    next: 'If that is as it should be, run `ghconnect adopt`.',
  })
  t.regex((await movedTo('machine-2', HERE.hostname))?.detail ?? '', /ghe\.example\.com, with another machine-id\.$/)
  t.is(await movedTo('machine-2', HERE.hostname, { membership: seatThat({ isHome: () => true }) }), undefined)
})

test('no recovery key is missed where nothing could be lost any more', async t => {
  const { status, connectionState, clock } = await reporting({ recovery: NO_RECOVERY })
  const codes = () => status.whole().warnings.map(({ code }) => code)
  t.deepEqual(codes(), ['no-recovery-key'])
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({ ...connection, kind: 'disconnecting', step: 'revoke', deadlineMs: clock.now() })
  t.deepEqual(codes(), [])
})

test('a sealed bundle that waits is the state of a machine without a connection, and names whose it is', async t => {
  const account = { type: 'organization', login: 'Octo-Org' } as const
  const { report, rig, connectionState, clock } = await reporting()
  connectionState.transition({ kind: 'disconnected', sinceMs: clock.now() })
  const waiting = report({ snapshots: waitingFor({ account, hostname: 'old' }) })
  t.deepEqual(waiting.brief(), {
    state: 'awaiting-unlock',
    since: isoTime(clock.now()),
    meaning: 'A sealed bundle of Octo-Org was restored without its recovery key.',
    next: 'Run `ghconnect unlock --identity FILE` with the recovery key.',
    version: '1.2.3',
  })
  t.deepEqual(waiting.whole().warnings, [])
  t.regex(report({ snapshots: waitingFor({ hostname: 'old' }) }).brief().meaning, /^A sealed bundle of old /)
  t.is(rig.kind(), 'disconnected')
})

test('a node that was cut off for too long says so in place of its state; why else it serves nothing is a reason alone', async t => {
  const isolated = new Failure('isolated', 'no contact since noon')
  const { report, connectionState } = await reporting()
  const cut = report({ membership: seatThat({ whyNotServing: () => isolated }) })
  t.deepEqual(cut.brief(), {
    state: 'isolated',
    since: isoTime(connectionState.read().connection.sinceMs),
    meaning: 'This node was cut off from its cluster for too long: no contact since noon.',
    next: isolated.entry.next,
    version: '1.2.3',
  })
  t.is(cut.whole().role, 'follower')
  t.deepEqual(cut.reasonsNotReady(), ['isolated: no contact since noon'])
  const replica = report({ membership: seatThat({ whyNotServing: () => new Failure('replica', 'it calls nobody') }) })
  t.is(replica.brief().state, 'connected')
  t.deepEqual(replica.reasonsNotReady(), ['replica: it calls nobody'])
})

test('an ordinary user learns that something is amiss in a connection that works, and nothing else of it', async t => {
  const { report, connectionState, clock } = await reporting()
  const secretive = report({ audit: { findTrouble: () => new Failure('disk-full', 'audit.db') } })
  t.is(secretive.brief().next, 'Ask an administrator: `sudo ghconnect status` says what is wrong.')
  t.deepEqual(report().reasonsNotReady(), [])
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({ ...connection, kind: 'suspended', sinceMs: clock.now(), evidence: 'e' })
  t.regex(secretive.brief().next, /^Let an owner of Octo-Org unsuspend/)
  t.is(secretive.standing().next, new Failure('disk-full', '').next)
  t.regex(report().reasonsNotReady()[0] ?? '', /^suspended since .*Z: The installation is suspended: e\. Let an owner/)
})
