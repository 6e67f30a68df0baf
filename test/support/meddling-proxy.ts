// A web proxy that does to calls what proxies, portals and filters do in the field; on loopback, its manner changed at any time.

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer, request } from 'node:https'
import { connect, type Socket } from 'node:net'
import type { Certificate } from './certificates.ts'

export type Manner =
  /** A tunnel, as asked for. */
  | { kind: 'tunnel' }
  /** A tunnel that ends after so many bytes for the client. */
  | { kind: 'cut-tunnel'; afterBytes: number }
  /** Takes the request for a tunnel and never answers. */
  | { kind: 'hang' }
  /** Opens the tunnel, and nothing ever comes through it. */
  | { kind: 'mute' }
  /** Answers with its own page when asked for a tunnel. */
  | { kind: 'page' }
  /** Opens TLS with its own certificate and passes on what it reads. */
  | { kind: 'intercept' }
  /** The same, with a page in place of every answer. */
  | { kind: 'portal' }
  /** The same; answers end in the middle: the connection breaks, or the answer claims to be whole. */
  | { kind: 'truncate'; claims: 'more' | 'whole' }

export type MeddlingProxy = {
  readonly url: string
  /** Targets of the tunnels asked for. */
  readonly seen: readonly string[]
  /** For all connections from now on; those there are end. */
  behave(manner: Manner): void
  close(): Promise<void>
}

const PAGE = '<!doctype html><title>Hotel Wi-Fi</title><p>Please sign in.'

/** `certificate` is what it shows; `ca` is what it trusts on its own way. */
export const startMeddlingProxy = async (options: {
  certificate: Certificate
  ca: string
  manner?: Manner
  /** Where all names lead, if not where this machine looks them up. */
  address?: string
}): Promise<MeddlingProxy> => {
  let manner: Manner = options.manner ?? { kind: 'tunnel' }
  const seen: string[] = []
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
  }

  const inner = createHttpsServer(options.certificate, (incoming, outgoing) => {
    if (manner.kind === 'portal') outgoing.writeHead(200, { 'content-type': 'text/html' }).end(PAGE)
    else passOn(incoming, outgoing)
  })
  inner.on('connection', keep)

  const passOn = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const { host } = incoming.headers
    const { method = 'GET', url = '/' } = incoming
    const target = new URL(`https://${host}${url}`)
    const isNamed = options.address !== undefined && target.hostname !== options.address
    const to = isNamed ? { hostname: options.address, servername: target.hostname } : {}
    // An answer that has no body cannot be cut: nobody is told that nothing has changed.
    const { 'if-none-match': _, ...headers } = incoming.headers
    const sent = request(target, { ...to, method, headers, ca: options.ca }, answer => {
      void answer.toArray().then(chunks => answerWith(outgoing, answer, Buffer.concat(chunks)))
    })
    sent.on('error', () => outgoing.destroy())
    incoming.pipe(sent)
  }

  const answerWith = (outgoing: ServerResponse, answer: IncomingMessage, body: Buffer): void => {
    const { 'transfer-encoding': _, 'content-length': __, ...headers } = answer.headers
    const half = body.subarray(0, body.length / 2)
    const status = answer.statusCode ?? 502
    if (manner.kind !== 'truncate') {
      outgoing.writeHead(status, { ...headers, 'content-length': body.length }).end(body)
    } else if (manner.claims === 'whole') {
      outgoing.writeHead(status, { ...headers, 'content-length': half.length }).end(half)
    } else {
      outgoing.writeHead(status, { ...headers, 'content-length': body.length })
      outgoing.write(half, () => outgoing.destroy())
    }
  }

  const tunnel = (client: Socket, target: string, limit: number): void => {
    const [host, port] = target.split(':')
    let left = limit
    const upstream = connect(Number(port), options.address ?? host, () => {
      client.write(OPEN)
      client.pipe(upstream)
    })
    keep(upstream)
    upstream.on('data', (chunk: Buffer) => {
      client.write(chunk.subarray(0, left))
      left -= chunk.length
      if (left <= 0) client.destroy()
    })
    upstream.on('close', () => client.destroy())
    client.on('close', () => upstream.destroy())
  }

  const outer = createServer()
  outer.on('connection', keep)
  outer.on('connect', (incoming: IncomingMessage, client: Socket) => {
    const target = incoming.url ?? ''
    seen.push(target)
    switch (manner.kind) {
      case 'hang':
        return
      case 'mute':
        client.write(OPEN)
        return
      case 'page':
        client.end(`${OPEN.trimEnd()}\r\nContent-Type: text/html\r\nContent-Length: ${PAGE.length}\r\n\r\n${PAGE}`)
        return
      case 'tunnel':
        tunnel(client, target, Number.POSITIVE_INFINITY)
        return
      case 'cut-tunnel':
        tunnel(client, target, manner.afterBytes)
        return
      case 'intercept':
      case 'portal':
      case 'truncate':
        client.write(OPEN)
        inner.emit('connection', client)
        return
      default:
        manner satisfies never
    }
  })
  outer.listen(0, '127.0.0.1')
  await once(outer, 'listening')
  const address = outer.address()
  if (address === null || typeof address === 'string') throw new Error('no port')

  const drop = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${address.port}`,
    seen,
    behave(next) {
      manner = next
      drop()
    },
    async close() {
      const closed = once(outer, 'close')
      outer.close()
      drop()
      await closed
    },
  }
}

const OPEN = 'HTTP/1.1 200 Connection established\r\n\r\n'
