// The desk: no token without the policy's word, cached or not; then alive, audited, answered, in this order.

import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../src/domain/errors.ts'
import { admits, findInstallation, type Policy, type Profile } from '../../src/domain/policy.ts'
import { permissionsCover, repositoriesCover } from '../../src/domain/scope.ts'
import { parseWith, TokenAnswer, TokenRequest } from '../../src/domain/wire.ts'
import type { Caller } from '../../src/operations/decisions.ts'
import { failureOf } from '../support/fakes.ts'
import { callerOf, connectedRig, ORG, peerOf } from '../support/operations-rig.ts'

const MINUTE = 60_000
const allow = (...uids: number[]): Profile['allow'] => ({
  users: uids.map(id => ({ name: `u${id}`, id })),
  groups: [],
  units: [],
})
const CI: Profile = {
  name: 'ci',
  installation: 'octo-org',
  repositories: ['web', 'infra-*'],
  permissions: { contents: 'read' },
  allow: allow(1000),
}
const policyOf = (...profiles: Profile[]): Policy => ({ profiles })

test('the answer is the scope that was asked for, in the API shape', async t => {
  const { desk, world, installation } = await connectedRig({ policy: policyOf(CI) })
  const answer = await desk.answer({ repositories: ['WEB'] }, callerOf(peerOf(1000)))
  t.notThrows(() => parseWith(TokenAnswer, answer))
  t.like(answer, {
    installation: installation.id,
    account: ORG.login,
    profile: 'ci',
    repositories: ['Web'],
    permissions: { contents: 'read', metadata: 'read' },
  })
  t.true(world.isAlive(answer.token))
})

test('a token in the cache is no reason to hand it out: root and strangers ask the policy like everybody', async t => {
  const { desk, world } = await connectedRig({ policy: policyOf(CI) })
  await desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000)))
  await desk.answer({ repositories: ['web'], permissions: { contents: 'read' } }, callerOf(peerOf(0), 'admin'))
  const calls = world.calls.length
  for (const uid of [0, 1001]) {
    const failure = await failureOf(desk.answer({ repositories: ['web'] }, callerOf(peerOf(uid))))
    t.is(failure.code, 'not-permitted')
  }
  t.is(world.calls.length, calls, 'and GitHub is not asked')
})

test('a profile that is taken away takes its cached tokens away, on the same connection and for the same request', async t => {
  const { desk, rig } = await connectedRig({ policy: policyOf(CI) })
  const request: TokenRequest = { repositories: ['web'] }
  const caller = callerOf(peerOf(1000))
  const { token } = await desk.answer(request, caller)
  t.is((await desk.answer(request, caller)).token, token)
  rig.setPolicy(policyOf({ ...CI, allow: allow(7) }))
  t.is((await failureOf(desk.answer(request, caller))).code, 'not-permitted')
  rig.setPolicy(policyOf(CI))
  t.is((await desk.answer(request, caller)).token, token)
  t.is((await failureOf(desk.answer(request, callerOf(peerOf(1001))))).code, 'not-permitted', 'of another connection')
})

test('one request object asked by both sockets is decided for each', async t => {
  const { desk, installation } = await connectedRig({ policy: policyOf(CI) })
  const request: TokenRequest = { installation: installation.id, permissions: { issues: 'write' } }
  const { attested, connection } = callerOf(peerOf(1000))
  t.truthy((await desk.answer(request, { socket: 'admin', attested, connection })).token)
  t.is((await failureOf(desk.answer(request, { socket: 'token', attested, connection }))).code, 'not-permitted')
})

test('an installation that went takes the decisions of a connection along', async t => {
  const { desk, world, app, installation, rig } = await connectedRig({ policy: policyOf(CI) })
  const request: TokenRequest = { repositories: ['web'] }
  const caller = callerOf(peerOf(1000))
  await desk.answer(request, caller)
  world.uninstall(installation.id)
  const again = world.install(app.id, ORG)
  await rig.drift.check()
  t.is((await desk.answer(request, caller)).installation, again.id)
})

test('what is absent and what is not allowed are answered in the same words, by name and by id', async t => {
  const { desk, world, installation } = await connectedRig({ policy: policyOf(CI) })
  const id = world.installations.get(installation.id)?.repositories.find(({ name }) => name === 'api')?.id ?? 0
  const requests: TokenRequest[] = [
    { repositories: ['api'] },
    { repositories: ['no-such'] },
    { repository_ids: [id] },
    { repository_ids: [999_999] },
    { profile: 'no-such' },
    { installation: 'no-such' },
    { repositories: ['web'], permissions: { contents: 'write' } },
  ]
  const answers = new Set<string>()
  for (const request of requests) {
    const { code, message } = await failureOf(desk.answer(request, callerOf(peerOf(1000))))
    answers.add(`${code}: ${message}`)
  }
  t.is(answers.size, 1)
  t.true([...answers][0]?.startsWith('not-permitted'))
})

test('an id is the repository that it names, for the policy and for the cache', async t => {
  const { desk, world, installation } = await connectedRig({ policy: policyOf(CI) })
  const repositories = world.installations.get(installation.id)?.repositories ?? []
  const web = repositories.find(({ name }) => name === 'Web')?.id ?? 0
  const byId = await desk.answer({ repository_ids: [web] }, callerOf(peerOf(1000)))
  const byName = await desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000)))
  t.is(byId.token, byName.token)
  t.is((await failureOf(desk.answer({ repository_ids: [web] }, callerOf(peerOf(1001))))).code, 'not-permitted')
  const calls = world.calls.length
  for (let again = 0; again < 5; again++) await desk.answer({ repository_ids: [web] }, callerOf(peerOf(1000)))
  t.is(world.calls.length, calls, 'names are asked for once a minute')
})

test('ids are looked up in the installation of the profile that is meant', async t => {
  const { desk, world, installation, app, rig } = await connectedRig({ policy: policyOf(CI) })
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  await rig.drift.check()
  const idIn = (where: number) => world.installations.get(where)?.repositories[0]?.id ?? 0
  const caller = callerOf(peerOf(1000))
  t.is((await desk.answer({ repository_ids: [idIn(installation.id)] }, caller)).installation, installation.id)
  t.is((await failureOf(desk.answer({ repository_ids: [idIn(other.id)] }, caller))).code, 'not-permitted')
  const admin = callerOf(peerOf(0), 'admin')
  t.is((await failureOf(desk.answer({ repository_ids: [idIn(other.id)] }, admin))).code, 'installation-required')
  t.is((await desk.answer({ repository_ids: [idIn(other.id)], installation: 'hexa' }, admin)).account, 'hexa')
})

test('a peer that died while GitHub was asked gets nothing, and no grant is recorded', async t => {
  const { desk, disk } = await connectedRig({ policy: policyOf(CI) })
  const caller = callerOf(peerOf(1000))
  const attested = {
    ...caller.attested,
    assertAlive() {
      throw new Failure('peer-gone', 'the calling process has ended')
    },
  }
  t.is((await failureOf(desk.answer({ repositories: ['web'] }, { ...caller, attested }))).code, 'peer-gone')
  t.false(disk.audit.some(row => row.event === 'token.grant'))
})

test('a grant that cannot be audited is not made, and neither is one while disabling', async t => {
  const { desk, disk, journey, clock } = await connectedRig({ policy: policyOf(CI) })
  const caller = callerOf(peerOf(1000))
  await desk.answer({ repositories: ['web'] }, caller)
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  t.is((await failureOf(desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))).code, 'audit-unavailable')
  t.is((await failureOf(desk.answer({ repositories: ['api'] }, caller))).code, 'audit-unavailable')
  delete disk.auditFailure
  const { connection } = journey.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  journey.to({ ...connection, kind: 'disconnecting', step: 'revoke', deadlineMs: clock.now() + MINUTE })
  t.is((await failureOf(desk.answer({ repositories: ['web'] }, caller))).code, 'not-connected')
})

test('a grant is in the log before the answer, and a denial too', async t => {
  const { desk, disk } = await connectedRig({ policy: policyOf(CI) })
  const before = disk.audit.length
  const { token } = await desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000, { unit: 'ci.service' })))
  await failureOf(desk.answer({ repositories: ['api'] }, callerOf(peerOf(1000))))
  const rows = disk.audit.slice(before)
  t.deepEqual(
    rows.map(row => row.event),
    ['dotcom_connection.token_updated', 'token.grant', 'token.deny'],
  )
  t.is(rows[0]?.hashedToken, rows[1]?.hashedToken)
  t.is(rows[1]?.peer?.unit, 'ci.service')
  t.false(JSON.stringify(disk.audit).includes(token))
})

test('a reinstalled App is found again under its new id, with one look', async t => {
  const { desk, world, app, installation } = await connectedRig({ policy: policyOf(CI) })
  world.uninstall(installation.id)
  const again = world.install(app.id, ORG)
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000)))),
  )
  t.true(answers.every(answer => answer.installation === again.id))
  t.is(world.count('listInstallations'), 1)
  t.is(world.count('mint'), 2)
})

test('an installation that stays away is not looked for at each request', async t => {
  const { desk, world, installation, clock } = await connectedRig({ policy: policyOf(CI) })
  world.installations.delete(installation.id)
  world.outage = undefined
  world.refuse('listInstallations', 'timeout', { times: 1_000 })
  for (let n = 0; n < 50; n += 1) await failureOf(desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))
  t.is(world.count('listInstallations'), 1)
  await clock.advance(MINUTE)
  await failureOf(desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))
  t.is(world.count('listInstallations'), 2)
})

test('a scope that GitHub widened is revoked and not answered', async t => {
  const { desk, world } = await connectedRig({ policy: policyOf(CI) })
  world.surplus = { issues: 'read' }
  t.is((await failureOf(desk.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))).code, 'scope-mismatch')
  t.is(world.count('revoke'), 1)
})

test('for any policy, cache and request, no token is more than a profile that admits its caller', async t => {
  const uid = fc.integer({ min: 0, max: 1 })
  const access = fc.constantFrom('read' as const, 'write' as const)
  const permissions = fc.dictionary(fc.constantFrom('contents', 'issues'), access, { minKeys: 1, maxKeys: 2 })
  const where = fc.constantFrom('octo-org', 'Octo-Org', 'hexa')
  const profile = fc.record(
    {
      name: fc.constantFrom('a', 'b', 'c'),
      allow: fc.array(uid, { minLength: 1, maxLength: 2 }).map(uids => allow(...uids)),
      installation: where,
      repositories: fc.array(fc.constantFrom('web', 'a*', '*'), { minLength: 1, maxLength: 2 }),
      permissions,
    },
    { requiredKeys: ['name', 'allow', 'installation'] },
  )
  const request = fc.record(
    {
      profile: fc.constantFrom('a', 'b', 'c'),
      installation: where,
      repositories: fc.array(fc.constantFrom('web', 'Web', 'api'), { minLength: 1, maxLength: 2 }),
      permissions,
      min_ttl_seconds: fc.constantFrom(0, 2_400),
    },
    { requiredKeys: [] },
  )
  const asks = fc.array(fc.record({ uid, admin: fc.boolean(), request, repositoryId: fc.option(fc.nat(5)) }), {
    maxLength: 12,
  })
  let granted = 0
  let cached = 0
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(profile, { selector: one => one.name, maxLength: 3 }), asks, async (raw, all) => {
      const policy: Policy = { profiles: raw }
      const { desk, world, app, rig } = await connectedRig({ policy })
      world.install(app.id, { type: 'organization', login: 'hexa' })
      await rig.drift.check()
      const { installations } = rig.journey.read()
      const ids = [...world.installations.values()].flatMap(held => held.repositories.map(({ id }) => id))
      const callers = new Map<string, Caller>()
      // Each asks for what the others asked for before: the administrator first, who gets anything.
      const wishes = all.map(({ request: asked, repositoryId, ...who }) => {
        const { repositories: _, ...rest } = asked
        const byId = repositoryId === null ? undefined : ids[repositoryId]
        const wish = parseWith(TokenRequest, byId === undefined ? asked : { ...rest, repository_ids: [byId] })
        return { ...who, byId, wish }
      })
      const turns = wishes.flatMap(ask => [
        { ...ask, admin: true, wish: { ...ask.wish, installation: 'hexa' } },
        { ...ask, admin: true },
        ask,
        { ...ask, uid: 1 - ask.uid },
        ask,
      ])
      for (const { uid: id, admin, byId, wish } of turns) {
        const name = `${id} ${admin}`
        // One process on both sockets: what was decided for it as an administrator is not decided for it here.
        const same = callers.get(`${id} ${!admin}`)?.attested ?? callerOf(peerOf(id)).attested
        const caller = callers.get(name) ?? { socket: admin ? 'admin' : 'token', attested: same, connection: {} }
        callers.set(name, caller)
        const mints = world.count('mint')
        let answer: TokenAnswer
        try {
          answer = await desk.answer(wish, caller)
        } catch (error) {
          if (error instanceof Failure && error.code !== 'internal') continue
          throw error
        }
        // What the token can really do is what GitHub issued.
        const issued = world.tokens.get(answer.token)
        if (!issued || !world.isAlive(answer.token)) return false
        if (issued.installation !== answer.installation) return false
        if (wish.installation !== undefined) {
          if (findInstallation(installations, wish.installation)?.id !== issued.installation) return false
        }
        if (wish.permissions && !permissionsCover(wish.permissions, issued.permissions)) return false
        if (wish.repositories && !repositoriesCover(wish.repositories, issued.repositories)) return false
        if (byId !== undefined && issued.repositories?.length !== 1) return false
        if (admin) continue
        granted += 1
        if (world.count('mint') === mints) cached += 1
        const holder = raw.find(one => one.name === answer.profile)
        if (
          !holder ||
          !admits(holder.allow, peerOf(id)) ||
          !repositoriesCover(holder.repositories, issued.repositories) ||
          !permissionsCover(holder.permissions, issued.permissions) ||
          findInstallation(installations, holder.installation)?.id !== issued.installation
        )
          return false
      }
      return true
    }),
    { numRuns: 300 },
  )
  t.true(granted > 50, `${granted} grants`)
  t.true(cached > 50, `${cached} of them from the cache`)
})
