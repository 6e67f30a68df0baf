#!/usr/bin/env -S node --disable-sigusr1
// The command line's entry: hands the real machine to the program, and its exit code to the shell.

import { hostname } from 'node:os'
import { createChildRunner, findProgram } from './cli/child.ts'
import type { CliDeps } from './cli/command.ts'
import type { Sink } from './cli/output.ts'
import { buildProgram } from './cli/program.ts'
import { askForRecoveryKey } from './cli/commands/recovery.ts'
import { createClock } from './service/clock.ts'
import { VERSION } from './service/process.ts'

/** The wrapper keeps them from this process, and so from its error messages. */
const nodeOptions = process.env['GHCONNECT_NODE_OPTIONS']
if (nodeOptions !== undefined) {
  process.env['NODE_OPTIONS'] = nodeOptions
  delete process.env['GHCONNECT_NODE_OPTIONS']
}

/** Standard output that cannot be written is an error of I/O: a token that got lost must not look like success. */
const OUTPUT_LOST = 74

/** Who reads one line of a list and goes has got what they wanted; who loses a secret has not. */
const SECRETS = new Set(['token', 'store-key', 'snapshot', 'recovery-key', 'git-credential'])

let onOutputLost = (error: Error): void => {
  const isClosedPipe = 'code' in error && error.code === 'EPIPE'
  process.exit(isClosedPipe && !process.argv.some(word => SECRETS.has(word)) ? 0 : OUTPUT_LOST)
}

const sinkOf = (stream: NodeJS.WriteStream): Sink => ({
  isTTY: stream.isTTY ?? false,
  write: text => void stream.write(text),
})

const deps: CliDeps = {
  version: VERSION,
  env: process.env,
  stdin: process.stdin,
  stdout: sinkOf(process.stdout),
  stderr: sinkOf(process.stderr),
  clock: createClock(),
  runChild: createChildRunner({ signals: process, terminal: process.stdin.isTTY ?? false }),
  async replaceProcess({ command, args, env }) {
    const path = findProgram(command, env['PATH'])
    if (path === undefined) return
    const { execute } = await import('./service/libc.ts')
    try {
      execute(path, [command, ...args], env)
    } catch {
      // A script without `#!`, say: a child is started in the way of a shell, and what is wrong is told there.
    }
  },
  stopSignal() {
    const stop = new AbortController()
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
    return stop.signal
  },
  async surroundings() {
    const { findGroup, findUser } = await import('./service/libc.ts')
    return { hostname: hostname(), findUser: name => findUser(name)?.uid, findGroup }
  },
  async runDaemon(options) {
    // Here and not above: the environment of `exec` goes to its child as it came.
    await import('./service/quiet.ts')
    const { runDaemon } = await import('./core/run.ts')
    return runDaemon(options)
  },
  async runSandbox(options) {
    const { runSandbox } = await import('./sandbox/server.ts')
    await runSandbox(options)
  },
  writeBytes(bytes) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // A lost bundle is told, with the exit code of its command.
    onOutputLost = reject
    process.stdout.write(bytes, error => {
      if (error) reject(error)
      else resolve()
    })
    return promise
  },
  async who() {
    if (process.geteuid?.() === 0) return 'root'
    const { findGroup } = await import('./service/libc.ts')
    const group = findGroup('ghconnect-admin')
    return group !== undefined && process.getgroups?.().includes(group) ? 'admin' : 'user'
  },
  async userNames() {
    const { userName } = await import('./service/libc.ts')
    return userName
  },
  async offline({ configFile }) {
    const { createOffline } = await import('./core/offline.ts')
    return createOffline({
      configFile,
      env: process.env,
      note: line => void process.stderr.write(`${line}\n`),
    })
  },
  async checkOffline({ configFile }) {
    const { checkOffline } = await import('./core/offline.ts')
    return checkOffline({ configFile, env: process.env, surroundings: await deps.surroundings() })
  },
  async debugBundle(wish) {
    const { debugBundle } = await import('./core/debug-bundle.ts')
    return debugBundle({ ...wish, env: process.env })
  },
  async checkConfig({ configFile }) {
    const { checkConfig } = await import('./core/config-check.ts')
    return checkConfig({ configFile, env: process.env, surroundings: await deps.surroundings() })
  },
  beforeEnable: askForRecoveryKey,
}

const main = async (): Promise<number> => {
  // Timers of the clock keep no process alive, and waiting for the daemon is often nothing but a timer.
  const alive = setInterval(() => {}, 2 ** 30)
  const exitCode = await buildProgram(deps).run(process.argv.slice(2))
  clearInterval(alive)
  // What was written is on its way to a pipe still: a token must not be cut off by the exit.
  await new Promise<void>(resolve => void process.stdout.write('', () => resolve()))
  return exitCode
}

process.stdout.on('error', error => onOutputLost(error))
// Not just `exitCode =`: a read that is pending on standard input would hold the process.
void main().then(exitCode => process.exit(exitCode))
