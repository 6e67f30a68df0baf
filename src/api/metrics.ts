// Figures for Prometheus. Owns prom-client.

import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { TROUBLES } from '../domain/connection.ts'
import type { Code } from '../domain/errors.ts'
import type { Events } from '../operations/events.ts'
import type { Operations } from '../operations/operations.ts'
import type { Clock } from '../platform/clock.ts'
import type { Route } from './route.ts'

export type Metrics = {
  readonly contentType: string
  text(): Promise<string>
  /** Begins to time a request of the route; the end of it is the call of what is returned. */
  timer(route: Route): () => () => void
  refused(code: Code): void
}

const STATES = [
  'disconnected',
  'awaiting-app',
  'key-lost',
  'awaiting-installation',
  'connected',
  ...TROUBLES,
  'quarantined',
  'disconnecting',
  'locked',
  'awaiting-unlock',
]

export const createMetrics = (deps: {
  clock: Clock
  events: Events
  operations: () => Operations
  state: () => string
}): Metrics => {
  const { clock } = deps
  const registry = new Registry()
  const registers = [registry]
  const requests = new Histogram({
    name: 'ghconnect_request_duration_seconds',
    help: 'Time to answer a request that was accepted',
    labelNames: ['method', 'path'],
    buckets: [0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10],
    registers,
  })
  const refusals = new Counter({
    name: 'ghconnect_refusals_total',
    help: 'Requests refused, by problem',
    labelNames: ['code'],
    registers,
  })
  const mints = new Counter({ name: 'ghconnect_mints_total', help: 'Tokens minted', registers })
  const failures = new Counter({ name: 'ghconnect_refresh_failures_total', help: 'Refreshes that failed', registers })
  const tokens = new Gauge({ name: 'ghconnect_tokens_live', help: 'Tokens that GitHub accepts', registers })
  const expiry = new Gauge({
    name: 'ghconnect_token_oldest_expiry_timestamp_seconds',
    help: 'When the first of the live tokens ends',
    registers,
  })
  const state = new Gauge({
    name: 'ghconnect_state',
    help: '1 for the state that it is in',
    labelNames: ['state'],
    registers,
  })
  deps.events.subscribe(({ event }) => {
    if (event === 'token-refreshed') mints.inc()
    if (event === 'refresh-failed') failures.inc()
  })
  const collect = (): void => {
    for (const name of STATES) state.set({ state: name }, name === deps.state() ? 1 : 0)
    if (deps.state() === 'locked') return
    const { live, oldest_expires_at: oldest } = deps.operations().status.whole().tokens
    tokens.set(live)
    expiry.set(oldest === undefined ? 0 : Date.parse(oldest) / 1000)
  }

  return {
    contentType: registry.contentType,
    text() {
      collect()
      return registry.metrics()
    },
    timer(route) {
      const histogram = requests.labels(route.method, route.path)
      return () => {
        const began = clock.monotonic()
        return () => histogram.observe((clock.monotonic() - began) / 1000)
      }
    },
    refused: code => refusals.inc({ code }),
  }
}
