// A terminal of a booted machine: root's bash on a real pty, into which lines are typed as a person would type them.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

export type Typed = { readonly code: number; readonly output: string }

/** What is on the screen, and what to do once: type an answer, or act elsewhere and type what comes of it (undefined: nothing). */
export type Reaction = readonly [on: RegExp, react: (found: RegExpExecArray) => Promise<void> | string]

export type Terminal = {
  /** One command of one or more lines. Resolves at the next prompt; throws where none comes within a minute. */
  type(command: string, ...reactions: readonly Reaction[]): Promise<Typed>
  /** Ctrl-C. */
  interrupt(): void
  /** Ends what a command that threw has left. */
  free(): Promise<void>
  /** All that was ever on the screen. */
  screen(): string
  close(): Promise<void>
}

/** `start`: runs a script of bash inside the machine, its standard input and output piped. */
export const openTerminal = async (start: (script: string) => ChildProcess): Promise<Terminal> => {
  // No echo: what is typed is not looked for among what is answered.
  const shell = start(
    `export TERM=dumb HOME=/root; cd; exec script -qfc 'stty -echo cols 200; exec bash --noprofile --norc -i' /dev/null`,
  )
  let screen = ''
  let wake = (): void => undefined
  shell.stdout?.on('data', (chunk: Buffer) => {
    screen += chunk.toString().replaceAll('\r', '')
    wake()
  })
  shell.stdin?.on('error', () => wake())
  const write = (text: string): void => void shell.stdin?.write(text)
  let busy = true
  const until = async (from: number, reactions: readonly Reaction[]): Promise<Typed> => {
    const waiting = [...reactions]
    let reacted = from
    const deadline = AbortSignal.timeout(TYPING_MS)
    deadline.addEventListener('abort', () => wake())
    for (;;) {
      const seen = screen.slice(from)
      const end = PROMPT.exec(seen)
      if (end) {
        busy = false
        return { code: Number(end[1]), output: seen.slice(0, end.index).trim() }
      }
      // The first that matches what nothing reacted to yet.
      const fresh = screen.slice(reacted)
      const next = waiting.findIndex(([on]) => on.test(fresh))
      const [on, react] = waiting[next] ?? []
      const found = on?.exec(fresh)
      if (found && react) {
        waiting.splice(next, 1)
        reacted += found.index + found[0].length
        const answer = await react(found)
        if (typeof answer === 'string') write(`${answer}\n`)
        continue
      }
      if (deadline.aborted || shell.exitCode !== null) throw new Error(`no prompt came:\n${seen}`)
      await new Promise<void>(resolve => (wake = resolve))
    }
  }
  write(`PS2='' PS1='[typed $?]'\n`)
  await until(0, [])
  return {
    interrupt: () => write('\x03'),
    async free() {
      if (!busy) return
      const from = screen.length
      write('\x03')
      await until(from, [])
    },
    screen: () => screen,
    async type(command, ...reactions) {
      const from = screen.length
      busy = true
      write(`${command}\n`)
      return await until(from, reactions)
    },
    async close() {
      if (shell.exitCode !== null || shell.signalCode !== null) return
      const exit = once(shell, 'exit')
      // What runs in it keeps the other ends until the machine is powered off.
      for (const stream of [shell.stdin, shell.stdout]) stream?.destroy()
      shell.kill('SIGKILL')
      await exit
    },
  }
}

const PROMPT = /\[typed (\d+)\]$/
const TYPING_MS = 60_000
