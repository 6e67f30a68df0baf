// A file that holds a token: owned by whoever runs this, whole at each moment, and never written through a link.

import { lstatSync, rmSync } from 'node:fs'
import { asFailure, Failure } from '../domain/errors.ts'
import { writeDurably } from '../platform/files.ts'

export type TokenFile = {
  /** Throws `configuration` for a path that must not be written, `disk-full` and `io`: then the former file is there still. */
  write(text: string): void
  /** Leaves alone what is not its own. */
  remove(): void
  /** Throws `configuration`. */
  check(): void
}

export const createTokenFile = (path: string, mode: number): TokenFile => {
  const refuse = (why: string): Failure => new Failure('configuration', `${path}: ${why}`)
  const find = () => {
    try {
      return lstatSync(path, { throwIfNoEntry: false })
    } catch (cause) {
      throw new Failure('configuration', `${path}: cannot be looked at`, { cause })
    }
  }
  const check = (): void => {
    const found = find()
    if (!found) return
    if (found.isSymbolicLink()) throw refuse('is a link')
    if (found.isDirectory()) throw refuse('is a folder')
    if (!found.isFile()) throw refuse('is no file')
    if (found.uid !== process.geteuid?.()) throw refuse(`belongs to another user (${found.uid})`)
  }
  return {
    check,
    write(text) {
      check()
      try {
        writeDurably(path, text, mode)
      } catch (error) {
        throw asFailure(error)
      }
    },
    remove() {
      check()
      rmSync(path, { force: true })
    },
  }
}
