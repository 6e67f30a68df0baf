// Durations in buckets: each counted once, in the first bucket that holds it.

import test from 'ava'
import * as fc from 'fast-check'
import { createHistogram, LATENCY_BOUNDS } from '../../src/protocol/histogram.ts'

const durations = fc.array(fc.double({ min: 0, max: 100, noNaN: true }))

test('whatever was observed is counted once, and buckets hold what is not above their bound', t => {
  fc.assert(
    fc.property(durations, observed => {
      const histogram = createHistogram()
      for (const one of observed) histogram.observe(one)
      const { bounds, counts, sum } = histogram.read()
      t.is(
        counts.reduce((a, b) => a + b, 0),
        observed.length,
      )
      t.true(Math.abs(sum - observed.reduce((a, b) => a + b, 0)) < 1e-6)
      for (const [at, bound] of bounds.entries()) {
        const upTo = counts.slice(0, at + 1).reduce((a, b) => a + b, 0)
        t.is(upTo, observed.filter(one => one <= bound).length)
      }
    }),
  )
})

test('bounds rise, and what was read does not change afterwards', t => {
  t.deepEqual(
    LATENCY_BOUNDS.toSorted((a, b) => a - b),
    LATENCY_BOUNDS,
  )
  const histogram = createHistogram([1])
  const before = histogram.read()
  histogram.observe(2)
  t.deepEqual(before.counts, [0, 0])
  t.deepEqual(histogram.read().counts, [0, 1])
})
