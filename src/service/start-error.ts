// Why the last start of the daemon failed, kept where the command line finds it: in the sockets' folder, or with systemd.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeDurably } from './files.ts'

/** `detail` is the message of a Failure: it has no secret. */
export type StartError = { readonly exit: number; readonly detail: string }

const fileIn = (runtime: string): string => join(runtime, 'start-error')

/** How systemd's status text begins after a failed start. */
export const START_FAILED = 'The start failed: '

/** Where the folder is not this user's, as under systemd, the status text has to do. Never throws. */
export const noteStartError = (runtime: string, error: StartError): void => {
  try {
    writeDurably(fileIn(runtime), `${JSON.stringify(error)}\n`, 0o644)
  } catch {
    // It is on standard error as well.
  }
}

/** Never throws. */
export const clearStartError = (runtime: string): void => {
  try {
    rmSync(fileIn(runtime), { force: true })
  } catch {
    // Made by another user, and of no interest while this daemon answers.
  }
}

/** Undefined where the last start is not known to have failed. `isService`: the packaged unit is asked too. Never throws. */
export const findStartError = (runtime: string, { isService }: { isService: boolean }): StartError | undefined => {
  try {
    const { exit, detail }: Record<string, unknown> = JSON.parse(readFileSync(fileIn(runtime), 'utf8'))
    if (typeof exit === 'number' && typeof detail === 'string') return { exit, detail }
  } catch {
    // None was noted.
  }
  return isService && existsSync('/run/systemd/system') ? askSystemd() : undefined
}

const askSystemd = (): StartError | undefined => {
  try {
    const shown = execFileSync(
      'systemctl',
      ['show', '-p', 'ExecMainStatus', '-p', 'StatusText', 'ghconnectd.service'],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: 5_000,
      },
    )
    const text = /^StatusText=(.*)$/m.exec(shown)?.[1] ?? ''
    if (!text.startsWith(START_FAILED)) return undefined
    return { exit: Number(/^ExecMainStatus=(\d+)$/m.exec(shown)?.[1] ?? 0), detail: text.slice(START_FAILED.length) }
  } catch {
    return undefined
  }
}
