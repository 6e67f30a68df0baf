// Places for answers without an end: counted for each holder, and given back once.

import test from 'ava'
import { createStreamPlaces, STREAMS_OF_HOLDER } from '../../../src/core/api/stream-places.ts'
import { callerOf, peerOf } from '../../support/operations-rig.ts'
import { codeOf, thrownBy } from '../../support/fakes.ts'

test('a place that is left twice is free once', t => {
  const take = createStreamPlaces()
  const caller = callerOf(peerOf(1000))
  const [leave] = Array.from({ length: STREAMS_OF_HOLDER.token }, () => take(caller))
  t.is(
    codeOf(() => take(caller)),
    'too-many-streams',
  )
  leave?.()
  leave?.()
  take(caller)
  t.is(
    codeOf(() => take(caller)),
    'too-many-streams',
  )
  t.notThrows(() => take(callerOf(peerOf(1001))))
})

test('all holders together have so many places, and whoever finds none is told when to ask again', t => {
  const take = createStreamPlaces()
  const leave = Array.from({ length: 1_024 }, (_, n) => take(callerOf(peerOf(1 + (n % 64)))))
  const failure = thrownBy(() => take(callerOf(peerOf(1000))))
  t.is(failure?.code, 'too-many-streams')
  t.is(failure?.retryAfterSeconds, 60)
  t.is(
    codeOf(() => take(callerOf(peerOf(1000), 'admin'))),
    'too-many-streams',
  )
  leave[0]?.()
  t.notThrows(() => take(callerOf(peerOf(1000))))
})

test('an administrator has more places than others', t => {
  const take = createStreamPlaces()
  const caller = callerOf(peerOf(0), 'admin')
  for (let n = 0; n < 64; n += 1) take(caller)
  t.is(thrownBy(() => take(caller))?.message, 'at most 64 of this user and unit at once')
})
