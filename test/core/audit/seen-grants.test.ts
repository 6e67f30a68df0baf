// What is remembered of grants: bounded in all, the largest holder pays, and what was used last stays.

import test from 'ava'
import { Secret } from '../../../src/protocol/secret.ts'
import { createSeenGrants, type GrantRecord, ROWS } from '../../../src/core/audit/seen-grants.ts'
import { createFakeClock } from '../../support/fakes.ts'
import { peerOf } from '../../support/operations-rig.ts'

const TOKEN = new Secret('ghs_1')
const ofProcess = (uid: number, pid: number, scope = 'web'): GrantRecord => ({
  connection: {},
  peer: peerOf(uid, { pid, startTicks: 1 }),
  profile: 'ci',
  scope,
  token: TOKEN,
})
/** As much as one entry with this scope takes. */
const EACH = 803

test('what does not fit is forgotten of the largest holder, its oldest first, and a small one keeps its own', t => {
  const seen = createSeenGrants({ clock: createFakeClock(), maxBytes: 20 * EACH })
  const small = Array.from({ length: 4 }, (_, n) => ofProcess(1, n + 1))
  const large = Array.from({ length: 9 }, (_, n) => ofProcess(2, n + 1))
  const other = Array.from({ length: 9 }, (_, n) => ofProcess(3, n + 1))
  for (const one of [...small, ...large]) seen.add(one)
  t.truthy(seen.find(large[0] ?? ofProcess(2, 1)), 'used last')
  for (const one of other) seen.add(one)
  const held = (all: readonly GrantRecord[]): boolean[] => all.map(one => seen.find(one) !== undefined)
  t.deepEqual(held(small), [true, true, true, true])
  t.is([...held(large), ...held(other)].filter(Boolean).length, 16)
  t.true(held(large)[0])
  t.false(held(large)[1])
})

test('one holder has half of the room at most', t => {
  const seen = createSeenGrants({ clock: createFakeClock(), maxBytes: 20 * EACH })
  const all = Array.from({ length: 15 }, (_, n) => ofProcess(1, n + 1))
  const added = all.map(one => seen.add(one).seen)
  t.is(added.filter(({ dropped }) => dropped).length, 5)
  t.deepEqual(
    added.slice(0, 5).map(({ dropped }) => dropped),
    [true, true, true, true, true],
  )
})

test('a grant that is forgotten twice gives back its room once', t => {
  const seen = createSeenGrants({ clock: createFakeClock(), maxBytes: 4 * EACH })
  const [one, two, three] = [ofProcess(1, 1), ofProcess(1, 2), ofProcess(1, 3)]
  const first = seen.add(one).seen
  seen.forget(first)
  seen.forget(first)
  t.is(seen.find(one), undefined)
  seen.add(two)
  seen.add(three)
  t.truthy(seen.find(two))
  seen.add(one)
  t.deepEqual(
    [one, two, three].map(each => seen.find(each) !== undefined),
    [true, true, false],
    'two fit into half of it',
  )
})

test('a row with many repositories counts for as many short ones as it is long', async t => {
  const clock = createFakeClock()
  const seen = createSeenGrants({ clock })
  const long = 'x'.repeat(1024 * 1_000 - 1)
  const detailOf = (pid: number, scope: string): string => seen.add(ofProcess(1, pid, scope)).row.detail ?? 'its own'
  for (let pid = 1; pid < ROWS.burst / 1_000; pid += 1) t.is(detailOf(pid, long), 'its own')
  t.is(detailOf(100, 'web'), 'its own')
  t.is(detailOf(101, long), 'this process and others of uid 1')
  t.is(detailOf(102, 'web'), 'its own', 'for a short one there is room')
  await clock.advance(2 * 60_000)
  t.is(detailOf(103, long), 'its own')
})
