// The state of an engine over the real disk, with a clock of its own and no way out of the machine.

import type { ExecutionContext } from 'ava'
import { createEngineState } from '../../src/core/engine-state.ts'
import { NO_PROXY } from '../../src/core/offline.ts'
import { createEvents } from '../../src/core/audit/events.ts'
import { createOutbound } from '../../src/core/outbound/outbound.ts'
import { createFakeClock, createFakeLog } from './fakes.ts'
import { createPlace, PLACE } from './place.ts'

/** Nothing is wrong around the engine, and no chance in it. */
export const NO_DAEMON = {
  random: () => 0,
  refused: () => undefined,
  doubts: () => [],
  pageFault: () => undefined,
} as const

export const engineStateOf = (t: ExecutionContext, options: Parameters<typeof createPlace>[1] = {}) => {
  const place = createPlace(t, options)
  const clock = createFakeClock()
  const schedules: { expression: string; isCanceled: boolean }[] = []
  const counting = {
    ...clock,
    schedule(expression: string, task: () => void) {
      const entry = { expression, isCanceled: false }
      schedules.push(entry)
      const timer = clock.schedule(expression, task)
      return { cancel: () => (timer.cancel(), void (entry.isCanceled = true)) }
    },
  }
  const log = createFakeLog()
  const events = createEvents({ clock, log })
  const outbound = createOutbound(NO_PROXY, { clock })
  // Nothing may leave the machine, whatever is restored.
  outbound.close()
  let { config } = place
  const engineState = createEngineState({
    config: () => config,
    host: () => PLACE,
    outbound,
    ...NO_DAEMON,
    events,
    clock: counting,
    log,
    env: place.env,
  })
  t.teardown(() => engineState.close())
  return {
    ...place,
    clock,
    log,
    events,
    outbound,
    engineState,
    current: () => config,
    configure: (toml: string) => void (config = place.configure(toml)),
    /** Schedules that hold. */
    running: () => schedules.filter(({ isCanceled }) => !isCanceled).map(({ expression }) => expression),
    errors: () => log.lines.filter(({ level }) => level === 'error').map(({ message }) => message),
  }
}
