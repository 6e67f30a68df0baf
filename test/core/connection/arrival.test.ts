// Arrival: in which state a restored connection begins here, on the machine that it was enabled on and on others.

import test from 'ava'
import type { Connection, Host } from '../../../src/protocol/connection.ts'
import { arrive } from '../../../src/core/connection/connection-state.ts'

const HOUR = 3_600_000
const NOW = 1_800_000_000_000
const HOME: Host = { machineId: 'machine-1', hostname: 'ghe.example.com' }

const established = {
  app: {
    id: 7,
    clientId: 'Iv23',
    slug: 'a',
    name: 'a',
    owner: { type: 'organization', login: 'octo' },
    htmlUrl: 'https://github.com/apps/a',
    permissions: {},
  },
  account: { type: 'organization', login: 'octo' },
  host: HOME,
  enabledAtMs: NOW - 1_000 * HOUR,
} as const
const connected: Connection = { kind: 'connected', sinceMs: NOW - 100 * HOUR, ...established }

test('a connection goes on where one mark of its machine is the same, and is quarantined where none is', t => {
  for (const [host, kind, warnings] of [
    [HOME, 'connected', 0],
    [{ ...HOME, hostname: 'renamed' }, 'connected', 1],
    [{ ...HOME, machineId: 'rebuilt' }, 'connected', 1],
    [{ machineId: 'other', hostname: 'other' }, 'quarantined', 1],
  ] as const) {
    const arrival = arrive(connected, { host, nowMs: NOW })
    t.is(arrival.connection.kind, kind, JSON.stringify(host))
    t.is(arrival.warnings.length, warnings, JSON.stringify(host))
    if (kind === 'connected') t.deepEqual(arrival.connection, connected)
  }
})

test('a copy is quarantined as of now with both names, keeps the mark of its home, and goes on with nothing, not even a disable', t => {
  const host = { machineId: 'other', hostname: 'clone' }
  const disabling: Connection = { kind: 'disconnecting', sinceMs: 1, step: 'revoke', deadlineMs: 2, ...established }
  for (const was of [connected, disabling]) {
    const { connection, warnings } = arrive(was, { host, nowMs: NOW })
    const evidence = 'enabled on ghe.example.com, restored on clone'
    t.deepEqual(connection, { kind: 'quarantined', sinceMs: NOW, evidence, ...established })
    t.deepEqual(warnings, [
      `These credentials were ${evidence}: they are quarantined until \`ghconnect adopt\`, or \`ghconnect disable --local\`.`,
    ])
  }
})

test('a trouble, a key that was lost and a machine without a connection arrive as they were', t => {
  const { account } = established
  for (const was of [
    { kind: 'suspended', sinceMs: 1, evidence: 'e', ...established },
    { kind: 'key-lost', sinceMs: 1, account, evidence: 'e' },
    { kind: 'disconnected', sinceMs: 1, remark: 'r' },
  ] as const satisfies readonly Connection[])
    t.deepEqual(arrive(was, { host: HOME, nowMs: NOW }), { connection: was, warnings: [] })
})

test('another machine of the same cluster is no copy', t => {
  const host = { machineId: 'other', hostname: 'other' }
  const isHome = ({ hostname }: Host): boolean => hostname === HOME.hostname
  t.deepEqual(arrive(connected, { host, nowMs: NOW, isHome }), { connection: connected, warnings: [] })
  t.is(arrive(connected, { host, nowMs: NOW, isHome: () => false }).connection.kind, 'quarantined')
})

test('a copy that comes home is connected again', t => {
  const copy: Connection = { kind: 'quarantined', sinceMs: NOW, evidence: 'x', ...established }
  const later = NOW + HOUR
  t.deepEqual(arrive(copy, { host: HOME, nowMs: later }).connection, { ...connected, sinceMs: later })
})

test('a disable that was under way goes on, and has its whole time once more', t => {
  const sinceMs = NOW - 100 * HOUR
  const disabling: Connection = {
    kind: 'disconnecting',
    sinceMs,
    step: 'uninstall',
    deadlineMs: sinceMs + 24 * HOUR,
    ...established,
  }
  const { connection, warnings } = arrive(disabling, { host: HOME, nowMs: NOW })
  t.deepEqual(connection, { ...disabling, sinceMs: NOW, deadlineMs: NOW + 24 * HOUR })
  t.deepEqual(warnings, ['The connection was being disabled when the snapshot was taken; that goes on.'])
  const moved = arrive(disabling, { host: { ...HOME, hostname: 'renamed' }, nowMs: NOW })
  t.is(moved.warnings.length, 2)
  t.regex(moved.warnings[0] ?? '', /enabled on ghe\.example\.com/)
})

test('an enable that was under way has to be begun anew', t => {
  const expiresAtMs = NOW + HOUR
  const { account } = established
  const pending: Connection = { kind: 'awaiting-app', sinceMs: NOW, account, state: 'x', expiresAtMs }
  const { connection, warnings } = arrive(pending, { host: HOME, nowMs: NOW })
  const remark = 'Enabling for octo was under way when the snapshot was taken; it has to be started anew.'
  t.deepEqual(connection, { kind: 'disconnected', sinceMs: NOW, remark })
  t.deepEqual(warnings, [remark])
})
