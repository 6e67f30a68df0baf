// Programs that run for a while in tests: started, read, told to end by their own id.

import { type ChildProcess, spawn } from 'node:child_process'
import { CLI } from './appliance.ts'

export type Running = {
  readonly child: ChildProcess
  output(): string
  /** Resolves to the exit code, or the signal's name. */
  readonly ended: Promise<number | NodeJS.Signals>
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>
}

export const start = (command: readonly string[], env: Readonly<Record<string, string>> = {}): Running => {
  const [program = '', ...args] = command
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const { promise, resolve } = Promise.withResolvers<number | NodeJS.Signals>()
  child.once('close', (code, signal) => resolve(code ?? signal ?? -1))
  return {
    child,
    output: () => text,
    ended: promise,
    stop(signal = 'SIGTERM') {
      child.kill(signal)
      return promise
    },
  }
}

export const startCli = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Running =>
  start([process.execPath, '--disable-sigusr1', CLI, ...args], env)

/** Looks again and again until it is so; throws with `what` after a while. */
export const until = async (what: string, look: () => boolean | Promise<boolean>, seconds = 20): Promise<void> => {
  for (let tries = 0; tries < seconds * 40; tries++) {
    if (await look()) return
    await new Promise(pause => setTimeout(pause, 25))
  }
  throw new Error(`it never came: ${what}`)
}
