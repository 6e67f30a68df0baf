// Sessions and one-time links, each by itself: how many there are, how long they last, and what they hold when they are over.

import test from 'ava'
import { createLinks, createSessions, SESSION_COOKIE } from '../../src/page/sessions.ts'
import { createFakeClock, START_MS } from '../support/fakes.ts'
import { peerOf } from '../support/operations-rig.ts'

const MINUTE_MS = 60_000
const peer = peerOf(7)
const rigOf = () => {
  const clock = createFakeClock()
  const sessions = createSessions({ clock })
  const begin = (name?: string) => {
    const { session, cookie } = sessions.begin({ peer, ...(name !== undefined && { name }) })
    const find = (use: boolean, as?: string) => sessions.find(session.prefix, { cookie, name: as, use })
    return { session, cookie, find }
  }
  return { clock, sessions, begin }
}

test('a session is unlike any other, and says for whom it is', t => {
  const { begin } = rigOf()
  const [one, two] = [begin('alice'), begin()]
  t.deepEqual(one.session.visitor, { peer, name: 'alice' })
  t.deepEqual(two.session.visitor, { peer })
  const values = [one, two].flatMap(({ session, cookie }) => [session.prefix, session.csrf, cookie])
  t.is(new Set(values).size, 6)
  for (const { session, cookie } of [one, two]) {
    t.regex(session.prefix, /^\/s\/[0-9a-f]{32}$/)
    t.regex(session.csrf, /^[\w-]{32}$/)
    t.false(JSON.stringify(session).includes(cookie), 'the cookie is not among what pages are made of')
  }
})

test('fifteen minutes without a person end it, to the millisecond; what looks without use prolongs nothing', async t => {
  const { clock, begin, sessions } = rigOf()
  const { session, cookie, find } = begin()
  await clock.advance(10 * MINUTE_MS)
  t.is(find(true), session)
  await clock.advance(10 * MINUTE_MS)
  t.is(find(false), session)
  t.true(sessions.covers(`${session.prefix}/`, `${SESSION_COOKIE}=${cookie}`))
  t.true(sessions.has(session))
  await clock.advance(5 * MINUTE_MS - 1)
  t.is(find(false), session)
  await clock.advance(1)
  t.is(find(false), undefined)
  t.false(sessions.has(session))
})

test('an idle session ends by itself, its listeners hear of it once, and nothing is looked at any more', async t => {
  const { clock, begin, sessions } = rigOf()
  const { session } = begin()
  const heard: string[] = []
  sessions.onEnd(session, () => heard.push('first'))
  sessions.onEnd(session, () => heard.push('canceled')).cancel()
  await clock.advance(15 * MINUTE_MS + 15_000)
  t.deepEqual(heard, ['first'])
  t.is(clock.waiting(), 0)
  sessions.onEnd(session, () => heard.push('late'))
  t.deepEqual(heard, ['first', 'late'], 'who comes later is told at once')
  sessions.end(session)
  t.is(heard.length, 2)
  begin()
  t.is(clock.waiting(), 1, 'a new one is looked at again')
  begin()
  t.is(clock.waiting(), 1)
})

test('a machine that slept, and a clock that was set on, end sessions by the wall clock', t => {
  const { clock, begin, sessions } = rigOf()
  const { session, find } = begin()
  clock.sleepMachine(15 * MINUTE_MS)
  t.false(sessions.has(session))
  t.is(find(true), undefined)
})

test('the session of a visitor is nobody else’s, while a link works behind a web server that names its visitor', t => {
  const { begin } = rigOf()
  const alice = begin('alice')
  t.is(alice.find(true, 'alice'), alice.session)
  t.is(alice.find(true, 'bob'), undefined)
  t.is(alice.find(true), undefined)
  t.is(alice.find(true, 'alice'), alice.session, 'who comes by does not end it')
  const link = begin()
  t.is(link.find(true, 'bob'), link.session)
})

test('a request is covered by the cookie of its path, wherever that stands among others', t => {
  const { begin, sessions } = rigOf()
  const { session, cookie } = begin()
  const other = begin()
  const own = `${SESSION_COOKIE}=${cookie}`
  for (const [path, cookies, is] of [
    ['/', own, true],
    ['/keys?x=1', `a=b; ${own}; c=d`, true],
    ['/', `a=b;${own}`, true],
    ['/', `x${own}`, false],
    ['/', `a=b, ${own}`, false],
    ['/', `${SESSION_COOKIE}=${other.cookie}`, false],
    ['/', '', false],
    ['', own, false],
  ] as const)
    t.is(sessions.covers(session.prefix + path, cookies), is, `${path} ${cookies}`)
  t.false(sessions.covers(`/x${session.prefix}/`, own))
  sessions.end(session)
  t.false(sessions.covers(`${session.prefix}/`, own))
})

test('a link lasts five minutes by either clock, and is told with its end', async t => {
  const clock = createFakeClock()
  const links = createLinks({ clock })
  const { code, expiresAtMs } = links.issue(peer)
  t.regex(code, /^[0-9a-f]{32}$/)
  t.is(expiresAtMs, START_MS + 5 * MINUTE_MS)
  t.is(links.find(code)?.expiresAtMs, expiresAtMs)
  await clock.advance(5 * MINUTE_MS - 1)
  t.truthy(links.find(code))
  clock.sleepMachine(1)
  t.is(links.find(code), undefined, 'by the wall clock')
  clock.setWallBy(-MINUTE_MS)
  t.is(links.take(code), undefined, 'and it does not come back')
  const second = links.issue(peer).code
  clock.setWallBy(-60 * MINUTE_MS)
  await clock.advance(5 * MINUTE_MS)
  t.is(links.take(second), undefined, 'by the monotonic clock')
  const third = links.issue(peer).code
  t.is(links.take(third), peer)
  t.is(links.take(third), undefined)
})

test('of more than 32 links the oldest gives way, and no other', t => {
  const links = createLinks({ clock: createFakeClock() })
  const codes = Array.from({ length: 33 }, () => links.issue(peer).code)
  t.deepEqual(
    codes.map(code => links.find(code) !== undefined),
    [false, ...Array<boolean>(32).fill(true)],
  )
})

test('the way back from GitHub leads to who went last with that state, while they are signed in', t => {
  const { begin, sessions, clock } = rigOf()
  const [first, second] = [begin().session, begin().session]
  t.is(sessions.findByState(undefined), undefined)
  sessions.keepState(first, 'twice')
  sessions.keepState(second, 'twice')
  t.is(sessions.findByState('twice'), second)
  t.is(sessions.findByState('another'), undefined)
  sessions.end(second)
  t.is(sessions.findByState('twice'), undefined)
  sessions.keepState(first, 'once')
  t.is(sessions.findByState('once'), first)
  sessions.keepState(first, 'again')
  t.is(sessions.findByState('once'), first, 'in another tab')
  clock.sleepMachine(15 * MINUTE_MS)
  t.is(sessions.findByState('again'), undefined, 'idle, before anything looked')
})
