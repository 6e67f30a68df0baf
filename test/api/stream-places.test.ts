// Places for answers without an end: counted for each holder, and given back once.

import test from 'ava'
import { createStreamPlaces, STREAMS_OF_HOLDER } from '../../src/api/stream-places.ts'
import { callerOf, peerOf } from '../support/operations-rig.ts'
import { codeOf } from '../support/fakes.ts'

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
