// The well-behaved caller among hostile ones, as a process of its own: `node hostile-caller.ts SOCKET REPOSITORIES`. For each line
// `{"seconds":N}` it asks for its cached token again and again, and each second for the first token of a new scope; prints what it saw.

import { Agent } from 'node:http'
import { createInterface } from 'node:readline'
import type { Seen } from './hostile.ts'
import { callUnix } from './unix-http.ts'

const [socket = '', list = '[]'] = process.argv.slice(2)
const repositories: string[] = JSON.parse(list)
const PAUSE_MS = 3
const EACH_MS = 1_000

const pause = (ms: number): Promise<void> => new Promise(resolve => void setTimeout(resolve, ms))
const permissions = { contents: 'read' }
/** The sets of repositories are numbered; the first is that of the cached token. */
let scopes = 1
const setOf = (number: number): string[] => repositories.filter((_name, at) => (number & (1 << at)) !== 0)

/** The kernel says so where more callers wait to be taken than the socket holds; the time goes on. */
const isFull = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EAGAIN'

const askPatiently: (request: Parameters<typeof callUnix>[1]) => ReturnType<typeof callUnix> = async request => {
  for (;;) {
    try {
      return await callUnix(socket, request)
    } catch (error) {
      if (!isFull(error)) throw error
      await pause(PAUSE_MS)
    }
  }
}

type Answered = { readonly token: unknown; readonly expiresAt: string }

const measure = async (seconds: number): Promise<Seen> => {
  const cached: number[] = []
  const fresh: number[] = []
  const wrong: string[] = []
  const endMs = performance.now() + seconds * 1_000
  const ask = async (agent: Agent, wanted: readonly string[], times: number[]): Promise<Answered | undefined> => {
    const began = performance.now()
    try {
      const body = { repositories: wanted, permissions }
      const answer = await askPatiently({ method: 'POST', path: '/v1/tokens', body, agent })
      times.push(performance.now() - began)
      if (answer.status === 200 && String(answer.body['repositories']) === String(wanted))
        return { token: answer.body['token'], expiresAt: String(answer.body['expires_at']) }
      wrong.push(answer.status === 200 ? 'a token of another scope' : `${answer.status} ${answer.text}`)
      return undefined
    } catch (error) {
      times.push(performance.now() - began)
      wrong.push(String(error))
      return undefined
    }
  }
  const askAgain = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    let before = await ask(agent, setOf(1), [])
    while (performance.now() < endMs) {
      const now = await ask(agent, setOf(1), cached)
      // A siege of all attacks lasts longer than a token goes unrefreshed.
      if (now && before && now.token !== before.token && now.expiresAt <= before.expiresAt) wrong.push('another token')
      before = now ?? before
      await pause(PAUSE_MS)
    }
    agent.destroy()
  }
  const askNew = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (performance.now() < endMs) {
      const began = performance.now()
      scopes += 1
      await ask(agent, setOf(scopes), fresh)
      await pause(Math.max(0, EACH_MS - (performance.now() - began)))
    }
    agent.destroy()
  }
  await Promise.all([askAgain(), askNew()])
  // Without any answer it waited all the time.
  const sorted = cached.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? seconds * 1_000
  return { answered: cached.length, wrong, p50Ms: at(0.5), p99Ms: at(0.99), newScopeMs: Math.max(0, ...fresh) }
}

process.stdout.write('started\n')
for await (const line of createInterface({ input: process.stdin })) {
  const { seconds }: { seconds: number } = JSON.parse(line)
  process.stdout.write(`${JSON.stringify(await measure(seconds))}\n`)
}
