// Figures for Prometheus. Owns prom-client.

import { Counter, Gauge, Registry } from 'prom-client'
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
  const requests = new Counter({
    name: 'ghconnect_requests_total',
    help: 'Requests that were answered, problems apart',
    labelNames: ['method', 'path'],
    registers,
  })
  const seconds = new Counter({
    name: 'ghconnect_request_seconds_total',
    help: 'Time that it took to answer them',
    labelNames: ['method', 'path'],
    registers,
  })
  /** Counted in plain numbers and handed over when somebody looks: a token from the cache takes little more than a counter does. */
  const tallies = new Map<Route, { count: number; seconds: number }>()
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
    for (const [{ method, path }, tally] of tallies) {
      requests.inc({ method, path }, tally.count)
      seconds.inc({ method, path }, tally.seconds)
      tally.count = 0
      tally.seconds = 0
    }
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
      const tally = { count: 0, seconds: 0 }
      tallies.set(route, tally)
      return () => {
        const began = clock.monotonic()
        return () => {
          tally.count += 1
          tally.seconds += (clock.monotonic() - began) / 1000
        }
      }
    },
    refused: code => refusals.inc({ code }),
  }
}
