// Figures for Prometheus. Owns prom-client.

import { TROUBLES } from '../domain/connection.ts'
import type { Code } from '../domain/errors.ts'
import type { EventBody } from '../domain/wire.ts'
import type { Events } from '../operations/events.ts'
import type { Operations } from '../operations/operations.ts'
import type { Clock } from '../platform/clock.ts'

export type Metrics = {
  readonly contentType: string
  text(): Promise<string>
  /** Begins to time a request of the route; the end of it is the call of what is returned. */
  timer(route: Timed): () => () => void
  refused(code: Code): void
}

export type Timed = { readonly method: string; readonly path: string }

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
  /** Plain numbers: a token from the cache takes little more time than one of prom-client's counters. */
  const requests = new Map<Timed, { count: number; seconds: number }>()
  const refusals = new Map<Code, number>()
  const told = new Map<EventBody['event'], number>()
  deps.events.subscribe(({ event }) => void told.set(event, (told.get(event) ?? 0) + 1))

  /** prom-client is loaded when somebody looks, and only writes down what was counted here. */
  const expose = async (): Promise<string> => {
    const { Counter, Gauge, Registry } = await import('prom-client')
    const registry = new Registry()
    const registers = [registry]
    const counter = (name: string, help: string, labelNames: string[] = []) =>
      new Counter({ name, help, labelNames, registers })
    const gauge = (name: string, help: string, labelNames: string[] = []) =>
      new Gauge({ name, help, labelNames, registers })
    const labels = ['method', 'path']
    const count = counter('ghconnect_requests_total', 'Requests that were answered, problems apart', labels)
    const seconds = counter('ghconnect_request_seconds_total', 'Time that it took to answer them', labels)
    for (const [{ method, path }, tally] of requests) {
      count.inc({ method, path }, tally.count)
      seconds.inc({ method, path }, tally.seconds)
    }
    const refused = counter('ghconnect_refusals_total', 'Requests refused, by problem', ['code'])
    for (const [code, times] of refusals) refused.inc({ code }, times)
    counter('ghconnect_mints_total', 'Tokens minted').inc(told.get('token-refreshed') ?? 0)
    counter('ghconnect_refresh_failures_total', 'Refreshes that failed').inc(told.get('refresh-failed') ?? 0)
    const state = gauge('ghconnect_state', '1 for the state that it is in', ['state'])
    for (const name of STATES) state.set({ state: name }, name === deps.state() ? 1 : 0)
    if (deps.state() !== 'locked') {
      const { live, oldest_expires_at: oldest } = deps.operations().status.whole().tokens
      gauge('ghconnect_tokens_live', 'Tokens that GitHub accepts').set(live)
      const expiry = gauge('ghconnect_token_oldest_expiry_timestamp_seconds', 'When the first of the live tokens ends')
      expiry.set(oldest === undefined ? 0 : Date.parse(oldest) / 1000)
    }
    return registry.metrics()
  }

  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: expose,
    timer(route) {
      const tally = { count: 0, seconds: 0 }
      requests.set(route, tally)
      return () => {
        const began = clock.monotonic()
        return () => {
          tally.count += 1
          tally.seconds += (clock.monotonic() - began) / 1000
        }
      }
    },
    refused: code => void refusals.set(code, (refusals.get(code) ?? 0) + 1),
  }
}
