// GET /v1/events: what happens, as server-sent events. It begins with where things stand, so that a listener misses nothing.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { EventBody } from '../domain/wire.ts'
import type { Events } from '../operations/events.ts'
import type { Caller } from '../operations/token-desk.ts'
import type { Clock } from '../platform/clock.ts'
import type { Backend } from './route.ts'

const PING_MS = 15_000
/** A listener that does not read is cut off rather than kept in memory. */
const MAX_BEHIND_BYTES = 256 * 1024

export const streamEvents = (
  { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse },
  deps: { events: Events; backend: Backend; clock: Pick<Clock, 'every'>; caller: Caller },
): void => {
  const send = (text: string): void => {
    outgoing.write(text)
    if (outgoing.writableLength > MAX_BEHIND_BYTES) outgoing.destroy()
  }
  const sendEvent = (event: EventBody): void =>
    send(`event: ${event.event}\ndata: ${JSON.stringify(visible(event, deps.caller))}\n\n`)

  outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const unsubscribe = deps.events.subscribe(sendEvent, () => void outgoing.end())
  const ping = deps.clock.every(PING_MS, () => send(': ping\n\n'))
  incoming.socket.once('close', () => {
    ping.cancel()
    unsubscribe()
  })
  const { state, since, meaning } = deps.backend.status(deps.caller)
  sendEvent({ event: 'state', at: since, state, detail: meaning })
}

/** Administrators see scopes; others only that something happened. */
const visible = (event: EventBody, { socket }: Caller): EventBody => {
  if (socket === 'admin') return event
  const { scope: _scope, detail: _detail, ...rest } = event
  return rest
}
