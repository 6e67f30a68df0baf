// The issuer: no token without the policy's word, cached or not; then alive, audited, answered, in this order.

import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../../src/protocol/errors.ts'
import { admits } from '../../../src/core/policy/decision.ts'
import { findInstallation, type Policy, type Profile } from '../../../src/protocol/profile.ts'
import { permissionsCover, repositoriesCover } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { parseWith, TokenAnswer, TokenRequest } from '../../../src/protocol/wire.ts'
import type { Caller } from '../../../src/core/tokens/token-issuer.ts'
import { MINTS } from '../../../src/core/peers/rate-limit.ts'
import { hashToken } from '../../../src/core/audit/audit-writer.ts'
import { failureOf } from '../../support/fakes.ts'
import { callerOf, connectedRig, ORG, peerOf } from '../../support/operations-rig.ts'

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
  const { issuer, world, installation } = await connectedRig({ policy: policyOf(CI) })
  const answer = await issuer.answer({ repositories: ['WEB'] }, callerOf(peerOf(1000)))
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
  const { issuer, world } = await connectedRig({ policy: policyOf(CI) })
  await issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000)))
  await issuer.answer({ repositories: ['web'], permissions: { contents: 'read' } }, callerOf(peerOf(0), 'admin'))
  const calls = world.calls.length
  for (const uid of [0, 1001]) {
    const failure = await failureOf(issuer.answer({ repositories: ['web'] }, callerOf(peerOf(uid))))
    t.is(failure.code, 'not-permitted')
  }
  t.is(world.calls.length, calls, 'and GitHub is not asked')
})

test('a profile that is taken away takes its cached tokens away, on the same connection and for the same request', async t => {
  const { issuer, rig } = await connectedRig({ policy: policyOf(CI) })
  const request: TokenRequest = { repositories: ['web'] }
  const caller = callerOf(peerOf(1000))
  const { token } = await issuer.answer(request, caller)
  t.is((await issuer.answer(request, caller)).token, token)
  rig.setPolicy(policyOf({ ...CI, allow: allow(7) }))
  t.is((await failureOf(issuer.answer(request, caller))).code, 'not-permitted')
  rig.setPolicy(policyOf(CI))
  t.is((await issuer.answer(request, caller)).token, token)
  t.is((await failureOf(issuer.answer(request, callerOf(peerOf(1001))))).code, 'not-permitted', 'of another connection')
})

test('nobody has a token before its row is on the disk; state and peer are looked at again then', async t => {
  const { issuer, disk, connectionState, clock } = await connectedRig({ policy: policyOf(CI) })
  const request: TokenRequest = { repositories: ['web'] }
  await issuer.answer(request, callerOf(peerOf(1000)))
  const turns = async (): Promise<void> => {
    for (let n = 0; n < 10; n += 1) await new Promise(resolve => void setImmediate(resolve))
  }
  /** Asks as a process that the log does not know yet; `meanwhile` happens while the disk is at work. */
  const askWith = async (pid: number, meanwhile: () => void, isAlive = () => true) => {
    const sync = Promise.withResolvers<void>()
    disk.auditSync = sync.promise
    const caller = callerOf(peerOf(1000, { pid }))
    const assertAlive = (): void => {
      if (!isAlive()) throw new Failure('peer-gone', 'the calling process has ended')
    }
    let settled = false
    const answer = Promise.resolve(issuer.answer(request, { ...caller, attested: { ...caller.attested, assertAlive } }))
    answer.finally(() => (settled = true)).catch(() => {})
    await turns()
    t.false(settled)
    meanwhile()
    delete disk.auditSync
    sync.resolve()
    return answer
  }
  t.truthy((await askWith(11, () => {})).token)
  let alive = true
  const dying = askWith(
    12,
    () => (alive = false),
    () => alive,
  )
  t.is((await failureOf(dying)).code, 'peer-gone')
  const disabling = askWith(13, () => {
    const { connection } = connectionState.read()
    if (connection.kind !== 'connected') throw new Error('not connected')
    connectionState.transition({
      ...connection,
      kind: 'disconnecting',
      step: 'revoke',
      deadlineMs: clock.now() + MINUTE,
    })
  })
  t.is((await failureOf(disabling)).code, 'not-connected')
})

test('one request object asked by both sockets is decided for each', async t => {
  const { issuer, installation } = await connectedRig({ policy: policyOf(CI) })
  const request: TokenRequest = { installation: installation.id, permissions: { issues: 'write' } }
  const { attested } = callerOf(peerOf(1000))
  t.truthy((await issuer.answer(request, { socket: 'admin', attested })).token)
  t.is((await failureOf(issuer.answer(request, { socket: 'token', attested }))).code, 'not-permitted')
})

test('an installation that went takes the decisions of a connection along', async t => {
  const { issuer, world, app, installation, rig } = await connectedRig({ policy: policyOf(CI) })
  const request: TokenRequest = { repositories: ['web'] }
  const caller = callerOf(peerOf(1000))
  await issuer.answer(request, caller)
  world.uninstall(installation.id)
  const again = world.install(app.id, ORG)
  await rig.drift.check()
  t.is((await issuer.answer(request, caller)).installation, again.id)
})

test('what is absent and what is not allowed are answered in the same words, by name and by id', async t => {
  const { issuer, world, installation } = await connectedRig({ policy: policyOf(CI) })
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
    const { code, message } = await failureOf(issuer.answer(request, callerOf(peerOf(1000))))
    answers.add(`${code}: ${message}`)
  }
  t.is(answers.size, 1)
  t.true([...answers][0]?.startsWith('not-permitted'))
})

test('an id is the repository that it names, for the policy and for the cache', async t => {
  const { issuer, world, installation } = await connectedRig({ policy: policyOf(CI) })
  const repositories = world.installations.get(installation.id)?.repositories ?? []
  const web = repositories.find(({ name }) => name === 'Web')?.id ?? 0
  const byId = await issuer.answer({ repository_ids: [web] }, callerOf(peerOf(1000)))
  const byName = await issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000)))
  t.is(byId.token, byName.token)
  t.is((await failureOf(issuer.answer({ repository_ids: [web] }, callerOf(peerOf(1001))))).code, 'not-permitted')
  const calls = world.calls.length
  for (let again = 0; again < 5; again++) await issuer.answer({ repository_ids: [web] }, callerOf(peerOf(1000)))
  t.is(world.calls.length, calls, 'names are asked for once a minute')
})

test('of several installations that profiles reach, ids are of the one that the request names', async t => {
  const second: Profile = { ...CI, name: 'second', installation: 'hexa' }
  const { issuer, world, installation, app, rig } = await connectedRig({ policy: policyOf(CI, second) })
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  await rig.drift.check()
  const idIn = (where: number) => world.installations.get(where)?.repositories[0]?.id ?? 0
  const caller = callerOf(peerOf(1000))
  t.is((await failureOf(issuer.answer({ repository_ids: [idIn(other.id)] }, caller))).code, 'profile-required')
  for (const { id } of [installation, other]) {
    const answer = await issuer.answer({ repository_ids: [idIn(id)], installation: id }, caller)
    t.is(answer.installation, id)
  }
})

test('ids are looked up in the installation of the profile that is meant', async t => {
  const { issuer, world, installation, app, rig } = await connectedRig({ policy: policyOf(CI) })
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  await rig.drift.check()
  const idIn = (where: number) => world.installations.get(where)?.repositories[0]?.id ?? 0
  const caller = callerOf(peerOf(1000))
  t.is((await issuer.answer({ repository_ids: [idIn(installation.id)] }, caller)).installation, installation.id)
  t.is((await failureOf(issuer.answer({ repository_ids: [idIn(other.id)] }, caller))).code, 'not-permitted')
  const admin = callerOf(peerOf(0), 'admin')
  t.is((await failureOf(issuer.answer({ repository_ids: [idIn(other.id)] }, admin))).code, 'installation-required')
  t.is((await issuer.answer({ repository_ids: [idIn(other.id)], installation: 'hexa' }, admin)).account, 'hexa')
})

test('an id in an address is looked up once a minute, and unknown and denied ids are answered alike', async t => {
  const { issuer, world, installation, clock } = await connectedRig({ policy: policyOf(CI) })
  const held = world.installations.get(installation.id)
  const idOf = (wanted: string) => held?.repositories.find(({ name }) => name === wanted)?.id ?? 0
  const caller = callerOf(peerOf(1000))
  const narrow = (id: number, who = caller) => issuer.narrowTo(id, { request: { profile: 'ci' }, caller: who })
  const wanted = { profile: 'ci', installation: installation.id, repositories: ['Web'] }
  t.deepEqual(await Promise.all([narrow(idOf('Web')), narrow(idOf('Web'))]), [wanted, wanted])
  t.is(world.count('findRepository'), 1)
  const denied = await failureOf(issuer.answer(await narrow(idOf('api')), caller))
  world.publicRepositories.set(77, { owner: 'stranger', name: 'web' })
  for (const id of [999_999, 77]) {
    const unknown = await failureOf(narrow(id))
    t.deepEqual([unknown.code, unknown.message], [denied.code, denied.message])
  }
  const asked = world.count('findRepository')
  for (const id of [idOf('Web'), idOf('api'), 999_999]) await narrow(id).catch(() => undefined)
  t.is(world.count('findRepository'), asked, 'what was found, and what was not, is remembered')
  t.is((await failureOf(narrow(idOf('Web'), callerOf(peerOf(1001))))).code, 'not-permitted')
  const other = world.install(installation.id, { type: 'organization', login: 'hexa' })
  t.is((await failureOf(narrow(world.installations.get(other.id)?.repositories[0]?.id ?? 0))).code, 'not-permitted')
  await clock.advance(61_000)
  world.outage = new Failure('github-outage', 'away')
  t.is((await failureOf(narrow(idOf('Web')))).code, 'github-outage')
  world.outage = undefined
  t.deepEqual(await narrow(idOf('Web')), wanted, 'a look that failed is not remembered')
})

test('each look at an id takes from the allowance for new tokens, of token.sock alone', async t => {
  const { issuer, world } = await connectedRig({ policy: policyOf(CI) })
  const look = (id: number, socket?: 'admin') =>
    failureOf(issuer.narrowTo(id, { request: {}, caller: callerOf(peerOf(1000), socket) }))
  const codes: string[] = []
  for (let id = 1; id <= MINTS.burst + 1; id++) codes.push((await look(1_000_000 + id)).code)
  t.is(codes.filter(code => code === 'not-permitted').length, MINTS.burst)
  t.is(codes.at(-1), 'rate-limited')
  t.is(world.count('findRepository'), MINTS.burst)
  t.is((await look(5_000_000, 'admin')).code, 'not-permitted')
})

test('a peer that died while GitHub was asked gets nothing, and no grant is recorded', async t => {
  const { issuer, disk } = await connectedRig({ policy: policyOf(CI) })
  const caller = callerOf(peerOf(1000))
  const attested = {
    ...caller.attested,
    assertAlive() {
      throw new Failure('peer-gone', 'the calling process has ended')
    },
  }
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, { ...caller, attested }))).code, 'peer-gone')
  t.false(disk.audit.some(row => row.event === 'token.grant'))
})

test('a grant that cannot be audited is not made, and neither is one while disabling', async t => {
  const { issuer, disk, connectionState, clock } = await connectedRig({ policy: policyOf(CI) })
  const caller = callerOf(peerOf(1000))
  await issuer.answer({ repositories: ['web'] }, caller)
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))).code, 'audit-unavailable')
  t.is((await failureOf(issuer.answer({ repositories: ['api'] }, caller))).code, 'audit-unavailable')
  delete disk.auditFailure
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({ ...connection, kind: 'disconnecting', step: 'revoke', deadlineMs: clock.now() + MINUTE })
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, caller))).code, 'not-connected')
})

test('a grant is in the log before the answer, and a denial too', async t => {
  const { issuer, disk, audit } = await connectedRig({ policy: policyOf(CI) })
  audit.flush()
  const before = disk.audit.length
  const { token } = await issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000, { unit: 'ci.service' })))
  await failureOf(issuer.answer({ repositories: ['api'] }, callerOf(peerOf(1000))))
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
  const { issuer, world, app, installation } = await connectedRig({ policy: policyOf(CI) })
  world.uninstall(installation.id)
  const again = world.install(app.id, ORG)
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000)))),
  )
  t.true(answers.every(answer => answer.installation === again.id))
  t.is(world.count('listInstallations'), 1)
  t.is(world.count('mint'), 2)
})

test('an installation that stays away is not looked for at each request', async t => {
  const { issuer, world, installation, clock } = await connectedRig({ policy: policyOf(CI) })
  world.installations.delete(installation.id)
  world.outage = undefined
  world.refuse('listInstallations', 'timeout', { times: 1_000 })
  for (let n = 0; n < 50; n += 1) await failureOf(issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))
  t.is(world.count('listInstallations'), 1)
  await clock.advance(MINUTE)
  await failureOf(issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))
  t.is(world.count('listInstallations'), 2)
})

test('a scope that GitHub widened is revoked and not answered', async t => {
  const { issuer, world } = await connectedRig({ policy: policyOf(CI) })
  world.surplus = { issues: 'read' }
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))).code, 'scope-mismatch')
  t.is(world.count('revoke'), 1)
})

test('the allowance for new tokens is taken where GitHub is asked, and only there', async t => {
  const { issuer, world, installation, clock } = await connectedRig({ policy: policyOf(CI) })
  const caller = callerOf(peerOf(1000))
  const names = Array.from({ length: MINTS.burst + 1 }, (_, n) => `infra-${n}`)
  world.change(installation.id, {}, ['Web', ...names])
  await Promise.all(Array.from({ length: 700 }, () => issuer.answer({ repositories: ['web'] }, caller)))
  for (const name of names.slice(1, MINTS.burst)) await issuer.answer({ repositories: [name] }, caller)
  t.is(world.count('mint'), MINTS.burst, '700 who waited for one mint took one')
  t.is((await failureOf(issuer.answer({ repositories: ['infra-0'] }, caller))).code, 'rate-limited')
  t.is((await failureOf(issuer.answer({ repository_ids: [1] }, caller))).code, 'rate-limited', 'a list is a call, too')
  t.is(world.count('listRepositories'), 0)
  const { token } = await issuer.answer({ repositories: ['web'] }, caller)
  const claim = { repositories: ['web'], rejected: hashToken(new Secret(token)) }
  t.is((await failureOf(issuer.answer(claim, caller))).code, 'rate-limited', 'and so is a question about a token')
  t.is(world.count('accepts'), 0)
  t.truthy((await issuer.answer({ repositories: ['infra-0'] }, callerOf(peerOf(0), 'admin'))).token)
  await clock.advance(1_000)
  t.truthy((await issuer.answer({ repositories: ['infra-0'] }, caller)).token, 'one a second')
})

test('a stranger makes no calls to GitHub, whatever it asks by', async t => {
  const { issuer, world, installation } = await connectedRig({ policy: policyOf(CI) })
  const id = world.installations.get(installation.id)?.repositories[0]?.id ?? 0
  const stranger = callerOf(peerOf(1001))
  const requests: TokenRequest[] = [
    { repository_ids: [id] },
    { repository_ids: [id], profile: 'ci' },
    { repository_ids: [id], installation: installation.id },
    { repositories: ['web'], rejected: hashToken(new Secret('ghs_x')) },
    { repositories: ['web'], min_ttl_seconds: 2_400 },
  ]
  for (const request of requests) t.is((await failureOf(issuer.answer(request, stranger))).code, 'not-permitted')
  t.deepEqual(world.calls, [])
})

test('a disable that comes with the end of a mint stops its token', async t => {
  const { issuer, events, connectionState, disk } = await connectedRig({ policy: policyOf(CI) })
  events.subscribe(({ event }) => {
    const { connection } = connectionState.read()
    if (event !== 'token-refreshed' || connection.kind !== 'connected') return
    connectionState.transition({
      ...connection,
      kind: 'disconnecting',
      step: 'revoke',
      deadlineMs: Number.MAX_SAFE_INTEGER,
    })
  })
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000))))).code, 'not-connected')
  t.false(disk.audit.some(row => row.event === 'token.grant'))
})

test('the answer has the account by its new name once GitHub told it, for the same token', async t => {
  const { issuer, world, installation, rig } = await connectedRig()
  rig.setPolicy(policyOf({ ...CI, installation: installation.id }))
  const caller = callerOf(peerOf(1000))
  const before = await issuer.answer({ repositories: ['web'] }, caller)
  t.is(before.account, ORG.login)
  world.change(installation.id, { account: { ...ORG, login: 'hexa-org' } })
  await rig.drift.check()
  const after = await issuer.answer({ repositories: ['web'] }, caller)
  t.is(after.token, before.token)
  t.is(after.account, 'hexa-org')
})

test('min_ttl_seconds counts seconds', async t => {
  const { issuer, clock } = await connectedRig({ policy: policyOf(CI) })
  const caller = callerOf(peerOf(1000))
  const { token } = await issuer.answer({ repositories: ['web'] }, caller)
  await clock.advance(25 * MINUTE)
  t.is((await issuer.answer({ repositories: ['web'], min_ttl_seconds: 34 * 60 }, caller)).token, token)
  t.not((await issuer.answer({ repositories: ['web'], min_ttl_seconds: 36 * 60 }, caller)).token, token)
})

test('a peer that was refused because it had ended is in the audit log', async t => {
  const { issuer, disk } = await connectedRig({ policy: policyOf(CI) })
  const caller = callerOf(peerOf(1000, { unit: 'ci.service' }))
  const attested = {
    ...caller.attested,
    assertAlive() {
      throw new Failure('peer-gone', 'the calling process has ended')
    },
  }
  const dead = { ...caller, attested }
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, dead))).code, 'peer-gone', 'after a mint')
  t.is((await failureOf(issuer.answer({ repositories: ['web'] }, dead))).code, 'peer-gone', 'and from the cache')
  const rows = disk.audit.filter(row => row.event === 'token.deny')
  t.is(rows.length, 1, 'repeats within a minute are counted')
  t.like(rows[0], { detail: 'the calling process has ended', peer: { pid: 10, uid: 1000, unit: 'ci.service' } })
})

test('the names of ids are listed again after a minute, once for all who wait, and not at once after a failure', async t => {
  const { issuer, world, installation, clock } = await connectedRig({
    policy: policyOf({ ...CI, repositories: ['*'] }),
  })
  const repository = world.installations.get(installation.id)?.repositories[0] ?? { id: 0, name: '' }
  const ask = (id = repository.id) => issuer.answer({ repository_ids: [id] }, callerOf(peerOf(1000)))
  await Promise.all(Array.from({ length: 20 }, () => ask()))
  t.is(world.count('listRepositories'), 1)
  repository.name = 'renamed'
  await clock.advance(59_000)
  await ask()
  t.is(world.count('listRepositories'), 1)
  await clock.advance(1_000)
  t.deepEqual((await ask()).repositories, ['renamed'])
  t.is(world.count('listRepositories'), 2)
  await clock.advance(MINUTE)
  world.refuse('listRepositories', 'timeout')
  for (let n = 0; n < 5; n += 1) t.is((await failureOf(ask())).code, 'timeout')
  t.is(world.count('listRepositories'), 3, 'a list that failed rests a second')
  await clock.advance(1_000)
  await ask()
  t.is(world.count('listRepositories'), 4)
})

test('a list of many pages is kept as long as it cost: ten pages a minute', async t => {
  const { issuer, world, installation, clock } = await connectedRig({
    policy: policyOf({ ...CI, repositories: ['*'] }),
  })
  world.change(
    installation.id,
    {},
    Array.from({ length: 2_000 }, (_, n) => `r${n}`),
  )
  const id = world.installations.get(installation.id)?.repositories[7]?.id ?? 0
  const caller = callerOf(peerOf(1000))
  await issuer.answer({ repository_ids: [id] }, caller)
  await clock.advance(119_000)
  await issuer.answer({ repository_ids: [id] }, caller)
  t.is(world.count('listRepositories'), 1)
  await clock.advance(1_000)
  await issuer.answer({ repository_ids: [id] }, caller)
  t.is(world.count('listRepositories'), 2)
})

test('a refusal names the repository that is not accessible, with one look at GitHub a minute', async t => {
  const { issuer, world } = await connectedRig({ policy: policyOf({ ...CI, repositories: ['*'] }) })
  const caller = callerOf(peerOf(1000))
  const one = await failureOf(issuer.answer({ repositories: ['tpyo'] }, caller))
  t.is(one.code, 'repository-not-accessible')
  t.regex(one.message, /^not accessible to the installation: tpyo;/)
  t.is(world.count('listRepositories'), 0, 'of one there is nothing to find out')
  const several = await failureOf(issuer.answer({ repositories: ['web', 'tpyo', 'gone', 'api'] }, caller))
  t.regex(
    several.message,
    /^not accessible to the installation: gone, tpyo;|^not accessible to the installation: tpyo, gone;/,
  )
  await failureOf(issuer.answer({ repositories: ['web', 'other-tpyo'] }, caller))
  t.is(world.count('listRepositories'), 1)
})

test('where the names cannot be listed, a refusal says which were asked for', async t => {
  const { issuer, world } = await connectedRig({ policy: policyOf({ ...CI, repositories: ['*'] }) })
  world.refuse('listRepositories', 'timeout')
  const failure = await failureOf(issuer.answer({ repositories: ['web', 'tpyo'] }, callerOf(peerOf(1000))))
  t.is(failure.code, 'repository-not-accessible')
  t.regex(failure.message, /one of web, tpyo;/)
  const names = Array.from({ length: 100 }, (_, n) => `${'x'.repeat(90)}${n}`)
  const long = await failureOf(issuer.answer({ repositories: names }, callerOf(peerOf(0), 'admin')))
  t.true(long.message.length < 2_500, 'and not all of a hundred')
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
      const { issuer, world, app, rig } = await connectedRig({ policy })
      world.install(app.id, { type: 'organization', login: 'hexa' })
      await rig.drift.check()
      const { installations } = rig.connectionState.read()
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
        const caller = callers.get(name) ?? { socket: admin ? 'admin' : 'token', attested: same }
        callers.set(name, caller)
        const mints = world.count('mint')
        let answer: TokenAnswer
        try {
          answer = await issuer.answer(wish, caller)
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
