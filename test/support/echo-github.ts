// GitHub in front of the sandbox: a few paths of its own, to see what arrives and to answer as the sandbox would not; the rest is the sandbox's.

import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'

export type Arrived = {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  /** Of the body, as far as it was read. */
  bytes: number
}

export type EchoGitHub = {
  readonly url: string
  readonly apiUrl: string
  readonly arrived: readonly Arrived[]
  /** The next request for a path of its own. */
  next(): Promise<Arrived>
  close(): Promise<void>
}

type Answer = (incoming: IncomingMessage, outgoing: ServerResponse) => void

/** `answers` by path below the API, without query. */
export const startEchoGitHub = async (
  target: () => string,
  answers: Readonly<Record<string, Answer>>,
): Promise<EchoGitHub> => {
  const arrived: Arrived[] = []
  const waiting: ((seen: Arrived) => void)[] = []
  const server = createServer((incoming, outgoing) => {
    const { url = '/', method = '', headers } = incoming
    const own = answers[url.slice('/api/v3'.length).split('?')[0] ?? '']
    const seen: Arrived = { method, path: url, headers, bytes: 0 }
    incoming.on('data', (chunk: Buffer) => (seen.bytes += chunk.length))
    if (own) {
      arrived.push(seen)
      for (const tell of waiting.splice(0)) tell(seen)
      outgoing.setHeader('x-github-request-id', 'ECHO:1')
      return own(incoming, outgoing)
    }
    const onward = request(`${target()}${url}`, { method, headers }, answer => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    onward.once('error', () => outgoing.destroy())
    incoming.pipe(onward)
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const url = `http://127.0.0.1:${address.port}`
  return {
    url,
    apiUrl: `${url}/api/v3`,
    arrived,
    next: () => new Promise(tell => void waiting.push(tell)),
    close() {
      const closed = Promise.withResolvers<void>()
      server.close(() => closed.resolve())
      server.closeAllConnections()
      return closed.promise
    },
  }
}
