// Runs another program for this one: its streams, its signals, its exit code.

import { spawn } from 'node:child_process'
import { accessSync, constants as files, statSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'

export type ChildRequest = {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

/** `not-started` bears the shell's exit codes: 127 where there is no such program, else 126. */
export type ChildOutcome =
  | { readonly kind: 'ended'; readonly exitCode: number }
  | { readonly kind: 'not-started'; readonly exitCode: 126 | 127; readonly reason: string }

/** Where signals come from: `process`, or an emitter of a test. */
export type SignalSource = {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown
}

/**
 * `terminal`: a terminal sends its keys' signals to the whole foreground group, so the child has them already; a second
 * SIGINT would read as "at once". They still must not end this process before the child.
 */
export const createChildRunner =
  (options: { signals: SignalSource; terminal: boolean }) =>
  (request: ChildRequest): Promise<ChildOutcome> => {
    const { promise, resolve } = Promise.withResolvers<ChildOutcome>()
    const { signals, terminal } = options
    let pending: NodeJS.Signals[] | undefined = []
    let send = (signal: NodeJS.Signals): void => void pending?.push(signal)
    const forward = (signal: NodeJS.Signals): void => send(signal)
    const ofKeys = terminal ? hold : forward
    // Before the child is born: a signal in between must not end this process and leave the child behind.
    for (const signal of FORWARDED) signals.on(signal, forward)
    for (const signal of KEY_SIGNALS) signals.on(signal, ofKeys)
    const finish = (outcome: ChildOutcome): void => {
      for (const signal of FORWARDED) signals.off(signal, forward)
      for (const signal of KEY_SIGNALS) signals.off(signal, ofKeys)
      resolve(outcome)
    }
    const child = spawn(request.command, request.args, { stdio: 'inherit', env: { ...request.env } })
    child.once('spawn', () => {
      send = signal => void child.kill(signal)
      for (const signal of pending ?? []) send(signal)
      pending = undefined
    })
    child.on('error', error => {
      // Once it runs, a signal that could not be sent changes nothing: it ends by itself.
      if (!pending) return
      const absent = 'code' in error && error.code === 'ENOENT'
      finish({
        kind: 'not-started',
        exitCode: absent ? 127 : 126,
        reason: absent ? 'there is no such command' : 'it cannot be executed',
      })
    })
    child.once('exit', (code, signal) => {
      finish({ kind: 'ended', exitCode: code ?? 128 + (signal === null ? 0 : constants.signals[signal]) })
    })
    return promise
  }

/** The file that a shell would run for this name; undefined where there is none that may be executed. */
export const findProgram = (command: string, searched = '/usr/local/bin:/usr/bin:/bin'): string | undefined => {
  if (command.includes('/')) return isProgram(command) ? command : undefined
  // An empty part means the working folder.
  return searched
    .split(':')
    .map(folder => join(folder || '.', command))
    .find(isProgram)
}

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, files.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** A listener, so that the signal's default does not end this process. */
const hold = (): void => {}

/** Without SIGUSR1: Node keeps it for its inspector, and with --disable-sigusr1 no listener hears it. */
const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGCONT'] as const
const KEY_SIGNALS = ['SIGINT', 'SIGQUIT'] as const
