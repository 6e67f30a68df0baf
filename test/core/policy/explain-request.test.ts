// Explain over a connection: callers by name, by id and by process, and what an old kernel makes of units.

import assert from 'node:assert/strict'
import test from 'ava'
import type { Peer, Policy } from '../../../src/protocol/profile.ts'
import type { ExplainRequest } from '../../../src/protocol/wire-policy.ts'
import { createExplain, type Directory } from '../../../src/core/policy/explain.ts'
import { codeOf, thrownBy } from '../../support/fakes.ts'
import { connectedRig, peerOf } from '../../support/operations-rig.ts'

const POLICY: Policy = {
  profiles: [
    {
      name: 'sync',
      installation: 'octo-org',
      permissions: { contents: 'read' },
      allow: {
        users: [{ name: 'git', id: 998 }],
        groups: [{ name: 'adm', id: 4 }],
        units: ['actions-sync.service'],
      },
    },
  ],
}
const LIVING: Peer = { pid: 4711, uid: 998, gid: 998, groups: [4], unit: 'actions-sync.service' }
const DIRECTORY: Directory = {
  findUser: name => (name === 'git' ? { uid: 998, gid: 998 } : undefined),
  findGroup: name => ({ adm: 4, git: 998 })[name],
  userName: uid => (uid === 998 ? 'git' : undefined),
  groupName: gid => ({ 4: 'adm', 998: 'git' })[gid],
  groupsOfUser: () => [998, 4],
  findProcess: pid => (pid === LIVING.pid ? LIVING : undefined),
  findHiding: () => undefined,
  hidingNext: 'Add the group.',
}

const build = async (more: Partial<Directory> = {}) => {
  const { connectionState } = await connectedRig({ policy: POLICY })
  const explain = createExplain({ policy: () => POLICY, connectionState, directory: { ...DIRECTORY, ...more } })
  return (request: ExplainRequest, asker: Peer = peerOf(0)) => explain(request, asker)
}

test('a process is told as it is, with names for its ids', async t => {
  const explain = await build()
  const { caller, decision } = explain({ pid: 4711 })
  t.deepEqual(caller, { pid: 4711, uid: 998, user: 'git', groups: ['git', 'adm'], unit: 'actions-sync.service' })
  t.is(decision.outcome, 'granted')
})

test('where no token is served, whatever the policy says, the reason is told', async t => {
  const { connectionState } = await connectedRig({ policy: POLICY })
  const explain = createExplain({ policy: () => POLICY, connectionState, directory: DIRECTORY })
  t.is(explain({ pid: 4711 }, peerOf(0)).withheld, undefined)
  const { connection } = connectionState.read()
  assert(connection.kind === 'connected')
  connectionState.transition({ ...connection, kind: 'app-deleted', evidence: 'it is gone' })
  const { decision, withheld } = explain({ pid: 4711 }, peerOf(0))
  t.is(decision.outcome, 'granted')
  t.is(withheld?.code, 'not-connected')
  t.regex(withheld?.detail ?? '', /it is gone/)
})

test('a user comes with his groups; by id, too', async t => {
  const explain = await build()
  t.is(explain({ user: 'git', unit: 'actions-sync.service' }).decision.outcome, 'granted')
  t.is(explain({ user: '998', unit: 'actions-sync.service' }).decision.outcome, 'granted')
  t.is(explain({ user: '999', unit: 'actions-sync.service' }).decision.outcome, 'not-permitted')
  t.is(explain({ user: 'git' }).decision.outcome, 'depends')
  t.is(explain({ group: 'git' }).decision.outcome, 'depends')
  t.is(explain({ unit: 'other.service' }).decision.outcome, 'not-permitted')
})

test('where the kernel cannot prove units none is believed, and that is the reason', async t => {
  const explain = await build()
  const old = peerOf(0, { unitWithheld: true })
  for (const request of [{ pid: 4711 }, { user: 'git', unit: 'actions-sync.service' }]) {
    const { decision, profiles } = explain(request, old)
    t.is(decision.outcome, 'not-permitted')
    t.regex(profiles[0]?.reasons.find(({ list }) => list === 'units')?.detail ?? '', /below 6\.5.*weak_pid/)
  }
})

test('who does not exist is an error, and no caller without rights', async t => {
  const explain = await build()
  for (const request of [{ user: 'gti' }, { group: 'amd' }, { pid: 4712 }]) {
    t.is(
      codeOf(() => explain(request)),
      'invalid-request',
    )
  }
})

test('a process that /proc hides is told from one that is gone, and no unit matches', async t => {
  const findHiding = (pid = 1): string | undefined => (pid === 1 || pid === 4713 ? '/proc hides it' : undefined)
  const explain = await build({ findHiding })
  t.throws(() => explain({ pid: 4713 }), {
    message: 'pid: process 4713 is hidden: /proc hides it',
    code: 'invalid-request',
  })
  t.throws(() => explain({ pid: 4712 }), { message: 'pid: there is no process 4712' })
  t.is(explain({ pid: 4711 }).decision.outcome, 'granted', 'one that is visible')
  for (const request of [{ user: 'git', unit: 'actions-sync.service' }, { profile: 'sync' }]) {
    const { decision, profiles } = explain(request)
    t.is(decision.outcome, 'not-permitted')
    t.is(profiles[0]?.reasons.find(({ list }) => list === 'units')?.detail, 'no unit is known: /proc hides it')
  }
})

test('what the request names is what is explained, and what it would get is told whole', async t => {
  const explain = await build()
  const whole = { pid: 4711 } as const
  const [granted] = explain({ ...whole, repositories: ['web'], permissions: { contents: 'read' } }).profiles
  t.like(granted, {
    profile: 'sync',
    outcome: 'granted',
    scope: { repositories: ['web'], permissions: { contents: 'read' } },
  })
  t.is(typeof granted?.scope?.installation, 'number')
  t.is(granted?.reasons.length, 4)
  t.deepEqual(Object.keys(explain(whole).profiles[0]?.scope ?? {}), ['installation', 'permissions'])
  const refused: readonly ExplainRequest[] = [
    { profile: 'other' },
    { installation: 'hexa' },
    { permissions: { contents: 'write' } },
  ]
  for (const more of refused) {
    t.is(explain({ ...whole, ...more }).decision.outcome, 'not-permitted', Object.keys(more)[0])
  }
  t.deepEqual(explain({ profile: 'other' }).profiles, [])
})

test('a caller is described by what was given of it, and by what is known of that', async t => {
  const explain = await build({
    findUser: name => ({ git: { uid: 998, gid: 998 }, guest: { uid: 5, gid: 6 } })[name],
    groupsOfUser: (name, gid) => (name === 'git' ? [gid, 4] : [gid]),
    findGroup: name => ({ adm: 4 })[name],
  })
  t.deepEqual(explain({ user: 'guest' }).caller, { uid: 5, user: 'guest', groups: ['6'] }, 'a group without a name')
  t.deepEqual(explain({ user: 'guest', group: 'adm' }).caller.groups, ['6', 'adm'])
  t.deepEqual(explain({ group: '4' }).caller, { groups: ['adm'] })
  t.deepEqual(explain({ user: '77' }).caller, { uid: 77, user: '77' })
  t.deepEqual(explain({ user: '998' }).caller, { uid: 998, user: '998', groups: ['git', 'adm'] })
  t.deepEqual(explain({ unit: 'a.service' }).caller, { unit: 'a.service' })
  t.deepEqual(explain({}).caller, {})
})

test('a process that is hidden has the advice of the machine; what keeps tokens back has its own', async t => {
  const hidden = await build({ findHiding: () => 'hidden' })
  t.is(thrownBy(() => hidden({ pid: 1 }))?.next, 'Add the group.')
  const { connectionState } = await connectedRig({ policy: POLICY })
  const { connection } = connectionState.read()
  assert(connection.kind === 'connected')
  connectionState.transition({ ...connection, kind: 'app-deleted', evidence: 'it is gone' })
  const explain = createExplain({ policy: () => POLICY, connectionState, directory: DIRECTORY })
  t.is(explain({}, peerOf(0)).withheld?.next, connectionState.explain().next)
})
