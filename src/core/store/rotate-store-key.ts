// Puts a new store key in place of the one that is there, without a daemon. At each moment the one that is in place opens the store.

import { randomBytes } from 'node:crypto'
import {
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Config } from '../../service/config.ts'
import { syncFolder } from '../../service/files.ts'
import { lockStateFolder } from '../../service/lock.ts'
import { actAs, ownerOf } from '../../service/process.ts'
import { encryptTo, openSealed } from '../../service/sealed-credential.ts'
import { findCurrent, numberedFolder, overwrite } from './folders.ts'
import { KEY_BYTES, settleWrapped, wrapBeside } from './keys.ts'
import { sealedStoreKey, storeKeyWithoutDaemon } from './machine-key.ts'

/** `sealWith`: to what a sealed key is sealed, if not to the host, as `systemd-creds --with-key=` names it. */
export type RotateOptions = { readonly sealWith?: string }

/**
 * The database keys stay, and so does `key.age`; they are wrapped by the new store key, and the former one is overwritten. Returns where the
 * new one is. Throws `state-in-use`, `locked`, and `configuration` where the key comes from somewhere that this process cannot write; then
 * nothing was changed.
 */
export const rotateStoreKey = async (
  { sealWith }: RotateOptions,
  { config, env }: { config: Config; env: NodeJS.ProcessEnv },
): Promise<string> => {
  const { state } = config.paths
  const former = storeKeyWithoutDaemon(config, env)
  const source = sourceOf(config, env, sealWith)
  const owner = ownerOf(state)
  const lock = await actAs(owner, async () => lockStateFolder(state))
  const onWraps = <T>(work: (path: string) => T): Promise<T[]> => actAs(owner, async () => wrapsIn(state).map(work))
  const key = randomBytes(KEY_BYTES)
  try {
    // What an earlier one left that was killed.
    await onWraps(path => void settleWrapped(former, path))
    source.clear()
    try {
      source.write(key)
      await onWraps(path => wrapBeside(path, settleWrapped(former, path), key))
      source.swap()
    } catch (error) {
      if (source.holds(key)) throw error
      source.clear()
      await onWraps(path => void settleWrapped(former, path))
      throw asFailure(error)
    }
    await onWraps(path => void settleWrapped(key, path))
    source.clear()
    return source.path
  } finally {
    lock.release()
  }
}

/** Throws `locked` where there is no store. */
const wrapsIn = (state: string): string[] => {
  const folder = join(state, 'store')
  const number = existsSync(folder) ? findCurrent(folder) : undefined
  if (number === undefined) throw new Failure('locked', `there is no store in ${state} yet: its key needs no change`)
  return [join(numberedFolder(folder, number), 'key'), join(state, 'audit.key')].filter(path => existsSync(path))
}

type Source = {
  readonly path: string
  /** Beside the one that is in place. */
  write(key: Buffer): void
  /** By one rename; the former one is kept under another name. */
  swap(): void
  holds(key: Buffer): boolean
  /** Removes what is not in place, and overwrites it first. */
  clear(): void
}

const sourceOf = (config: Config, env: NodeJS.ProcessEnv, sealWith: string | undefined): Source => {
  const { keyFile } = config.store
  if (keyFile !== undefined && env['CREDENTIALS_DIRECTORY'] === undefined) {
    const path = realpathSync(keyFile)
    const { uid, gid, mode } = statSync(path)
    return fileSource(path, {
      read: readFileSync,
      write(beside, key) {
        writeFileSync(beside, key, { mode: mode & 0o700, flag: 'wx', flush: true })
        lchownSync(beside, uid, gid)
      },
    })
  }
  const sealed = { ...sealedStoreKey(env), ...(sealWith !== undefined && { withKey: sealWith }) }
  const { path, name } = sealed
  if (!existsSync(path) || env['CREDENTIALS_DIRECTORY'] !== undefined)
    throw new Failure('configuration', `the store key comes neither from [store] key_file nor from ${path}`, {
      next: BY_HAND,
    })
  return fileSource(path, {
    read: file => openSealed({ path: file, name, withKey: sealed.withKey }) ?? Buffer.alloc(0),
    write(beside, key) {
      encryptTo(beside, key, sealed)
      if (kindOf(beside) === kindOf(path)) return
      throw new Failure('configuration', `${path} is sealed otherwise than to "${sealed.withKey}"`, {
        next: `Say to what, as \`systemd-creds --with-key=\` names it: \`ghconnect store-key rotate --seal-with host+tpm2\`. Where that needs more options, ${BY_HAND.replace(/^./, first => first.toLowerCase())}`,
      })
    },
  })
}

const BY_HAND =
  'Do it by hand, with a recovery key: make a key with `openssl rand -out FILE 32`, hand it to the service as its credential `store.key` in place of the former one, run `systemctl restart ghconnectd`, then `ghconnect unlock --identity RECOVERY-KEY`, and shred both key files.'

/** How a credential is sealed is in its first 16 bytes. */
const kindOf = (path: string): string =>
  Buffer.from(readFileSync(path, 'latin1'), 'base64').subarray(0, 16).toString('hex')

const fileSource = (
  path: string,
  { read, write }: { read: (path: string) => Buffer; write: (path: string, key: Buffer) => void },
): Source => {
  const beside = (what: string): string => join(dirname(path), `.${basename(path)}.${what}`)
  const [next, former] = [beside('next'), beside('former')]
  return {
    path,
    write(key) {
      write(next, key)
      if (!read(next).equals(key)) throw new Failure('locked', `${next} does not hold what was written to it`)
    },
    swap() {
      linkSync(path, former)
      renameSync(next, path)
      syncFolder(dirname(path))
    },
    holds: key => read(path).equals(key),
    clear() {
      const inPlace = lstatSync(path).ino
      for (const file of [next, former]) {
        const status = lstatSync(file, { throwIfNoEntry: false })
        if (!status) continue
        // Killed between link and rename, it is the one in place under a second name.
        if (status.ino !== inPlace) overwrite(file)
        rmSync(file)
      }
      syncFolder(dirname(path))
    },
  }
}
