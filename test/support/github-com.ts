// The sandbox under GitHub's own names: run with `--listen` as a program, it answers TLS for github.com and api.github.com on port 443 of loopback.
// usage: node github-com.ts SANDBOX_PORT CERT KEY

import { readFileSync } from 'node:fs'
import { type IncomingHttpHeaders, request } from 'node:http'
import { createServer } from 'node:https'

const [sandboxPort = '', certFile = '', keyFile = ''] = process.argv.slice(2)
const SANDBOX = `127.0.0.1:${sandboxPort}`

/** Every address of the sandbox that an answer holds, as GitHub would write it. */
const renamed = (text: string): string =>
  text
    .replaceAll(`http://${SANDBOX}/api/v3`, 'https://api.github.com')
    .replaceAll(`http://${SANDBOX}`, 'https://github.com')

const renamedHeaders = (headers: IncomingHttpHeaders): IncomingHttpHeaders => ({
  ...headers,
  ...(headers.location === undefined ? {} : { location: renamed(headers.location) }),
  ...(typeof headers['link'] === 'string' ? { link: renamed(headers['link']) } : {}),
})

const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (incoming, outgoing) => {
  const prefix = incoming.headers.host === 'api.github.com' ? '/api/v3' : ''
  const passed = request({
    hostname: '127.0.0.1',
    port: sandboxPort,
    method: incoming.method,
    path: prefix + incoming.url,
    headers: { ...incoming.headers, host: SANDBOX, 'accept-encoding': 'identity' },
  })
  for (const half of [incoming, outgoing, passed]) half.on('error', () => outgoing.destroy())
  passed.on('response', answer => {
    const chunks: Buffer[] = []
    answer.on('error', () => outgoing.destroy())
    answer.on('data', (chunk: Buffer) => chunks.push(chunk))
    answer.on('end', () => {
      const body = Buffer.from(renamed(Buffer.concat(chunks).toString()))
      const { 'transfer-encoding': _, 'content-length': __, ...headers } = renamedHeaders(answer.headers)
      const hasBody = body.length > 0 || answer.headers['content-length'] !== undefined
      outgoing.writeHead(answer.statusCode ?? 502, hasBody ? { ...headers, 'content-length': body.length } : headers)
      outgoing.end(body)
    })
  })
  incoming.pipe(passed)
})
server.listen(443, '127.0.0.1', () => console.log('ready'))
