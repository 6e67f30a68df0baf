// Status: the next step is that of the worst warning, and nothing is claimed that GitHub was not asked.

import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { connectedRig, createPremises, createRig } from '../support/operations-rig.ts'

test('the next step is that of the worst warning: a live fault before a missing recovery key', async t => {
  const { status, world, link } = await connectedRig()
  t.deepEqual(
    status.whole().warnings.map(({ code }) => code),
    ['no-recovery-key'],
  )
  t.regex(status.whole().next, /^Run `ghconnect recovery-key create`/)
  t.is(status.brief().next, 'Nothing to do.', 'an ordinary user has nothing to do about a recovery key')
  world.refuse('getApp', 'proxy-authentication')
  await t.throwsAsync(() => link.getApp(), { code: 'proxy-authentication' })
  t.regex(status.whole().next, /^Check the user in \[proxy\] url/)
  t.regex(status.standing().next, /^Check the user in \[proxy\] url/)
  t.is(status.brief().next, 'Ask an administrator: `sudo ghconnect status` says what is wrong.')
})

test('where nothing can be recorded, the next step of every state is to fix that', async t => {
  const full = new Failure('disk-full', 'no space is left for audit.db', { next: 'Free some space.' })
  const fresh = createRig(createPremises())
  fresh.disk.full = full
  t.is(fresh.status.whole().state, 'disconnected')
  t.is(fresh.status.whole().next, full.next)
  t.is(fresh.status.standing().next, full.next)
  t.regex(fresh.status.brief().next, /ghconnect enable/, 'what fails is not for everybody')
  const rig = await connectedRig()
  rig.disk.full = full
  t.is(rig.status.whole().next, full.next)
  t.like(rig.status.whole().warnings[0], { code: 'disk-full', next: full.next })
  t.is(rig.status.brief().next, 'Ask an administrator: `sudo ghconnect status` says what is wrong.')
})

test('the clock is not called right before GitHub told its time', async t => {
  const fresh = createRig(createPremises())
  t.false(fresh.status.whole().clock_known)
  fresh.githubClock.learn(new Date(fresh.clock.now()).toUTCString(), fresh.clock.now())
  t.true(fresh.status.whole().clock_known)
})

test('after a disable nothing warns', async t => {
  const { status, disable } = await connectedRig()
  await disable.begin({ local: true, wait: true })
  t.deepEqual(status.whole().warnings, [])
  t.regex(status.whole().next, /ghconnect enable/)
})
