// Stands between daemon and sandbox and remembers what GitHub answers, so that tests know the secrets that must not leak.

import { createServer, request } from 'node:http'

export type RecordingGitHub = {
  readonly url: string
  /** The answers so far, as their JSON texts, oldest first. */
  readonly answers: readonly { readonly path: string; readonly text: string }[]
  close(): Promise<void>
}

/** Passes everything on to `target`, an http origin. */
export const recordGitHub = async (target: () => string): Promise<RecordingGitHub> => {
  const answers: { path: string; text: string }[] = []
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? '/'
    const onward = request(`${target()}${path}`, { method: incoming.method, headers: incoming.headers }, answer => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.once('end', () => {
        const body = Buffer.concat(chunks)
        answers.push({ path, text: body.toString() })
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers).end(body)
      })
    })
    onward.once('error', () => outgoing.destroy())
    incoming.pipe(onward)
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    answers,
    close() {
      const closed = Promise.withResolvers<void>()
      server.close(() => closed.resolve())
      server.closeAllConnections()
      return closed.promise
    },
  }
}
