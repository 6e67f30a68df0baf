// What happens in the daemon, told to whoever listens: the event stream, metrics and the journal. Never a secret.

import { isTrouble } from '../../protocol/connection.ts'
import { type EventBody, isoTime } from '../../protocol/wire.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'

export type Events = ReturnType<typeof createEvents>

export const createEvents = (deps: { clock: Clock; log: Log }) => {
  const listeners = new Map<(event: EventBody) => void, () => void>()
  return {
    emit(event: Omit<EventBody, 'at'>): void {
      const full = { ...event, at: isoTime(deps.clock.now()) }
      const { event: name, ...fields } = event
      if (name === 'refresh-failed' || (name === 'state' && isTrouble(event.state))) deps.log.warn(name, fields)
      else deps.log.info(name, fields)
      for (const listener of listeners.keys()) listener(full)
    },
    /** Returns the end of the subscription. A listener must not throw. `onEnd` is called where there will be no more events. */
    subscribe(listener: (event: EventBody) => void, onEnd: () => void = () => {}): () => void {
      listeners.set(listener, onEnd)
      return () => void listeners.delete(listener)
    },
    /** The daemon stops: whoever listens is told, and need not be waited for. */
    end(): void {
      for (const onEnd of listeners.values()) onEnd()
    },
  }
}
