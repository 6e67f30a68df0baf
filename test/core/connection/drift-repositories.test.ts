// Repositories of an installation: listed when GitHub gives a hint, and once an hour; what came and went is told, and nothing twice.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { connectedRig, createRig } from '../../support/operations-rig.ts'

const MINUTE = 60_000

/** An installation on some repositories. `look` gives the rows that the look adds to the audit log. */
const setUp = async (...names: string[]) => {
  const rig = await connectedRig()
  const { world, disk, installation } = rig
  const { id } = installation
  world.change(id, { repositorySelection: 'selected' }, names)
  /** Without a hint of GitHub's. */
  const give = (next: readonly string[], to = id): void => {
    const hintMs = world.changedMs.get(to) ?? 0
    world.change(to, {}, next)
    world.changedMs.set(to, hintMs)
  }
  const rows = (): (string | undefined)[] =>
    disk.audit
      .filter(({ event, detail }) => event === 'connection.repositories' && detail?.includes(': repositories '))
      .map(({ detail }) => detail)
  const look = async (
    options = { force: false },
    { drift }: Pick<typeof rig, 'drift'> = rig,
  ): Promise<(string | undefined)[]> => {
    const before = rows().length
    await drift.check(options)
    return rows().slice(before)
  }
  const fact = (of = id): unknown => rig.store.facts.find(`connection.repositories.${of}`)
  return { ...rig, id, give, look, fact, listed: () => world.count('listRepositories') }
}

test('after two looks the list is asked for on a hint, when somebody asks, and once an hour', async t => {
  const { clock, world, id, give, look, listed } = await setUp('web')
  t.deepEqual(await look(), [], 'what was first seen is no change')
  await look()
  await look()
  t.is(listed(), 2)
  await clock.advance(59 * MINUTE)
  await look()
  t.is(listed(), 2)
  give(['web', 'api'])
  await clock.advance(MINUTE)
  t.deepEqual(await look(), ['Octo-Org: repositories added api'])
  t.is(listed(), 3)
  give(['api'])
  t.deepEqual(await look(), [])
  t.deepEqual(await look({ force: true }), ['Octo-Org: repositories removed web'])
  world.change(id, {}, ['docs'])
  t.deepEqual(await look(), ['Octo-Org: repositories added docs; removed api'])
})

test('a change is told once, whatever the order of the list, and known after a restart', async t => {
  const { rig, premises, give, look } = await setUp('web', 'api')
  await look({ force: true })
  give(['api', 'web'])
  t.deepEqual(await look({ force: true }), [])
  give(['api'])
  rig.kill()
  const second = createRig(premises)
  t.deepEqual(await look({ force: false }, second), ['Octo-Org: repositories removed web'])
  second.kill()
  t.deepEqual(await look({ force: false }, createRig(premises)), [])
})

test('two looks at once tell a change once', async t => {
  const { drift, give, look } = await setUp('web')
  await look()
  await look()
  give(['web', 'api'])
  const [first, second] = await Promise.all([look({ force: true }), drift.check({ force: true })])
  t.is(second, undefined)
  t.deepEqual(first, ['Octo-Org: repositories added api'])
})

test('an installation on all repositories or one that is suspended is not listed; its former selection is no change later', async t => {
  const { world, clock, id, give, look, listed, fact } = await setUp('web')
  await look()
  world.change(id, { repositorySelection: 'all' })
  t.deepEqual(await look({ force: true }), [])
  t.is(fact(), null)
  world.change(id, { repositorySelection: 'selected' }, ['api'])
  t.deepEqual(await look(), [])
  // Of one thing three changes are told within half an hour.
  await clock.advance(31 * MINUTE)
  await look()
  const before = listed()
  give(['docs'])
  world.suspend(id, true)
  t.deepEqual(await look({ force: true }), [])
  t.is(listed(), before)
  world.suspend(id, false)
  t.deepEqual(await look(), ['Octo-Org: repositories added docs; removed api'], 'looked at once it is back')
})

test('a list that cannot be had hides no change of another installation, and is asked for again', async t => {
  const { world, app, give, look, log } = await setUp('web')
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  world.change(other.id, { repositorySelection: 'selected' }, ['web'])
  await look()
  give(['api'])
  give([], other.id)
  world.refuse('listRepositories', 'unreachable')
  t.deepEqual(await look({ force: true }), ['hexa: repositories removed web'])
  t.true(log.lines.some(({ message }) => message === 'the repositories of an installation could not be listed'))
  t.deepEqual(await look({ force: true }), ['Octo-Org: repositories added api; removed web'])
})

test('of many names twenty are told, and how many more there are', async t => {
  const { give, look } = await setUp()
  const names = Array.from({ length: 21 }, (_, at) => `r${String(at).padStart(2, '0')}`)
  const told = `Octo-Org: repositories added ${names.slice(0, 20).join(', ')}`
  await look()
  give(names.slice(0, 20))
  t.deepEqual(await look({ force: true }), [told])
  give([])
  await look({ force: true })
  const { give: giveAll, look: lookAt } = await setUp()
  await lookAt()
  giveAll(names)
  t.deepEqual(await lookAt({ force: true }), [`${told} and 1 more`])
})

test('a full disk keeps a list that no longer holds, hides no change of another installation, and is in the log', async t => {
  const { world, app, id, store, give, look, fact, log } = await setUp('web')
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  world.change(other.id, { repositorySelection: 'selected' }, ['web'])
  await look()
  const { put } = store.facts
  store.facts.put = (name, value) => {
    if (name.endsWith(`.${id}`)) throw new Failure('disk-full', 'no space is left')
    put(name, value)
  }
  world.change(id, { repositorySelection: 'all' })
  give(['api'], other.id)
  t.deepEqual(await look({ force: true }), ['hexa: repositories added api; removed web'])
  t.true(log.lines.some(({ fields }) => fields?.['error'] instanceof Failure && fields['error'].code === 'disk-full'))
  t.deepEqual(fact(), ['web'])
  store.facts.put = put
  await look()
  t.is(fact(), null)
})
