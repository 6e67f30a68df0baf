// What the issuer tells: a row for each denial with what was asked for, an answer with what the token is, and whose allowance pays.

import test from 'ava'
import type { Policy, Profile } from '../../../src/protocol/profile.ts'
import { isoTime, type TokenRequest } from '../../../src/protocol/wire.ts'
import { MINTS } from '../../../src/core/peers/rate-limit.ts'
import { UNCLAIMED } from '../../../src/core/tokens/token-shares.ts'
import { failureOf } from '../../support/fakes.ts'
import { callerOf, connectedRig, createPremises, createRig, ORG, peerOf } from '../../support/operations-rig.ts'

const CI: Profile = {
  name: 'ci',
  installation: 'octo-org',
  repositories: ['*'],
  permissions: { contents: 'read' },
  allow: { users: [{ name: 'u1000', id: 1000 }], groups: [], units: [] },
}
const POLICY: Policy = { profiles: [CI] }
/** The same for another account. */
const BOTH: Policy = { profiles: [CI, { ...CI, name: 'second', installation: 'hexa' }] }

const NOT_PERMITTED = 'no profile allows this request to this process'
const caller = callerOf(peerOf(1000, { unit: 'ci.service' }))

test('the row of a denial says who asked, and for what, by name or by id', async t => {
  const { issuer, disk } = await connectedRig({ policy: POLICY })
  const asked: [TokenRequest, string][] = [
    [
      {
        profile: 'ci',
        installation: 'octo-org',
        repositories: ['web', 'api'],
        permissions: { issues: 'read', contents: 'write' },
      },
      'profile ci, installation octo-org, web api, contents: write, issues: read',
    ],
    [{ repository_ids: [7, 8] }, '7 8, permissions of the profile'],
    [{ profile: 'other' }, 'profile other, repositories of the profile, permissions of the profile'],
  ]
  for (const [request, scope] of asked) {
    t.is((await failureOf(issuer.answer(request, caller))).code, 'not-permitted')
    t.like(disk.audit.at(-1), {
      event: 'token.deny',
      peer: { pid: 10, uid: 1000, unit: 'ci.service' },
      detail: NOT_PERMITTED,
      scope,
    })
  }
  const many = Array.from({ length: 500 }, (_, n) => `repository-${n}`)
  await failureOf(issuer.answer({ profile: 'other', repositories: many }, caller))
  t.is(disk.audit.at(-1)?.scope?.length, 500, 'of very many the beginning')
})

test('an id that nobody may see, and what is refused before it is a request, are denials in the log', async t => {
  const { issuer, disk } = await connectedRig({ policy: POLICY })
  const asked = { request: { profile: 'ci' }, caller }
  await failureOf(issuer.narrowTo(999_999, asked))
  t.like(disk.audit.at(-1), { event: 'token.deny', detail: NOT_PERMITTED, peer: { uid: 1000 } })
  t.regex(disk.audit.at(-1)?.scope ?? '', /^profile ci, /)
  t.is((await failureOf(issuer.deny('no address of the API', asked))).code, 'not-permitted')
  t.like(disk.audit.at(-1), { event: 'token.deny', detail: 'no address of the API' })
})

test('what GitHub refuses, and what cannot be served at all, is no denial', async t => {
  const { issuer, disk, world } = await connectedRig({ policy: POLICY })
  world.refuse('mint', 'timeout')
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, caller))).code, 'timeout')
  t.false(disk.audit.some(({ event }) => event === 'token.deny'))
  const premises = createPremises()
  const unconnected = createRig(premises, { policy: POLICY })
  for (const who of [caller, callerOf(peerOf(666))]) {
    t.is((await failureOf(unconnected.issuer.answer({ repositories: ['web'] }, who))).code, 'not-connected')
  }
  t.deepEqual(premises.disk.audit, [])
})

test('the answer says until when its token is good; that of an administrator names no profile', async t => {
  const { issuer, world, installation } = await connectedRig({ policy: POLICY })
  const answer = await issuer.answer({ repositories: ['web'] }, caller)
  t.is(answer.expires_at, isoTime(world.tokens.get(answer.token)?.expiresAtMs ?? 0))
  const whole = await issuer.answer({ permissions: { contents: 'read' } }, callerOf(peerOf(0), 'admin'))
  t.is(whole.installation, installation.id)
  t.deepEqual(['profile' in whole, 'repositories' in whole], [false, false])
})

test('the row of a grant has its scope with all of its repositories', async t => {
  const { issuer, disk, world, installation } = await connectedRig({ policy: POLICY })
  const repositories = Array.from({ length: 14 }, (_, n) => `r${10 + n}`)
  world.change(installation.id, {}, repositories)
  await issuer.answer({ repositories }, caller)
  const row = disk.audit.findLast(({ event }) => event === 'token.grant')
  t.like(row, {
    profile: 'ci',
    scope: `installation ${installation.id}, ${repositories.join(' ')}, contents: read`,
  })
})

test('the list by which a refusal is explained costs whoever asked', async t => {
  const { issuer, world } = await connectedRig({ policy: POLICY })
  for (let id = 1; id < MINTS.burst; id += 1) {
    await failureOf(issuer.narrowTo(1_000_000 + id, { request: {}, caller }))
  }
  // The last of its allowance is for the mint.
  const failure = await failureOf(issuer.answer({ repositories: ['web', 'tpyo'] }, caller))
  t.is(failure.code, 'repository-not-accessible')
  t.regex(failure.message, /one of web, tpyo;/)
  t.is(world.count('listRepositories'), 0)
})

test('what is minted for a reinstalled App is charged to whoever asked', async t => {
  const { issuer, world, app, installation, tokens } = await connectedRig({ policy: POLICY })
  world.uninstall(installation.id)
  world.install(app.id, ORG)
  await issuer.answer({ repositories: ['web'] }, caller)
  t.false(tokens.usage().byHolder.has(UNCLAIMED))
})

test('an id is found in one installation where another one cannot be asked', async t => {
  const { issuer, world, app, rig } = await connectedRig({ policy: BOTH })
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  await rig.drift.check()
  const id = world.installations.get(other.id)?.repositories[0]?.id ?? 0
  world.refuse('findRepository', 'timeout')
  t.deepEqual(await issuer.narrowTo(id, { request: {}, caller }), { installation: other.id, repositories: ['Web'] })
  world.refuse('findRepository', 'timeout')
  const unknown = await failureOf(issuer.narrowTo(999_999, { request: {}, caller }))
  t.is(unknown.code, 'timeout', 'where it may be is not known, which is no denial')
})

test('ids of a request that names its profile are of the installation of that profile', async t => {
  const { issuer, world, app, rig } = await connectedRig({ policy: BOTH })
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  await rig.drift.check()
  const id = world.installations.get(other.id)?.repositories[0]?.id ?? 0
  const answer = await issuer.answer({ repository_ids: [id], profile: 'second' }, caller)
  t.like(answer, { installation: other.id, profile: 'second' })
  const ofRoot = await issuer.answer({ repository_ids: [id], profile: 'second' }, callerOf(peerOf(0), 'admin'))
  t.is(ofRoot.token, answer.token)
})
