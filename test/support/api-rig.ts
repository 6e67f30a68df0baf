// One socket of the daemon in this process: the real server and routes over operations that a test gives, with a fake clock.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { type BodyBudgets, createBodyBudgets } from '../../src/core/api/body.ts'
import { createHolderTurns, type HolderTurns } from '../../src/core/peers/holder.ts'
import { createMetrics } from '../../src/core/api/metrics.ts'
import type { Backend } from '../../src/core/api/context.ts'
import type { SocketName } from '../../src/protocol/endpoints.ts'
import { createApi } from '../../src/core/api/dispatcher.ts'
import { createHttpServer, type Handler } from '../../src/core/api/http-server.ts'
import { attestPeers } from '../../src/core/api/sockets.ts'
import type { Failure } from '../../src/protocol/errors.ts'
import type { Peer } from '../../src/protocol/profile.ts'
import { createEvents } from '../../src/core/audit/events.ts'
import type { Engine } from '../../src/core/engine.ts'
import { createRateLimit } from '../../src/core/peers/rate-limit.ts'
import type { Clock } from '../../src/service/clock.ts'
import { createFakeClock, createFakeLog } from './fakes.ts'
import { peerOf } from './operations-rig.ts'

export type ApiRigOptions = {
  readonly socket?: SocketName
  /** Who connects next. */
  readonly peer?: () => Peer
  readonly operations?: Partial<Engine>
  /** Why the store is closed, where it is. */
  readonly closed?: () => Failure | undefined
  readonly state?: () => string
  readonly backend?: Partial<Backend>
  readonly bodies?: BodyBudgets
  readonly turns?: HolderTurns
}

export type Spoken = { readonly status: number; readonly head: string; readonly text: string }

export const createApiRig = async (t: ExecutionContext, options: ApiRigOptions = {}) => {
  const { socket = 'token', peer = () => peerOf(1000) } = options
  const folder = mkdtempSync(join(tmpdir(), 'api-rig-'))
  const path = join(folder, 'x.sock')
  const clock = createFakeClock()
  const log = createFakeLog()
  const events = createEvents({ clock, log })
  const after: Clock['after'] = (ms, task) => clock.after(ms, task)
  let handler: Handler = (_incoming, outgoing) => void outgoing.end()
  const server = createHttpServer((incoming, outgoing) => handler(incoming, outgoing), after)
  const peers = attestPeers(server, () => ({ peer: peer(), assertAlive() {}, release() {} }))
  // What a test does not give it does not reach.
  const operations: Engine = Object.assign({} as never, { status: { reasonsNotReady: () => [] } }, options.operations)
  const backend: Backend = Object.assign(
    {} as never,
    {
      ownUid: 990,
      policy: () => ({ profiles: [] }),
      status: () => ({
        state: 'connected',
        since: '2026-05-01T12:00:00.000Z',
        meaning: 'Fine.',
        next: '',
        version: '0',
      }),
      apiUrl: () => 'https://api.github.com',
    },
    options.backend,
  )
  const rateLimit = createRateLimit({ clock })
  const store = (): Engine => {
    const failure = options.closed?.()
    if (failure) throw failure
    return operations
  }
  handler = createApi({
    socket,
    peers,
    operations: store,
    backend,
    events,
    metrics: createMetrics({
      clock,
      events,
      operations: store,
      state: options.state ?? (() => 'connected'),
      version: '0',
    }),
    rateLimit,
    bodies: options.bodies ?? createBodyBudgets(),
    turns: options.turns ?? createHolderTurns(),
    clock,
    log,
    version: '0',
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** A connection that has sent this; what comes back is read as it comes. */
  const open = async (sent: string) => {
    const client = connect(path)
    let text = ''
    client.on('data', (chunk: Buffer) => (text += chunk.toString()))
    client.on('error', () => {})
    await once(client, 'connect')
    client.write(sent)
    const until = async (pattern: RegExp): Promise<string> => {
      while (!pattern.test(text)) await Promise.race([once(client, 'data'), once(client, 'close')])
      return text
    }
    return { client, until, text: () => text, closed: () => closedOf(client) }
  }
  /** One request, read to the end of the connection or of its answer. */
  const ask = async (line: string, headers: readonly string[] = [], body = ''): Promise<Spoken> => {
    const length = body === '' ? [] : [`content-length: ${Buffer.byteLength(body)}`]
    const head = [`${line} HTTP/1.1`, 'host: localhost', 'connection: close', ...length, ...headers, '', ''].join(
      '\r\n',
    )
    const opened = await open(head + body)
    await opened.closed()
    const [top = '', ...rest] = opened.text().split('\r\n\r\n')
    return { status: Number(top.split(' ')[1]), head: top, text: rest.join('\r\n\r\n') }
  }
  return { path, server, clock, log, events, rateLimit, open, ask }
}

const closedOf = (client: Socket): Promise<void> =>
  client.closed ? Promise.resolve() : new Promise(resolve => void client.once('close', () => resolve()))
