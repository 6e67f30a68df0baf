// GitHub's clock is learned from answers, and a wrong clock here does no harm.

import test from 'ava'
import { createGitHubClock } from '../../../src/core/github/clock.ts'
import { fakeClock } from './fakes.ts'

const AT = Date.parse('2026-06-01T12:00:00Z')

test('an answer within the resolution of the Date header teaches no offset', t => {
  const clock = fakeClock(AT)
  const changes: number[] = []
  const github = createGitHubClock({ clock, offsetMs: 0, onChange: ms => changes.push(ms) })
  github.learn(new Date(AT).toUTCString(), AT)
  t.is(github.offsetMs(), 0)
  t.deepEqual(changes, [])
})

for (const minutes of [-300, -5, 5, 300]) {
  test(`a clock ${minutes} minutes off is learned, and told once`, t => {
    const clock = fakeClock(AT + minutes * 60_000)
    const changes: number[] = []
    const github = createGitHubClock({ clock, offsetMs: 0, onChange: ms => changes.push(ms) })
    for (let i = 0; i < 3; i++) {
      github.learn(new Date(AT + i * 1000).toUTCString(), clock.now())
      clock.advance(1000)
    }
    t.true(Math.abs(github.offsetMs() + minutes * 60_000) <= 1500)
    t.true(Math.abs(github.now() - (AT + 3000)) <= 1500)
    t.is(changes.length, 1)
  })
}

test('a wall clock that is set back makes no time pass backwards', t => {
  const clock = fakeClock(AT)
  const github = createGitHubClock({ clock, offsetMs: 0, onChange: () => undefined })
  github.learn(new Date(AT).toUTCString(), AT)
  clock.advance(60_000)
  clock.set(AT - 3_600_000)
  t.true(github.now() >= AT + 60_000)
})

test('what was learned before the last stop holds until the first answer', t => {
  const clock = fakeClock(AT)
  const github = createGitHubClock({ clock, offsetMs: 90_000, onChange: () => undefined })
  t.is(github.now(), AT + 90_000)
  github.learn(new Date(AT).toUTCString(), AT)
  t.is(github.offsetMs(), 0)
})

test('a wall clock that was set back while the daemon was down makes no token young again', t => {
  const before = fakeClock(AT)
  const first = createGitHubClock({ clock: before, offsetMs: 0, onChange: () => undefined })
  t.is(first.findTold(), undefined, 'nothing was told yet')
  first.learn(new Date(AT).toUTCString(), AT)
  before.advance(60_000)
  const kept = first.findTold()
  t.true(kept !== undefined && kept >= AT + 60_000)
  const later = fakeClock(AT - 3_600_000)
  const second = createGitHubClock({ clock: later, offsetMs: 0, leastMs: kept, onChange: () => undefined })
  t.true(second.now() >= AT + 60_000)
  later.advance(10_000)
  t.true(second.now() >= AT + 70_000)
  t.is(second.findTold(), undefined, 'it is a lower bound, and no answer')
})

test('nonsense, an answer from before the request and a very slow answer teach nothing', t => {
  const clock = fakeClock(AT)
  const github = createGitHubClock({ clock, offsetMs: 0, onChange: () => t.fail() })
  const late = new Date(AT + 600_000).toUTCString()
  github.learn('yesterday', AT)
  github.learn(late, AT + 1)
  github.learn(late, AT - 31_000)
  t.is(github.offsetMs(), 0)
})

test('the offset is reckoned from the middle of the call and of the second that the answer names', t => {
  const clock = fakeClock(AT)
  const changes: number[] = []
  const github = createGitHubClock({ clock, offsetMs: 0, onChange: ms => changes.push(ms) })
  clock.advance(20_000)
  github.learn(new Date(AT + 600_000).toUTCString(), AT)
  t.deepEqual(changes, [590_500])
  t.is(github.offsetMs(), 590_500)
  t.is(github.now(), AT + 20_000 + 590_500)
  t.is(github.findTold(), AT + 20_000 + 590_500)
  clock.advance(1_000)
  t.is(github.findTold(), AT + 21_000 + 590_500)
})

test('an answer may take half a minute, and the longer it took the less a difference says', t => {
  const clock = fakeClock(AT)
  const github = createGitHubClock({ clock, offsetMs: 0, onChange: () => undefined })
  clock.advance(30_000)
  github.learn(new Date(AT + 30_000).toUTCString(), AT)
  t.is(github.offsetMs(), 0, 'within the time that the call took')
  t.is(github.findTold(), AT + 30_000)
  github.learn(new Date(AT + 45_000).toUTCString(), AT)
  t.is(github.offsetMs(), 30_500)
})

test('a machine that slept goes on with its wall clock', t => {
  const clock = fakeClock(AT)
  const github = createGitHubClock({ clock, offsetMs: 0, onChange: () => undefined })
  github.learn(new Date(AT).toUTCString(), AT)
  clock.set(AT + 3_600_000)
  t.is(github.now(), AT + 3_600_000)
})
