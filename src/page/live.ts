// What comes while a page is open: the daemon's events, for as long as the session lasts.

import type { EventBody } from '../protocol/wire.ts'
import type { WebDeps } from './deps.ts'
import type { Session, Sessions } from './sessions.ts'

const PING_MS = 15_000
/** A browser that does not read is cut off rather than kept in memory. */
const MAX_BEHIND = 256
/** Tabs that one session may have open and live; and all sessions together. A page without a stream polls. */
export const MAX_STREAMS_OF_SESSION = 8
export const MAX_STREAMS = 64

export type Live = {
  /** A page of this session was made just now. */
  shown(session: Session): void
  /** For the page that was shown last; it is told at once of what happened since it was made. 429 where there are too many. */
  stream(session: Session): Response
}

export const createLive = (deps: Pick<WebDeps, 'events' | 'clock'>, sessions: Sessions): Live => {
  const shownAt = new WeakMap<Session, number>()
  let count = 0
  deps.events.subscribe(() => void (count += 1))
  const counts = new WeakMap<Session, number>()
  let all = 0
  const take = (session: Session): (() => void) | undefined => {
    const own = counts.get(session) ?? 0
    if (own >= MAX_STREAMS_OF_SESSION || all >= MAX_STREAMS) return undefined
    counts.set(session, own + 1)
    all += 1
    return () => {
      counts.set(session, (counts.get(session) ?? 1) - 1)
      all -= 1
    }
  }
  return {
    shown: session => void shownAt.set(session, count),
    stream(session) {
      // To a browser: do not ask again.
      if (!sessions.has(session)) return new Response(undefined, { status: 204 })
      const leave = take(session)
      if (!leave) return new Response(undefined, { status: 429, headers: { 'retry-after': '60' } })
      return eventStream(deps, sessions, { session, isBehind: shownAt.get(session) !== count, leave })
    },
  }
}

const eventStream = (
  deps: Pick<WebDeps, 'events' | 'clock'>,
  sessions: Sessions,
  { session, isBehind, leave }: { session: Session; isBehind: boolean; leave(): void },
): Response => {
  let stop = (): void => {}
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        let finished = false
        const send = (bytes: Uint8Array): void => {
          if (finished) return
          if ((controller.desiredSize ?? 0) <= -MAX_BEHIND) return finish()
          controller.enqueue(bytes)
        }
        const finish = (): void => {
          if (finished) return
          stop()
          controller.close()
        }
        const ping = deps.clock.every(PING_MS, () => send(PING))
        const unsubscribe = deps.events.subscribe(event => send(bytesOf(event)), finish)
        stop = () => {
          if (finished) return
          finished = true
          leave()
          ping.cancel()
          unsubscribe()
          ended.cancel()
        }
        // Told, so that the page asks for itself anew, and shows that nobody is signed in.
        const ended = sessions.onEnd(session, () => {
          send(NEWS)
          finish()
        })
        send(isBehind ? NEWS : OPEN)
      },
      cancel: () => stop(),
    },
    { highWaterMark: 0 },
  )
  return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } })
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const NEWS = encode('data: {"event":"state"}\n\n')
const PING = encode(': ping\n\n')
const OPEN = encode(': open\n\n')

/** Written once for all streams. */
const written = new WeakMap<EventBody, Uint8Array>()

const bytesOf = (event: EventBody): Uint8Array => {
  const known = written.get(event)
  if (known) return known
  const bytes = encode(`data: ${visible(event)}\n\n`)
  written.set(event, bytes)
  return bytes
}

/** The page asks for what it shows: that something happened is enough. */
const visible = ({ event, at, state }: EventBody): string =>
  JSON.stringify({ event, at, ...(state !== undefined && { state }) })
