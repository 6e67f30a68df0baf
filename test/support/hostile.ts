// Drives hostile clients beside a well-behaved one, and measures what the latter sees of them.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { callUnix } from './unix-http.ts'
import { NOBODY } from './probes.ts'

const CLIENTS = join(import.meta.dirname, 'hostile-clients.ts')

export type Tallies = Readonly<
  Record<string, { readonly connections: number; readonly statuses: Record<string, number> }>
>

export type Hostile = {
  /** Resolves once the first of them has got what it gets. */
  readonly turned: Promise<void>
  stop(): Promise<Tallies>
}

/** Starts them on one core; as another user where that can be, as they are others in life. Ends them with `stop`. */
export const startHostile = async (
  socket: string,
  options: { core?: number; kinds?: readonly string[] } = {},
): Promise<Hostile> => {
  const { core = 1, kinds = [] } = options
  const change = process.getuid?.() === 0 ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : []
  const command = ['taskset', '-c', String(core), ...change, process.execPath, CLIENTS, socket, ...kinds]
  const [program = '', ...args] = command
  const child: ChildProcess = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  let text = ''
  const started = Promise.withResolvers<void>()
  const turned = Promise.withResolvers<void>()
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    if (text.includes('started')) started.resolve()
    if (text.includes('turned')) turned.resolve()
  })
  const ended = once(child, 'close')
  void ended.then(() => turned.resolve())
  await Promise.race([started.promise, ended])
  return {
    turned: turned.promise,
    async stop() {
      child.stdin?.end()
      await ended
      return JSON.parse(text.trim().split('\n').at(-1) ?? '{}')
    },
  }
}

export type Seen = {
  readonly answered: number
  readonly wrong: readonly string[]
  readonly p50Ms: number
  readonly p99Ms: number
}

/** A client that asks for its token, waits for the answer, and asks again a little later. */
export const behaveWell = async (
  socket: string,
  options: { requests: number; pauseMs: number; expected: string },
): Promise<Seen> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const body = { repositories: ['web'], permissions: { contents: 'read' } }
  const times: number[] = []
  const wrong: string[] = []
  for (let n = 0; n < options.requests; n += 1) {
    const began = performance.now()
    try {
      const answer = await callUnix(socket, { method: 'POST', path: '/v1/tokens', body, agent })
      times.push(performance.now() - began)
      if (answer.status !== 200 || answer.body['token'] !== options.expected)
        wrong.push(`${answer.status} ${answer.text}`)
    } catch (error) {
      wrong.push(String(error))
    }
    await new Promise(pause => void setTimeout(pause, options.pauseMs))
  }
  agent.destroy()
  const sorted = times.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? Number.NaN
  return { answered: times.length, wrong, p50Ms: at(0.5), p99Ms: at(0.99) }
}
