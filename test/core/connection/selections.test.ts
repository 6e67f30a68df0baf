// Repositories of an installation: listed when GitHub gives a hint, and once an hour; what came and went is told, and nothing twice.

import test from 'ava'
import type { Installation } from '../../../src/protocol/connection.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { createSelections } from '../../../src/core/connection/selections.ts'
import { createFakeClock, createFakeLog, emptyDisk, openMemoryStore } from '../../support/fakes.ts'

const MINUTE = 60_000

const installation = (id: number, more: Partial<Installation> = {}): Installation => ({
  id,
  account: { type: 'organization', login: `org-${id}` },
  repositorySelection: 'selected',
  permissions: { metadata: 'read' },
  htmlUrl: `https://github.com/organizations/org-${id}/settings/installations/${id}`,
  ...more,
})

const setUp = () => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const disk = emptyDisk()
  const { facts } = openMemoryStore(disk)
  const repositories = new Map<number, readonly string[]>()
  const changed = new Map<number, number>()
  const listed: number[] = []
  const start = () =>
    createSelections({
      facts,
      clock,
      log,
      changedMs: id => changed.get(id),
      async repositoriesOf(id) {
        listed.push(id)
        const names = repositories.get(id)
        if (!names) throw new Failure('unreachable', 'no route')
        return names
      },
    })
  const { look } = start()
  const tell = async (found: readonly Installation[], options = { force: false }): Promise<string[]> =>
    (await look(found, options)).map(({ detail }) => detail)
  return { clock, log, disk, facts, repositories, changed, listed, start, look, tell }
}

test('after two looks the list is asked for on a hint, when somebody asks, and once an hour', async t => {
  const { clock, repositories, changed, listed, tell } = setUp()
  const one = installation(7)
  repositories.set(7, ['web'])
  changed.set(7, 1)
  t.deepEqual(await tell([one]), [], 'what was first seen is no change')
  await tell([one])
  await tell([one])
  t.is(listed.length, 2)
  await clock.advance(59 * MINUTE)
  await tell([one])
  t.is(listed.length, 2)
  repositories.set(7, ['web', 'api'])
  await clock.advance(MINUTE)
  t.deepEqual(await tell([one]), ['org-7: repositories added api'])
  t.is(listed.length, 3)
  repositories.set(7, ['api'])
  t.deepEqual(await tell([one]), [])
  t.deepEqual(await tell([one], { force: true }), ['org-7: repositories removed web'])
  repositories.set(7, ['docs'])
  changed.set(7, 2)
  t.deepEqual(await tell([one]), ['org-7: repositories added docs; removed api'])
})

test('a change is told once, whatever the order of the list, and known after a restart', async t => {
  const { repositories, look, start } = setUp()
  const one = installation(7)
  repositories.set(7, ['web', 'api'])
  await look([one], { force: true })
  repositories.set(7, ['api', 'web'])
  t.deepEqual(await look([one], { force: true }), [])
  repositories.set(7, ['api'])
  t.deepEqual(await start().look([one], { force: false }), [
    {
      event: 'connection.repositories',
      subject: '7',
      detail: 'org-7: repositories removed web',
      installation: 7,
      removed: ['web'],
    },
  ])
  t.deepEqual(await start().look([one], { force: false }), [])
})

test('an installation on all repositories or one that is suspended is not listed; its former selection is no change later', async t => {
  const { repositories, listed, tell, facts } = setUp()
  repositories.set(7, ['web'])
  await tell([installation(7)])
  t.deepEqual(await tell([installation(7, { repositorySelection: 'all' })], { force: true }), [])
  t.is(facts.find('connection.repositories.7'), null)
  repositories.set(7, ['api'])
  t.deepEqual(await tell([installation(7)]), [])
  const before = listed.length
  repositories.set(7, ['docs'])
  t.deepEqual(await tell([installation(7, { suspendedAtMs: 1 })], { force: true }), [])
  t.is(listed.length, before)
  t.deepEqual(
    await tell([installation(7)]),
    ['org-7: repositories added docs; removed api'],
    'looked at once it is back',
  )
})

test('a list that cannot be had hides no change of another installation, and is asked for again', async t => {
  const { repositories, tell, log } = setUp()
  const both = [installation(7), installation(8)]
  for (const id of [7, 8]) repositories.set(id, ['web'])
  await tell(both)
  repositories.delete(7)
  repositories.set(8, [])
  t.deepEqual(await tell(both, { force: true }), ['org-8: repositories removed web'])
  t.true(log.lines.some(({ message }) => message === 'the repositories of an installation could not be listed'))
  repositories.set(7, ['api'])
  t.deepEqual(await tell(both, { force: true }), ['org-7: repositories added api; removed web'])
})

test('of many names twenty are told, and how many more there are', async t => {
  const { repositories, tell } = setUp()
  const names = Array.from({ length: 21 }, (_, at) => `r${String(at).padStart(2, '0')}`)
  repositories.set(7, [])
  await tell([installation(7)])
  repositories.set(7, names.slice(0, 20))
  t.deepEqual(await tell([installation(7)], { force: true }), [
    `org-7: repositories added ${names.slice(0, 20).join(', ')}`,
  ])
  repositories.set(7, [])
  await tell([installation(7)], { force: true })
  repositories.set(7, names)
  t.deepEqual(await tell([installation(7)], { force: true }), [
    `org-7: repositories added ${names.slice(0, 20).join(', ')} and 1 more`,
  ])
})

test('a full disk keeps a list that no longer holds, hides no change of another installation, and is in the log', async t => {
  const { repositories, tell, facts, log, disk } = setUp()
  const [former, other] = [installation(7), installation(8)]
  for (const id of [7, 8]) repositories.set(id, ['web'])
  await tell([former, other])
  const all = installation(7, { repositorySelection: 'all' })
  disk.storeFailure = new Failure('disk-full', 'no space is left')
  t.deepEqual(await tell([all]), [])
  t.like(log.lines.at(-1), { fields: { error: { code: 'disk-full' } } })
  t.deepEqual(facts.find('connection.repositories.7'), ['web'])
  delete disk.storeFailure
  repositories.set(8, ['api'])
  t.deepEqual(await tell([all, other], { force: true }), ['org-8: repositories added api; removed web'])
  t.is(facts.find('connection.repositories.7'), null)
})
