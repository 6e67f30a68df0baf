// Time for whole processes: daemon and sandbox read one clock, which the test moves. By libfaketime, as nothing in the daemon is made for it.

import { type ChildProcess, spawn } from 'node:child_process'
import { globSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Appliance, CLI, createAppliance } from './appliance.ts'
import { freePort } from './ports.ts'

export type TimeMachine = {
  /** For the processes that are to live in this time. */
  readonly env: Readonly<Record<string, string>>
  /** Their time, in milliseconds since the epoch. */
  nowMs(): number
  /** Moves wall and monotonic clock of all of them forward, as waiting would. */
  advance(ms: number): void
  close(): void
}

export const createTimeMachine = (): TimeMachine => {
  // The one for programs with threads: with the other, two that read the clock at once may see it go back, and Node ends.
  const [library] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')
  if (library === undefined) throw new Error('libfaketime is missing: apt-get install faketime')
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-time-'))
  const file = join(folder, 'offset')
  let offsetMs = 0
  const write = (): void => {
    // By a rename: a file that is read while it is written would be none.
    writeFileSync(`${file}.new`, `${offsetMs < 0 ? '' : '+'}${offsetMs / 1000}s\n`)
    renameSync(`${file}.new`, file)
  }
  write()
  return {
    env: { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', TZ: 'UTC' },
    nowMs: () => Date.now() + offsetMs,
    advance(ms) {
      offsetMs += ms
      write()
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export type SettableClock = {
  /** For the one process that it is the clock of. */
  readonly env: Readonly<Record<string, string>>
  /** Somebody sets it: so far from the true time. The monotonic clock goes on. */
  set(offsetMs: number): void
  close(): void
}

export const createSettableClock = (): SettableClock => {
  const machine = createTimeMachine()
  let offsetMs = 0
  return {
    env: { ...machine.env, FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1' },
    set(next) {
      machine.advance(next - offsetMs)
      offsetMs = next
    },
    close: machine.close,
  }
}

export type TimeTravel = {
  readonly time: TimeMachine
  readonly appliance: Appliance
  /** The sandbox that lives in the same time. */
  readonly url: string
  control(method: string, path: string, body?: unknown): Promise<unknown>
  /** What GitHub answers to this token for octo-org/web, by its own clock. */
  use(token: string): Promise<number>
  /** Resolves once no token is asked for: time that jumps over such a call would have it fail. */
  settled(): Promise<void>
  close(): Promise<void>
}

export type TravelOptions = {
  readonly toml?: string
  /** What stands before the sandbox: is given its address, gives its own. */
  readonly front?: (sandbox: string) => Promise<string>
}

/** An appliance whose daemon and whose GitHub live in the time of one machine. Connected. */
export const travel = async (options: TravelOptions = {}): Promise<TimeTravel> => {
  const time = createTimeMachine()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const sandbox = await startSandboxProcess(port, time.env)
  const front = (await options.front?.(url)) ?? url
  const appliance = await createAppliance({
    github: { url: front, apiUrl: `${front}/api/v3` },
    env: time.env,
    ...(options.toml !== undefined && { toml: options.toml }),
  })
  await appliance.start()
  await appliance.enable()
  return {
    time,
    appliance,
    url,
    async control(method, path, body) {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const answer = await call(`${url}/_sandbox/${path}`, { method, ...(text !== undefined && { text }) })
      if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`)
      return JSON.parse(answer.text)
    },
    async use(token) {
      const headers = { authorization: `Bearer ${token}`, 'user-agent': 'a job' }
      const answer = await call(`${url}/api/v3/repos/octo-org/web/contents/README.md`, { method: 'GET', headers })
      return answer.status
    },
    async settled() {
      while (!/^ghconnect_mints_in_flight 0$/m.test((await appliance.call('GET', '/metrics')).text));
    },
    async close() {
      await appliance.close()
      const { promise, resolve } = Promise.withResolvers<void>()
      sandbox.once('exit', () => resolve())
      sandbox.kill('SIGTERM')
      await promise
      time.close()
    },
  }
}

/** On a connection of its own: one that is kept alive ends, for the other side, when time jumps. */
const call = (
  url: string,
  { method, headers = {}, text }: { method: string; headers?: Record<string, string>; text?: string },
): Promise<{ status: number; text: string }> => {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
  const sent = request(url, { method, headers, agent: false }, answer => {
    const chunks: Buffer[] = []
    answer.on('data', (chunk: Buffer) => chunks.push(chunk))
    answer.once('error', reject)
    answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
  })
  sent.once('error', reject)
  sent.end(text)
  return promise
}

/** `ghconnect sandbox` on loopback; whoever starts it ends it. */
export const startSandboxProcess = async (port: number, env: TimeMachine['env']): Promise<ChildProcess> => {
  const child = spawn(process.execPath, [CLI, 'sandbox', '--listen', `127.0.0.1:${port}`], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  child.stdout.once('data', () => resolve())
  child.once('exit', code => reject(new Error(`the sandbox ended with ${code}`)))
  await promise
  return child
}
