// What a node is told when it loses touch with its cluster.

import test from 'ava'
import { twoNodes } from '../../support/link-rig.ts'

test('a leader whose lease is lost hears that it leads no more, and only then that it is cut off', async t => {
  const { clock, a, b } = await twoNodes()
  const before = a.told.length
  // It would tell that another one leads.
  a.client.delayWatches(new Promise<never>(() => {}))
  a.client.pause()
  await clock.advance(6_000)
  t.true(b.link.leads())
  a.client.resume()
  await clock.advance(2_000)
  t.deepEqual(a.told.slice(before), ['leads no more', 'cut off', 'in touch'])
  t.false(a.link.leads())
})
