// Sets hostile processes on a daemon, attack by attack, beside a well-behaved caller, and measures what each attack did.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { asInUnit } from '../../scripts/bench-start.ts'
import { type Appliance, createAppliance } from './appliance.ts'
import type { AttackName } from './hostile-attacks.ts'
import { asUser, ATTACKER_USERS, ATTACKERS, CALLER, CALLER_USER, createGroups, type Place } from './hostile-places.ts'
import type { Tally, Target } from './hostile-wire.ts'

export type Seen = {
  readonly answered: number
  readonly wrong: readonly string[]
  readonly p50Ms: number
  readonly p99Ms: number
  /** The slowest first token of a new scope. */
  readonly newScopeMs: number
}

export type Outcome = {
  readonly samePid: boolean
  /** The longest that the daemon took to say that it lives: the watchdog stops it after 10 s. */
  readonly heartbeatMs: number
  readonly peakRssMb: number
  readonly alone: Seen
  readonly among: Seen
  /** Calls to GitHub on behalf of each of the two holders that profiles admit, since the beginning. */
  readonly quota: Readonly<Record<Place['issues'], number>>
  readonly elapsedSeconds: number
  readonly tally: Tally
  readonly logLines: number
  /** Lines of the log that name an internal error. */
  readonly internal: readonly string[]
}

export type Siege = {
  run(name: AttackName, seconds: number): Promise<Outcome>
  close(): Promise<void>
}

/** What one holder may have minted: at once, and in a minute. */
export const MINTS = { burst: 600, perMinute: 60 }

const HEARTBEAT_MS = 200
const REPOSITORIES = 14

/** Two profiles: one for those that mean harm, one for the caller that does not. Where this is not root, all are one user. */
const profiles = (): string => {
  const profile = (name: string, users: readonly string[]): string => `[[profiles]]
name = "${name}"
installation = "octo-org"
permissions = { contents = "read", issues = "write" }
allow = { users = [${users.map(user => `"${user}"`).join(', ')}] }
`
  const me = userInfo().username
  return process.getuid?.() === 0
    ? profile('attackers', ATTACKER_USERS) + profile('caller', [CALLER_USER, me])
    : profile('caller', [me])
}

/** A daemon with the flags of its unit, connected. The caller closes it. */
export const createBesieged = async (): Promise<Appliance> => {
  const appliance = await createAppliance({ toml: profiles(), wrap: command => asInUnit(command) })
  try {
    await appliance.start()
    await appliance.enable()
    return appliance
  } catch (error) {
    await appliance.close()
    throw error
  }
}

/** How the log names an error that nobody foresaw. */
export const INTERNAL = /\binternal\b|Unhandled|uncaught/i

type Worker = { readonly pid: number | undefined; command(line: unknown): Promise<unknown>; close(): Promise<void> }

/** A process that answers each line with a line. */
const startWorker = async (
  command: readonly string[],
  place: Place,
  groups: ReturnType<typeof createGroups>,
): Promise<Worker> => {
  const [program = '', ...args] = asUser(place, command)
  const child: ChildProcess = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  if (!child.stdout || !child.stdin) throw new Error('the process has no pipes')
  groups.put(child.pid ?? 0, place)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ended = once(child, 'close')
  await lines.next()
  return {
    pid: child.pid,
    async command(line) {
      child.stdin?.write(`${JSON.stringify(line)}\n`)
      const { value, done } = await lines.next()
      if (done === true) throw new Error(`${place.name} ended`)
      return JSON.parse(value)
    },
    async close() {
      child.stdin?.end()
      await ended
    },
  }
}

/** Attackers have core 1; the daemon and the caller share core 0. */
export const laySiege = async (appliance: Appliance, seed: number): Promise<Siege> => {
  chmodSync(appliance.folder, 0o755)
  const socket = join(appliance.runtime, 'token.sock')
  for (let n = 0; n < REPOSITORIES; n += 1)
    await appliance.control('POST', 'repositories', { owner: 'octo-org', name: `siege-${n}` })
  const repositories = Array.from({ length: REPOSITORIES }, (_none, n) => `siege-${n}`)
  const pagePort = Number(/"127\.0\.0\.1:(\d+)"/.exec(readFileSync(appliance.configFile, 'utf8'))?.[1])
  const pid = appliance.pid()
  const groups = createGroups()
  const script = (core: number, name: string, ...args: string[]): string[] => [
    'taskset',
    '-c',
    String(core),
    'nice',
    '-n',
    core === 0 ? '0' : '5',
    process.execPath,
    join(import.meta.dirname, name),
    ...args,
  ]
  const attackers = await Promise.all(
    ATTACKERS.map((place, at) => {
      const target: Target = { socket, pagePort, repositories, issues: place.issues }
      const command = script(1, 'hostile-clients.ts', String(seed * 100 + at), JSON.stringify(target))
      return startWorker(command, place, groups)
    }),
  )
  const caller = await startWorker(script(0, 'hostile-caller.ts', socket, JSON.stringify(repositories)), CALLER, groups)
  // It measures the daemon, not how long it waits itself for the core that they share.
  if (process.getuid?.() === 0) execFileSync('renice', ['-n', '-10', '-p', String(caller.pid)], { stdio: 'ignore' })
  const began = performance.now()
  const measure = async (seconds: number): Promise<Seen> => (await caller.command({ seconds })) as Seen
  await measure(1)

  return {
    async run(name, seconds) {
      const alone = await measure(Math.max(1, Math.min(10, seconds / 4)))
      resetPeak(pid)
      const linesBefore = appliance.log().length
      const heart = startHeartbeat(appliance)
      const attacking = attackers.map(attacker => attacker.command({ attack: name, seconds }))
      const among = await measure(seconds)
      const tallies = (await Promise.all(attacking)) as Tally[]
      const heartbeatMs = await heart.stop()
      const log = appliance.log().slice(linesBefore)
      return {
        samePid: appliance.pid() === pid && isAlive(pid),
        heartbeatMs,
        peakRssMb: peakMb(pid),
        alone,
        among,
        quota: await quotaOf(appliance),
        elapsedSeconds: (performance.now() - began) / 1_000,
        tally: sum(tallies),
        logLines: log.split('\n').length - 1,
        internal: log.split('\n').filter(line => INTERNAL.test(line)),
      }
    },
    async close() {
      await Promise.all([...attackers, caller].map(worker => worker.close()))
      groups.remove()
    },
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Asks each moment whether it lives; resolves to the slowest answer in milliseconds, infinite where none came. */
const startHeartbeat = (appliance: Appliance): { stop(): Promise<number> } => {
  let slowest = 0
  const over = new AbortController()
  const beat = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const startMs = performance.now()
      const answered = await appliance.call('GET', '/livez').then(
        ({ status }) => status === 200,
        () => false,
      )
      slowest = Math.max(slowest, answered ? performance.now() - startMs : Number.POSITIVE_INFINITY)
      await new Promise(pause => void setTimeout(pause, HEARTBEAT_MS))
    }
  }
  const beating = beat()
  return {
    async stop() {
      over.abort()
      await beating
      return slowest
    },
  }
}

/** The kernel keeps the peak since this; where it may not be written, since the start. */
const resetPeak = (pid: number): void => {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
  } catch {}
}

const peakMb = (pid: number): number => {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  } catch {
    return Number.NaN
  }
}

/** Mints name the access to issues that tells the attackers apart; all calls with a token came through the gateway. */
const quotaOf = async (appliance: Appliance): Promise<Outcome['quota']> => {
  const answer = await fetch(`${appliance.sandbox.url}/_sandbox/log?since=0`)
  const entries = (await answer.json()) as { path: string; scope: { permissions?: { issues?: string } } | null }[]
  const of = (issues: string): number => entries.filter(({ scope }) => scope?.permissions?.issues === issues).length
  return { read: of('read'), write: of('write') }
}

const sum = (tallies: readonly Tally[]): Tally => {
  const all: Tally = {}
  for (const [name, count] of tallies.flatMap(tally => Object.entries(tally))) all[name] = (all[name] ?? 0) + count
  return all
}
