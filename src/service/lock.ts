// One daemon a state folder: a lock that the kernel drops with its holder, however that ends.

import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { asFailure, Failure } from '../protocol/errors.ts'
import { tryLock } from './libc.ts'

export type StateLock = {
  /** Idempotent. The file stays: removing it would let two daemons hold two locks. */
  release(): void
}

/** Throws `state-in-use`, naming the holder, where a live process has it; `io` where the folder cannot be written. */
export const lockStateFolder = (folder: string): StateLock => {
  const path = join(folder, 'lock')
  const fd = open(path)
  try {
    if (!tryLock(fd)) throw new Failure('state-in-use', `${folder} is held by ${describeHolder(path)}`)
    writePid(fd)
  } catch (error) {
    closeSync(fd)
    throw asFailure(error)
  }
  let held = true
  return {
    release() {
      if (held) closeSync(fd)
      held = false
    },
  }
}

/** For messages alone, so that a full disk is no reason not to start. Over what stands there: a truncated file would need a new block. */
const writePid = (fd: number): void => {
  try {
    writeSync(fd, `${String(process.pid).padEnd(PID_WIDTH)}\n`, 0)
  } catch {}
}
const PID_WIDTH = 10

const open = (path: string): number => {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  } catch (error) {
    throw asFailure(error)
  }
}

const describeHolder = (path: string): string => {
  const pid = Number(readText(path)?.trim())
  if (!Number.isSafeInteger(pid) || pid <= 0) return 'another process'
  const command = commandOf(pid)
  return command === undefined ? `process ${pid}` : `process ${pid} (${command})`
}

/** The program's name: for an interpreter, that of the script it runs. */
const commandOf = (pid: number): string | undefined => {
  const words = readText(`/proc/${pid}/cmdline`)?.split('\0').filter(Boolean) ?? []
  const name = words.find(word => !word.startsWith('-') && basename(word) !== 'node')
  return (name && basename(name)) ?? readText(`/proc/${pid}/comm`)?.trim()
}

const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
