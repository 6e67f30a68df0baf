// The names of an installation's repositories: listed no more often than they cost, bounded in memory, and told where GitHub refuses one.

import test from 'ava'
import type { Installation } from '../../../src/protocol/connection.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createRepositoryNames } from '../../../src/core/tokens/repository-names.ts'
import { createFakeClock, settle } from '../../support/fakes.ts'

const MINUTE = 60_000

const installationOf = (id: number): Installation => ({
  id,
  account: { type: 'organization', login: 'Octo-Org' },
  repositorySelection: 'all',
  permissions: {},
  htmlUrl: '',
})

const setUp = (sizes: Readonly<Record<number, number>> = {}) => {
  const clock = createFakeClock()
  const listed: number[] = []
  const looked: number[] = []
  const owners = new Map<number, string>()
  const fault: { failure?: Failure } = {}
  const names = createRepositoryNames({
    tokens: {
      obtain: async ({ profile, scope }) => ({
        key: '' as never,
        slot: 'current',
        profile,
        scope,
        granted: { permissions: {} },
        mintedAtMs: 0,
        expiresAtMs: 0,
        token: new Secret(String(scope.installation)),
      }),
    },
    link: {
      async listRepositories(token) {
        const installation = Number(token.reveal())
        listed.push(installation)
        if (fault.failure) throw fault.failure
        const items = Array.from({ length: sizes[installation] ?? 2 }, (_, id) => ({ id, name: `r${id}` }))
        return { items, isWhole: true }
      },
      async findRepository(_, { id }) {
        looked.push(id)
        return { owner: owners.get(id) ?? 'Octo-Org', name: `r${id}` }
      },
    },
    rateLimit: { takeMint() {} },
    clock,
  })
  return { clock, names, listed, looked, owners, fault }
}

test('a list that fails again rests twice as long, and after one that did not a second again', async t => {
  const { clock, names, listed, fault } = setUp()
  const ask = async (): Promise<number> => {
    await names.list(1).catch(() => undefined)
    await settle()
    return listed.length
  }
  fault.failure = new Failure('timeout', 'slow')
  t.is(await ask(), 1)
  await clock.advance(1_000)
  t.is(await ask(), 2)
  await clock.advance(1_999)
  t.is(await ask(), 2)
  await clock.advance(1)
  delete fault.failure
  t.is(await ask(), 3)
  await clock.advance(MINUTE)
  fault.failure = new Failure('timeout', 'slow')
  t.is(await ask(), 4)
  await clock.advance(1_000)
  t.is(await ask(), 5)
})

test('of long lists the one that was asked for last is held, however long, and the others while there is room', async t => {
  const { names, listed } = setUp({ 1: 60_000, 2: 40_000, 3: 1, 4: 150_000 })
  const ask = async (installation: number): Promise<number> => {
    await names.list(installation)
    await settle()
    return listed.length
  }
  for (const installation of [1, 2, 1, 2]) await ask(installation)
  t.deepEqual(listed, [1, 2], 'both fit')
  for (const installation of [3, 2, 3]) await ask(installation)
  t.deepEqual(listed, [1, 2, 3])
  await ask(1)
  t.deepEqual(listed, [1, 2, 3, 1], 'the oldest one had gone')
  for (const installation of [4, 4, 2]) await ask(installation)
  t.deepEqual(listed, [1, 2, 3, 1, 4, 2])
})

test('ten thousand single ids are remembered, and then the oldest goes', async t => {
  const { names, looked } = setUp()
  const one = installationOf(1)
  for (let id = 0; id <= 10_000; id += 1) await names.find(one, id)
  await names.find(one, 1)
  t.is(looked.length, 10_001)
  t.is(await names.find(one, 0), 'r0')
  t.is(looked.length, 10_002)
  await names.find(installationOf(2), 1)
  t.is(looked.length, 10_003, 'of another installation it is another id')
})

test("a repository is the installation's where the owner is, in whatever spelling", async t => {
  const { names, owners } = setUp()
  owners.set(1, 'OCTO-ORG').set(2, 'hexa')
  t.is(await names.find(installationOf(1), 1), 'r1')
  t.is(await names.find(installationOf(1), 2), undefined)
})

test("an explained refusal keeps its code and GitHub's words, and counts the names that it leaves out", async t => {
  const { names } = setUp()
  const refusal = new Failure('repository-not-accessible', 'There is at least one repository')
  const wanted = ['R1', ...Array.from({ length: 25 }, (_, n) => `gone${n}`)]
  const told = await names.explain(refusal, { installation: 1, repositories: wanted })
  t.is(told.code, 'repository-not-accessible')
  const first = wanted.slice(1, 21).join(', ')
  t.is(told.message, `not accessible to the installation: ${first} and 5 more; There is at least one repository`)
  t.is(told.cause, refusal)
})
