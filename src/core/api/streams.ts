// Answers without an end, as server-sent events: what happens, the audit log as it goes on, and a check row by row.

import type { ServerResponse } from 'node:http'
import type { SocketName } from '../../protocol/endpoints.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Policy } from '../../protocol/profile.ts'
import { type EventBody, isoTime } from '../../protocol/wire.ts'
import { createBudget } from '../peers/holder.ts'
import { admits } from '../policy/decision.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import type { Api } from './context.ts'

export const STREAMS_OF_HOLDER = { token: 16, admin: 64 } as const
const MAX_STREAMS = 1_024
const PING_MS = 15_000
/** A listener that is behind keeps the newest event of each kind and profile, and no more of these. */
const MAX_PENDING = 64
/** Rows of a busy moment go out together. */
const PAUSE_MS = 50
const ROWS_AT_ONCE = 200

/** All streams of one socket, which count alike. Each throws `too-many-streams`. */
export const createStreams = (api: Api) => {
  const takePlace = createStreamPlaces(api.socket)
  const events = createEventStreams(api)
  return {
    /** It begins with where things stand, so that a listener misses nothing. */
    events: (outgoing: ServerResponse, caller: Caller): undefined => events(outgoing, caller, takePlace(caller)),
    audit(outgoing: ServerResponse, caller: Caller, from: { after?: number; limit: number }): undefined {
      outgoing.once('close', takePlace(caller))
      streamAudit(outgoing, from, api)
    },
    async check(outgoing: ServerResponse, caller: Caller): Promise<undefined> {
      outgoing.once('close', takePlace(caller))
      begin(outgoing).flushHeaders()
      const send = (event: 'row' | 'report', data: unknown): void => {
        if (!outgoing.destroyed) outgoing.write(textOf(event, data))
      }
      send('report', await api.backend.check(row => send('row', row)))
      outgoing.end()
    },
  }
}

/** Gives what leaves the place, which is idempotent. Throws `too-many-streams`. */
export const createStreamPlaces = (socket: SocketName): ((caller: Caller) => () => void) => {
  const ofHolder = STREAMS_OF_HOLDER[socket]
  const places = createBudget({ all: MAX_STREAMS, ofHolder })
  return ({ attested }) => {
    const { take, release } = places(attested.peer)
    if (take(1)) return release
    throw new Failure('too-many-streams', `at most ${ofHolder} of this user and unit at once`, {
      retryAfterSeconds: 60,
    })
  }
}

const begin = (outgoing: ServerResponse): ServerResponse =>
  outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })

const textOf = (event: string, data: unknown): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`

type Stream = {
  readonly outgoing: ServerResponse
  readonly caller: Caller
  readonly pending: Map<string, string>
  /** Whether it was behind at the last ping already. */
  late: boolean
  leave(): void
}

const createEventStreams = ({ backend, clock, events }: Api) => {
  const streams = new Set<Stream>()

  const endLagging = (stream: Stream): void => {
    stream.leave()
    stream.outgoing.end(textOf('lagged', { event: 'lagged', at: isoTime(clock.now()) }))
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
  clock.every(PING_MS, () => {
    for (const stream of streams) {
      if (!stream.outgoing.writableNeedDrain) stream.outgoing.write(': ping\n\n')
      else if (stream.late) endLagging(stream)
      else stream.late = true
    }
  })

  return (outgoing: ServerResponse, caller: Caller, leavePlace: () => void): undefined => {
    const onDrain = (): void => flush(stream)
    const stream: Stream = {
      outgoing,
      caller,
      pending: new Map(),
      late: false,
      leave() {
        leavePlace()
        streams.delete(stream)
        outgoing.off('drain', onDrain)
        stream.pending.clear()
      },
    }
    outgoing.once('close', stream.leave)
    const { state, since, meaning, next } = backend.status(caller)
    const first: EventBody = { event: 'state', at: since, state, detail: meaning, next }
    streams.add(stream)
    outgoing.on('drain', onDrain)
    begin(outgoing)
    send(stream, first, textsOf(first))
  }
}

type Texts = { readonly whole: string; readonly reduced: string }

/** Written once for all streams: what administrators see, and what others do. */
const textsOf = (event: EventBody): Texts => {
  const { scope: _scope, detail: _detail, next: _next, ...rest } = event
  return { whole: textOf(event.event, event), reduced: textOf(event.event, rest) }
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

/** Row by row as the listener reads them; none is left out. */
const streamAudit = (
  outgoing: ServerResponse,
  from: { after?: number; limit: number },
  { operations, clock }: Api,
): void => {
  const { auditLog } = operations()
  let sent = from.after ?? 0
  let waiting = false
  let ended = false

  const send = (rows: ReturnType<typeof auditLog.read>): void => {
    for (const row of rows) {
      outgoing.write(`event: audit\nid: ${row.sequence}\ndata: ${JSON.stringify(row)}\n\n`)
      sent = row.sequence
    }
  }
  /** A slow listener keeps nothing in memory: what it has not read yet is read from the log when it is. */
  const pump = (): void => {
    waiting = false
    if (ended) return
    try {
      const rows = auditLog.read({ after: sent, limit: ROWS_AT_ONCE })
      send(rows)
      if (outgoing.writableNeedDrain) {
        waiting = true
        outgoing.once('drain', pump)
      } else if (rows.length === ROWS_AT_ONCE) pumpSoon()
    } catch {
      // The log is closed or damaged: the listener connects again, and is told.
      outgoing.destroy()
    }
  }
  const pumpSoon = (): void => {
    if (waiting) return
    waiting = true
    clock.after(PAUSE_MS, pump)
  }

  const first = auditLog.read(from)
  begin(outgoing).write(': rows of the audit log\n\n')
  send(first)
  const finish = (): void => {
    if (ended) return
    ended = true
    ping.cancel()
    unfollow()
    outgoing.off('drain', pump)
  }
  const unfollow = auditLog.follow(pumpSoon, () => {
    finish()
    outgoing.end()
  })
  const ping = clock.every(PING_MS, () => void outgoing.write(': ping\n\n'))
  outgoing.once('close', finish)
  pumpSoon()
}
