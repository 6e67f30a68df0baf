// GET /v1/events: what happens, as server-sent events. It begins with where things stand, so that a listener misses nothing.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { admits, type Policy } from '../domain/policy.ts'
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
  const sendEvent = (event: EventBody): void => {
    const shown = visible(event, deps.caller, deps.backend.policy())
    if (shown) send(`event: ${shown.event}\ndata: ${JSON.stringify(shown)}\n\n`)
  }

  outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const unsubscribe = deps.events.subscribe(sendEvent, () => void outgoing.end())
  const ping = deps.clock.every(PING_MS, () => send(': ping\n\n'))
  incoming.socket.once('close', () => {
    ping.cancel()
    unsubscribe()
  })
  const { state, since, meaning, next } = deps.backend.status(deps.caller)
  sendEvent({ event: 'state', at: since, state, detail: meaning, next })
}

/** Administrators see everything; others what concerns all, and their own tokens: those of profiles that admit them at this moment. */
const visible = (event: EventBody, { socket, attested }: Caller, { profiles }: Policy): EventBody | undefined => {
  if (socket === 'admin') return event
  const { scope, detail: _detail, next: _next, ...rest } = event
  if (scope === undefined) return rest
  const own = profiles.some(({ name, allow }) => name === event.profile && admits(allow, attested.peer))
  return own ? rest : undefined
}
