// What comes while a page is open: that something happened, for as long as the session lasts.

import type { EventBody } from '../protocol/wire.ts'
import type { WebDeps } from './requests.ts'
import type { Session, Sessions } from './sessions.ts'

const PING_MS = 15_000
/** A browser that does not read is cut off rather than kept in memory. */
const MAX_BEHIND = 256
/** Tabs that one session may have open and live; and all sessions together. A page without a stream polls. */
export const MAX_STREAMS_OF_SESSION = 8
export const MAX_STREAMS = 64

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const NEWS = encode('data: {"event":"state"}\n\n')
const PING = encode(': ping\n\n')
const OPEN = encode(': open\n\n')

export const createLive = ({ events, clock }: Pick<WebDeps, 'events' | 'clock'>, sessions: Sessions) => {
  const shownAt = new WeakMap<Session, number>()
  const streams = new WeakMap<Session, number>()
  let happened = 0
  let open = 0
  events.subscribe(() => void (happened += 1))

  const count = (session: Session, by: 1 | -1): void => {
    streams.set(session, (streams.get(session) ?? 0) + by)
    open += by
  }

  const bodyFor = (session: Session): ReadableStream<Uint8Array> => {
    const isBehind = shownAt.get(session) !== happened
    let stop = (): void => {}
    return new ReadableStream<Uint8Array>(
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
          const ping = clock.every(PING_MS, () => send(PING))
          const unsubscribe = events.subscribe(event => send(bytesOf(event)), finish)
          stop = () => {
            if (finished) return
            finished = true
            count(session, -1)
            ping.cancel()
            unsubscribe()
            ended.cancel()
          }
          // Told, so that the page asks for itself again, and shows that nobody is signed in.
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
  }

  return {
    /** A page of this session was made just now. */
    shown: (session: Session): void => void shownAt.set(session, happened),
    /** For the page that was shown last; it is told at once of what happened since it was made. 429 where there are too many. */
    stream(session: Session): Response {
      // To a browser: do not ask again.
      if (!sessions.has(session)) return new Response(undefined, { status: 204 })
      if ((streams.get(session) ?? 0) >= MAX_STREAMS_OF_SESSION || open >= MAX_STREAMS)
        return new Response(undefined, { status: 429, headers: { 'retry-after': '60' } })
      count(session, 1)
      return new Response(bodyFor(session), { headers: { 'content-type': 'text/event-stream; charset=utf-8' } })
    },
  }
}

/** Written once for all streams. */
const written = new WeakMap<EventBody, Uint8Array>()

/** The page asks for what it shows: that something happened is enough, and in which state. */
const bytesOf = (body: EventBody): Uint8Array => {
  const { event, at, state } = body
  const bytes =
    written.get(body) ?? encode(`data: ${JSON.stringify({ event, at, ...(state !== undefined && { state }) })}\n\n`)
  written.set(body, bytes)
  return bytes
}
