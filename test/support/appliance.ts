// A whole appliance for end-to-end tests: the sandbox in this process, the daemon as a process of its own, in a folder of its own.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { actAsOwner } from '../../src/sandbox/owner.ts'
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts'
import { type Answer, callUnix } from './unix-http.ts'
import { ENTRY } from './built.ts'
import { freePort } from './ports.ts'

export { CLI, ENTRY } from './built.ts'

export type Appliance = {
  readonly folder: string
  readonly state: string
  readonly runtime: string
  readonly configFile: string
  readonly sandbox: Sandbox
  /** The daemon's log so far. */
  log(): string
  /** Writes the configuration anew; the daemon reads it at its next start or SIGHUP. */
  configure(toml: string): void
  start(): Promise<void>
  /** Starts and resolves to the exit code, for starts that are to fail. */
  startAndFail(): Promise<{ code: number | null; log: string }>
  /** Ends the daemon, waits for its end, and resolves to its exit code: `null` where the signal ended it. */
  kill(signal?: NodeJS.Signals): Promise<number | null>
  signal(signal: NodeJS.Signals): void
  pid(): number
  call(method: string, path: string, body?: unknown): Promise<Answer>
  /** The same on token.sock. */
  ask(method: string, path: string, body?: unknown): Promise<Answer>
  /** Resolves when the daemon's log, from the last start on, is as the test wants it. */
  logged(pattern: Pick<RegExp, 'test'>): Promise<void>
  until(state: string): Promise<void>
  /** The whole way: link, App, installation, first token. */
  enable(): Promise<void>
  /** Something under the sandbox's control API. */
  control(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>
  close(): Promise<void>
}

export type ApplianceOptions = {
  /** Added to the configuration. */
  readonly toml?: string
  /** Where the page listens, in place of a free port. */
  readonly listen?: string
  /** What stands in place of the sandbox's address in the configuration. */
  readonly github?: { readonly url: string; readonly apiUrl: string }
  readonly env?: Readonly<Record<string, string>>
  readonly sandbox?: Parameters<typeof startSandbox>[0]
  /** What runs in place of the sources: the bundle. */
  readonly entry?: string
  /** The command that runs the daemon, in place of this node: `['faketime', ...]`. */
  readonly wrap?: (command: readonly string[]) => readonly string[]
}

export const PROFILE = `[[profiles]]
name = "test"
installation = "octo-org"
permissions = { contents = "read", issues = "write" }
allow = { users = ["${userInfo().username}"] }
`

export const createAppliance = async (options: ApplianceOptions = {}): Promise<Appliance> => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-test-'))
  const state = join(folder, 'state')
  const runtime = join(folder, 'run')
  const configFile = join(folder, 'config.toml')
  mkdirSync(runtime, { mode: 0o755 })
  writeFileSync(join(folder, 'store.key'), randomBytes(32), { mode: 0o600 })
  const sandbox = await startSandbox({ ...options.sandbox })
  const { url, apiUrl } = options.github ?? sandbox
  const base = `[github]
url = "${url}"
api_url = "${apiUrl}"
[appliance]
hostname = "appliance.test"
[app]
permissions = { metadata = "read", contents = "read", issues = "write" }
[paths]
state = "${state}"
runtime = "${runtime}"
[store]
key_file = "${join(folder, 'store.key')}"
[web]
listen = "${options.listen ?? `127.0.0.1:${await freePort()}`}"
`
  const configure = (toml: string): void => writeFileSync(configFile, base + toml, { mode: 0o600 })
  configure(options.toml ?? PROFILE)

  let child: ChildProcess | undefined
  let text = ''
  let ended: Promise<number | null> = Promise.resolve(0)
  let watchers: (() => void)[] = []

  const launch = (): ChildProcess => {
    const command = [process.execPath, '--disable-sigusr1', options.entry ?? ENTRY, '--config', configFile]
    const [program = '', ...args] = options.wrap?.(command) ?? command
    const started = spawn(program, args, { env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] })
    text = ''
    const read = (chunk: Buffer): void => {
      text += chunk.toString()
      for (const watcher of watchers) watcher()
    }
    started.stdout.on('data', read)
    started.stderr.on('data', read)
    const { promise, resolve: onEnd } = Promise.withResolvers<number | null>()
    started.once('close', code => {
      onEnd(code)
      for (const watcher of watchers) watcher()
    })
    ended = promise
    child = started
    return started
  }

  const logged = async (pattern: Pick<RegExp, 'test'>): Promise<void> => {
    const { promise, resolve: matched, reject } = Promise.withResolvers<void>()
    const look = (): void => {
      if (pattern.test(text)) matched()
      else if (child && (child.exitCode !== null || child.signalCode !== null))
        reject(new Error(`the daemon ended with ${child.exitCode ?? child.signalCode}:\n${text}`))
    }
    watchers.push(look)
    look()
    await promise.finally(() => {
      watchers = watchers.filter(watcher => watcher !== look)
    })
  }

  const call = (method: string, path: string, body?: unknown): Promise<Answer> =>
    callUnix(join(runtime, 'admin.sock'), { method, path, body })

  const kill = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    child?.kill(signal)
    const code = await ended
    child = undefined
    return code
  }

  const until = async (wanted: string): Promise<void> => {
    for (let tries = 0; tries < 400; tries++) {
      const { body } = await call('GET', '/v1/status')
      if (body['state'] === wanted) return
      await new Promise(pause => setTimeout(pause, 25))
    }
    throw new Error(
      `the state never became ${wanted}: ${JSON.stringify((await call('GET', '/v1/status')).body)}\n${text}`,
    )
  }

  return {
    folder,
    state,
    runtime,
    configFile,
    sandbox,
    log: () => text,
    configure,
    async start() {
      launch()
      await logged(/"message":"ready"/)
    },
    async startAndFail() {
      launch()
      const code = await ended
      child = undefined
      return { code, log: text }
    },
    kill,
    signal: signal => void child?.kill(signal),
    pid: () => child?.pid ?? 0,
    call,
    ask: (method, path, body) => callUnix(join(runtime, 'token.sock'), { method, path, body }),
    logged,
    until,
    async enable() {
      const begun = await call('POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } })
      if (begun.status !== 202) throw new Error(`enable answered ${begun.status} ${JSON.stringify(begun.body)}`)
      await actAsOwner({ formUrl: String(begun.body['url']), account: 'octo-org' })
      await until('connected')
      await logged(/first token minted/)
    },
    async control(method, path, body) {
      const answer = await fetch(`${sandbox.url}/_sandbox/${path}`, {
        method,
        ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      })
      const content = await answer.text()
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${content}`)
      return content === '' ? {} : JSON.parse(content)
    },
    async close() {
      if (child) await kill('SIGKILL')
      await sandbox.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
