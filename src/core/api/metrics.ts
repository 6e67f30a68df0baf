// Figures for Prometheus. Owns prom-client.

import type { Code } from '../../protocol/errors.ts'
import { createHistogram, type Histogram } from '../../protocol/histogram.ts'
import type { Events } from '../audit/events.ts'
import type { Engine } from '../engine.ts'
import type { Clock } from '../../service/clock.ts'

export type Metrics = {
  readonly contentType: string
  text(): Promise<string>
  /** Begins to time a request of an endpoint; the end of it is the call of what is returned. */
  timer(endpoint: string): () => () => void
  refused(code: Code): void
}

export const createMetrics = (deps: {
  clock: Clock
  events: Events
  operations: () => Engine
  state: () => string
  version: string
}): Metrics => {
  const { clock } = deps
  /** Plain numbers: a token from the cache takes little more time than one of prom-client's counters. */
  const requests = new Map<string, Histogram>()
  const refusals = new Map<Code, number>()
  let refreshFailures = 0
  deps.events.subscribe(({ event }) => {
    if (event === 'refresh-failed') refreshFailures += 1
  })

  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    async text() {
      // Loaded when somebody looks: most daemons are never asked.
      const [{ Counter, Gauge, Registry }, { METRICS }, { gather }, { histogramText }] = await Promise.all([
        import('prom-client'),
        import('./metric-table.ts'),
        import('./readings.ts'),
        import('./histogram-text.ts'),
      ])
      const counted = { requests, refusals, refreshFailures }
      const { readings, tallies } = gather({ ...deps, counted })
      const registry = new Registry()
      const texts: string[] = []
      for (const [name, { type, help, labels }] of Object.entries(METRICS)) {
        const found = readings.filter(reading => reading.name === name)
        const options = { name, help, labelNames: [...labels], registers: [registry] }
        if (type === 'histogram')
          texts.push(
            histogramText(
              name,
              help,
              tallies.filter(tally => tally.name === name),
            ),
          )
        else if (found.length === 0) continue
        else if (type === 'counter') {
          const metric = new Counter(options)
          for (const { labels: own = {}, value } of found) metric.inc(own, value)
        } else {
          const metric = new Gauge(options)
          for (const { labels: own = {}, value } of found) metric.set(own, value)
        }
      }
      return (await registry.metrics()) + texts.join('')
    },
    timer(endpoint) {
      // Both sockets serve some of them.
      const histogram = requests.get(endpoint) ?? createHistogram()
      requests.set(endpoint, histogram)
      return () => {
        const began = clock.monotonic()
        return () => histogram.observe((clock.monotonic() - began) / 1000)
      }
    },
    refused: code => void refusals.set(code, (refusals.get(code) ?? 0) + 1),
  }
}
