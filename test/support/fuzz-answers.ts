// Reads the answers of a connection one by one: where each begins and ends, its status, and whether it is a stream without an end.

export type Reader = {
  /** Bytes as they come; each answer that is complete with them is handed on before the next one is begun. */
  push(chunk: Buffer): void
}

export type Answered = {
  readonly status: number
  readonly text: string
  readonly endless: boolean
  readonly closes: boolean
}

type Phase =
  | { readonly kind: 'head' }
  | { readonly kind: 'length'; readonly head: Head; left: number }
  | { readonly kind: 'chunks'; readonly head: Head }
  | { readonly kind: 'rest' }

type Head = { readonly status: number; readonly closes: boolean }

/** `methodOf` gives the method of the request that is answered next: an answer to HEAD has no body. Throws for what is no HTTP. */
export const createReader = (methodOf: () => string | undefined, onAnswer: (answer: Answered) => void): Reader => {
  let rest: Buffer = Buffer.alloc(0)
  let phase: Phase = { kind: 'head' }
  let text = ''

  /** One step; undefined where more bytes are needed. */
  const step = (): Answered | 'again' | undefined => {
    switch (phase.kind) {
      case 'rest':
        rest = Buffer.alloc(0)
        return undefined
      case 'head': {
        const end = rest.indexOf('\r\n\r\n')
        if (end < 0) return undefined
        const lines = rest.subarray(0, end).toString('latin1')
        rest = rest.subarray(end + 4)
        const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(lines)?.[1])
        if (!(status >= 100)) throw new Error(`not an answer: ${lines.slice(0, 200)}`)
        if (status < 200) return 'again'
        const head = { status, closes: /\nconnection: close/i.test(lines) }
        text = ''
        if (/\ncontent-type: text\/event-stream/i.test(lines)) {
          phase = { kind: 'rest' }
          return { ...head, text, endless: true }
        }
        const length = /\ncontent-length: (\d+)/i.exec(lines)?.[1]
        if (status === 204 || status === 304 || methodOf() === 'HEAD' || length === '0') return done(head)
        if (length !== undefined) phase = { kind: 'length', head, left: Number(length) }
        else if (/\ntransfer-encoding: chunked/i.test(lines)) phase = { kind: 'chunks', head }
        else {
          // Until the connection ends.
          phase = { kind: 'rest' }
          return { ...head, text, endless: true }
        }
        return 'again'
      }
      case 'length': {
        const piece = rest.subarray(0, phase.left)
        keep(piece)
        rest = rest.subarray(piece.length)
        phase.left -= piece.length
        return phase.left === 0 ? done(phase.head) : undefined
      }
      case 'chunks': {
        const end = rest.indexOf('\r\n')
        if (end < 0) return undefined
        const size = Number.parseInt(rest.subarray(0, end).toString('latin1'), 16)
        if (rest.length < end + 2 + size + 2) return undefined
        keep(rest.subarray(end + 2, end + 2 + size))
        rest = rest.subarray(end + 2 + size + 2)
        return size === 0 ? done(phase.head) : 'again'
      }
      default:
        throw new Error(phase satisfies never)
    }
  }
  const keep = (piece: Buffer): void => {
    if (text.length < MAX_TEXT) text += piece.toString('latin1', 0, MAX_TEXT)
  }
  const done = (head: Head): Answered => {
    phase = { kind: 'head' }
    return { ...head, text, endless: false }
  }

  return {
    push(chunk) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      for (let next = step(); next !== undefined; next = step()) if (next !== 'again') onAnswer(next)
    },
  }
}

/** Enough for the code of a problem. */
const MAX_TEXT = 300
