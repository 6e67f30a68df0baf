// HTTP over a unix socket, for tests.

import { type Agent, type IncomingHttpHeaders, request } from 'node:http'

export type Answer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly body: Record<string, unknown>
}

export type UnixCall = {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: Agent
}

/** One request; a body that is no string is sent as JSON. A JSON answer is parsed, any other one has an empty `body`. */
export const callUnix = (socketPath: string, call: UnixCall): Promise<Answer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const text = call.body === undefined || typeof call.body === 'string' ? call.body : JSON.stringify(call.body)
  const headers = {
    host: 'localhost',
    ...(text !== undefined && {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(text)),
    }),
    ...call.headers,
  }
  const sent = request(
    // A connection of its own: one that was kept may just have been closed at the other end, above all where time jumps.
    { socketPath, method: call.method, path: call.path, headers, agent: call.agent ?? false },
    answer => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.once('error', reject)
      answer.once('end', () => {
        const content = Buffer.concat(chunks).toString()
        const isJson = /json/.test(answer.headers['content-type'] ?? '')
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text: content,
          body: isJson && content !== '' ? JSON.parse(content) : {},
        })
      })
    },
  )
  sent.once('error', reject)
  sent.end(text)
  return promise
}
