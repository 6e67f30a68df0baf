// The bounds of what is kept: numbers and addresses at their ends are taken, beyond them refused or brought back.

import test from 'ava'
import {
  connectionSchema,
  generationSchema,
  grantedSchema,
  installationsSchema,
  isTokenLife,
  MAX_GENERATION,
  offsetSchema,
  scopeSchema,
  storedConnection,
  storedInstallations,
  storedTime,
  storedKey,
  storedTokenTimes,
  timeSchema,
} from '../../../src/core/store/records.ts'

const [EARLIEST, LATEST] = [Date.UTC(2020, 0), Date.UTC(2200, 0)]
const MOST_LIFE = 70 * 60_000

test('a time that is written lies between the years 2020 and 2200', t => {
  for (const [given, kept] of [
    [0, EARLIEST],
    [EARLIEST - 1, EARLIEST],
    [EARLIEST, EARLIEST],
    [EARLIEST + 1, EARLIEST + 1],
    [LATEST, LATEST],
    [LATEST + 1, LATEST],
    [Number.POSITIVE_INFINITY, LATEST],
  ] as const) {
    t.is(storedTime(given), kept)
    t.is(storedKey.shape.addedAtMs.parse(given), kept)
  }
  t.false(storedKey.shape.addedAtMs.safeParse('2026').success)
})

test('a time that is read may be of a clock that began in 1970, and of none before or after its bounds', t => {
  const accepted = (schema: typeof timeSchema, ...values: unknown[]) => values.map(one => schema.safeParse(one).success)
  t.deepEqual(accepted(timeSchema, -1, 0, LATEST, LATEST + 1, '0', null), [false, true, true, false, false, false])
  t.deepEqual(accepted(offsetSchema, -LATEST - 1, -LATEST, LATEST, LATEST + 1), [false, true, true, false])
  t.deepEqual(accepted(generationSchema, -1, 0, 1.5, MAX_GENERATION, MAX_GENERATION + 1), [
    false,
    true,
    false,
    true,
    false,
  ])
})

test('a token lives for 70 minutes at most, and within the times that there are', t => {
  const life = (mintedAtMs: number, expiresAtMs: number) => isTokenLife({ mintedAtMs, expiresAtMs })
  t.true(life(0, MOST_LIFE))
  t.false(life(0, MOST_LIFE + 1))
  t.true(life(5, 0), 'one that has ended already')
  t.false(life(-1, 0))
  t.false(life(0, -1))
  t.true(life(LATEST, LATEST))
  t.false(life(LATEST, LATEST + 1))
  t.false(life(LATEST + 1, LATEST))
  t.false(life(Number.NaN, 1))
  const written = (mintedAtMs: number, expiresAtMs: number) => storedTokenTimes({ mintedAtMs, expiresAtMs })
  t.deepEqual(written(5, MOST_LIFE + 5), { mintedAtMs: 5, expiresAtMs: MOST_LIFE + 5 })
  t.deepEqual(written(5, MOST_LIFE + 6), { mintedAtMs: 5, expiresAtMs: MOST_LIFE + 5 })
  t.deepEqual(written(-5, -5), { mintedAtMs: 0, expiresAtMs: 0 })
  t.deepEqual(written(LATEST + 1, LATEST + 1), { mintedAtMs: LATEST, expiresAtMs: LATEST })
})

const account = { type: 'organization', login: 'octo-org' } as const
const app = {
  id: 7,
  clientId: 'Iv7',
  slug: 'ghe',
  name: 'ghe',
  owner: account,
  htmlUrl: 'https://github.com/apps/ghe',
  permissions: { metadata: 'read' },
}
const connected = {
  kind: 'connected',
  sinceMs: EARLIEST,
  app,
  account,
  host: { machineId: 'm', hostname: 'h' },
  enabledAtMs: EARLIEST,
}
const installation = {
  id: 1,
  account,
  repositorySelection: 'all',
  permissions: { metadata: 'read' },
  htmlUrl: 'https://github.com/organizations/octo-org/settings/installations/1',
}

test('what is out of bounds is refused from a bundle, and repaired from the store where it decides nothing', t => {
  for (const [change, repaired] of [
    [{ sinceMs: LATEST + 1 }, { sinceMs: LATEST }],
    [{ enabledAtMs: -1 }, { enabledAtMs: EARLIEST }],
    [{ app: { ...app, htmlUrl: 'javascript:alert(1)' } }, { app: { ...app, htmlUrl: 'https://github.com' } }],
    [
      { app: { ...app, htmlUrl: `https://x/${'y'.repeat(2_040)}` } },
      { app: { ...app, htmlUrl: 'https://github.com' } },
    ],
  ]) {
    t.false(connectionSchema.safeParse({ ...connected, ...change }).success, JSON.stringify(change))
    t.deepEqual<unknown, unknown>(storedConnection.parse({ ...connected, ...change }), { ...connected, ...repaired })
  }
  t.true(
    connectionSchema.safeParse({ ...connected, app: { ...app, htmlUrl: `http://x/${'y'.repeat(2_039)}` } }).success,
  )
  for (const [change, repaired] of [
    [{ suspendedAtMs: LATEST + 1 }, { suspendedAtMs: LATEST }],
    [{ htmlUrl: '' }, { htmlUrl: 'https://github.com' }],
  ]) {
    t.false(installationsSchema.safeParse([{ ...installation, ...change }]).success)
    t.deepEqual<unknown, unknown>(storedInstallations.parse([{ ...installation, ...change }]), [
      { ...installation, ...repaired },
    ])
  }
  t.true(installationsSchema.safeParse([{ ...installation, suspendedAtMs: 0 }]).success)
})

test('a deadline is kept from 1970 on, and never put into the year 2020', t => {
  const awaiting = { kind: 'awaiting-app', sinceMs: EARLIEST, account, state: 'x', expiresAtMs: 5 }
  t.like(storedConnection.parse(awaiting), { expiresAtMs: 5 })
  t.like(storedConnection.parse({ ...awaiting, expiresAtMs: -5 }), { expiresAtMs: 0 })
  t.true(connectionSchema.safeParse(awaiting).success)
})

test('neither schema takes what it does not know', t => {
  for (const schema of [connectionSchema, storedConnection]) {
    t.true(schema.safeParse(connected).success)
    for (const odd of [
      { ...connected, more: 1 },
      { ...connected, app: { ...app, more: 1 } },
      { ...connected, host: { machineId: 'm' } },
      { ...connected, account: { ...account, type: 'team' } },
      { ...connected, app: { ...app, permissions: { metadata: 'all' } } },
      { ...connected, app: { ...app, id: -1 } },
      { ...connected, kind: 'suspended' },
      { ...connected, evidence: 'x' },
      { ...connected, kind: 'disconnecting', step: 'later', deadlineMs: 1 },
    ])
      t.false(schema.safeParse(odd).success, JSON.stringify(odd))
  }
  for (const kind of ['suspended', 'uninstalled', 'app-deleted', 'key-rejected', 'blocked', 'quarantined'])
    t.true(connectionSchema.safeParse({ ...connected, kind, evidence: 'x' }).success, kind)
  for (const odd of [{}, { installation: -1 }, { installation: 1, repositories: [1] }, { installation: 1, more: 1 }])
    t.false(scopeSchema.safeParse(odd).success)
  for (const odd of [{}, { permissions: { contents: 'all' } }, { permissions: {}, token: 'x' }])
    t.false(grantedSchema.safeParse(odd).success)
})
