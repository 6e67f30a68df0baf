// What comes while a page is open: the daemon's events, for as long as the session lasts.

import type { EventBody } from '../domain/wire.ts'
import type { WebDeps } from './deps.ts'
import type { Session, Sessions } from './sessions.ts'

const PING_MS = 15_000
/** A browser that does not read is cut off rather than kept in memory. */
const MAX_BEHIND = 256

export type Live = {
  /** A page of this session was made just now. */
  shown(session: Session): void
  /** For the page that was shown last; it is told at once of what happened since it was made. */
  stream(session: Session): Response
}

export const createLive = (deps: Pick<WebDeps, 'events' | 'clock'>, sessions: Sessions): Live => {
  const shownAt = new WeakMap<Session, number>()
  let count = 0
  deps.events.subscribe(() => void (count += 1))
  return {
    shown: session => void shownAt.set(session, count),
    stream: session => eventStream(deps, sessions, { session, isBehind: shownAt.get(session) !== count }),
  }
}

const eventStream = (
  deps: Pick<WebDeps, 'events' | 'clock'>,
  sessions: Sessions,
  { session, isBehind }: { session: Session; isBehind: boolean },
): Response => {
  // To a browser: do not ask again.
  if (!sessions.has(session)) return new Response(undefined, { status: 204 })
  const encoder = new TextEncoder()
  let stop = (): void => {}
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        let finished = false
        const send = (text: string): void => {
          if (finished) return
          if ((controller.desiredSize ?? 0) <= -MAX_BEHIND) return finish()
          controller.enqueue(encoder.encode(text))
        }
        const finish = (): void => {
          if (finished) return
          stop()
          controller.close()
        }
        const ping = deps.clock.every(PING_MS, () => send(': ping\n\n'))
        const unsubscribe = deps.events.subscribe(event => send(`data: ${visible(event)}\n\n`), finish)
        stop = () => {
          finished = true
          ping.cancel()
          unsubscribe()
          ended.cancel()
        }
        // Told, so that the page asks for itself anew, and shows that nobody is signed in.
        const ended = sessions.onEnd(session, () => {
          send(NEWS)
          finish()
        })
        send(isBehind ? NEWS : ': open\n\n')
      },
      cancel: () => stop(),
    },
    { highWaterMark: 0 },
  )
  return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } })
}

const NEWS = 'data: {"event":"state"}\n\n'

/** The page asks for what it shows: that something happened is enough. */
const visible = ({ event, at, state }: EventBody): string =>
  JSON.stringify({ event, at, ...(state !== undefined && { state }) })
