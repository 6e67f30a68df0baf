// GET /v1/events: what happens, as server-sent events. It begins with where things stand, so that a listener misses nothing.

import type { ServerResponse } from 'node:http'
import { admits } from '../policy/decision.ts'
import type { Policy } from '../../protocol/profile.ts'
import { type EventBody, isoTime } from '../../protocol/wire.ts'
import type { Events } from '../audit/events.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import type { Clock } from '../../service/clock.ts'
import type { Backend } from './route.ts'
import type { TakeStreamPlace } from './stream-places.ts'

const PING_MS = 15_000
/** A listener that is behind keeps the newest event of each kind and profile, and no more of these. */
const MAX_PENDING = 64

type Texts = { readonly whole: string; readonly reduced: string }
type Stream = {
  readonly outgoing: ServerResponse
  readonly caller: Caller
  readonly pending: Map<string, string>
  /** Whether it was behind at the last ping already. */
  late: boolean
  leave(): void
}

/** All event streams of one socket. Throws `too-many-streams`. */
export const createEventStreams = (deps: {
  events: Events
  backend: Backend
  clock: Pick<Clock, 'every' | 'now'>
  takePlace: TakeStreamPlace
}): ((outgoing: ServerResponse, caller: Caller) => void) => {
  const { backend, clock, events, takePlace } = deps
  const streams = new Set<Stream>()

  const endLagging = (stream: Stream): void => {
    stream.leave()
    const at = isoTime(clock.now())
    stream.outgoing.end(textOf({ event: 'lagged', at }))
  }
  const send = (stream: Stream, event: EventBody, texts: Texts): void => {
    const text = textFor(stream.caller, { event, texts, policy: backend.policy() })
    if (text === undefined) return
    const { outgoing, pending } = stream
    if (!outgoing.writableNeedDrain) return void outgoing.write(text)
    const key = JSON.stringify([event.event, event.profile])
    // The newest takes the place of the older one, and its turn.
    pending.delete(key)
    pending.set(key, text)
    if (pending.size > MAX_PENDING) endLagging(stream)
  }
  const flush = (stream: Stream): void => {
    const texts = [...stream.pending.values()].join('')
    stream.pending.clear()
    stream.late = false
    if (texts !== '') stream.outgoing.write(texts)
  }
  const ping = (): void => {
    for (const stream of streams) {
      if (!stream.outgoing.writableNeedDrain) stream.outgoing.write(': ping\n\n')
      else if (stream.late) endLagging(stream)
      else stream.late = true
    }
  }
  events.subscribe(
    event => {
      if (streams.size === 0) return
      const texts = textsOf(event)
      for (const stream of streams) send(stream, event, texts)
    },
    () => {
      for (const stream of streams) {
        stream.leave()
        stream.outgoing.end()
      }
    },
  )
  clock.every(PING_MS, ping)

  return (outgoing, caller) => {
    const { state, since, meaning, next } = backend.status(caller)
    const first: EventBody = { event: 'state', at: since, state, detail: meaning, next }
    const stream: Stream = {
      outgoing,
      caller,
      pending: new Map(),
      late: false,
      leave() {
        if (!streams.delete(stream)) return
        leavePlace()
        outgoing.off('drain', onDrain)
        stream.pending.clear()
      },
    }
    const onDrain = (): void => flush(stream)
    const leavePlace = takePlace(caller)
    streams.add(stream)
    outgoing.on('drain', onDrain)
    outgoing.once('close', stream.leave)
    outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    send(stream, first, textsOf(first))
  }
}

const textOf = (event: EventBody): string => `event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`

/** Written once for all streams: what administrators see, and what others do. */
const textsOf = (event: EventBody): Texts => {
  const { scope: _scope, detail: _detail, next: _next, ...rest } = event
  return { whole: textOf(event), reduced: textOf(rest) }
}

/** Administrators see everything; others what concerns all, and their own tokens: those of profiles that admit them at this moment. */
const textFor = (
  { socket, attested }: Caller,
  { event, texts, policy }: { event: EventBody; texts: Texts; policy: Policy },
): string | undefined => {
  if (socket === 'admin') return texts.whole
  if (event.scope === undefined) return texts.reduced
  const own = policy.profiles.some(({ name, allow }) => name === event.profile && admits(allow, attested.peer))
  return own ? texts.reduced : undefined
}
