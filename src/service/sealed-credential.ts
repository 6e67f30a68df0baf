// Credentials that systemd keeps sealed for a service: opened and made without the service, as root.

import { execFileSync } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { Failure } from '../protocol/errors.ts'
import { syncFile, syncFolder } from './files.ts'

export type SealedCredential = {
  /** The sealed file. */
  readonly path: string
  /** The name that it was sealed for. */
  readonly name: string
  /** To what it is sealed, as `systemd-creds --with-key=` names it. */
  readonly withKey: string
}

/** Undefined where there is no such file. Throws `locked` where this machine cannot open it. */
export const openSealed = ({ path, name }: SealedCredential): Buffer | undefined => {
  if (!existsSync(path)) return undefined
  try {
    return systemdCreds(['decrypt', `--name=${name}`, path, '-'])
  } catch (error) {
    throw new Failure('locked', `${path} cannot be opened on this machine: ${reasonOf(error)}`, { cause: error })
  }
}

/** Durable on return. Throws `locked`. */
export const encryptTo = (
  path: string,
  content: Buffer,
  { name, withKey }: Pick<SealedCredential, 'name' | 'withKey'>,
): void => {
  try {
    systemdCreds(['encrypt', `--with-key=${withKey}`, `--name=${name}`, '-', path], content)
    syncFile(path)
  } catch (error) {
    throw new Failure('locked', `no store key could be sealed to ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

/** Seals `content` to this machine. A file that stands there is kept beside under the name of the moment, never replaced. */
export const seal = (content: Buffer, { path, name, withKey }: SealedCredential, nowMs: number): void => {
  const beside = `${path}.${process.pid}.new`
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  rmSync(beside, { force: true })
  try {
    encryptTo(beside, content, { name, withKey })
    // A link, unlike a rename, replaces nothing: what stands there has its other name before the new one takes its place.
    if (existsSync(path)) {
      linkSync(path, freeName(`${path}.lost-${new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`))
      renameSync(beside, path)
    } else linkSync(beside, path)
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure('locked', `no store key could be sealed to ${path}: ${reasonOf(error)}`, { cause: error })
  } finally {
    rmSync(beside, { force: true })
  }
  syncFolder(dirname(path))
}

/** The first of `name`, `name-2`, ... that is free. */
const freeName = (name: string): string => {
  let free = name
  for (let count = 2; existsSync(free); count++) free = `${name}-${count}`
  return free
}

const systemdCreds = (args: readonly string[], input?: Buffer): Buffer =>
  execFileSync('systemd-creds', args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    input: input ?? Buffer.alloc(0),
    timeout: 30_000,
    // Root does not look for programs where somebody else's environment says.
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })

const reasonOf = (error: unknown): string => {
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim().split('\n')[0] : ''
  return said || (error instanceof Error && 'code' in error ? `systemd-creds: ${String(error.code)}` : 'unknown')
}
