// The store key, which the machine provides, and the database keys, which stand wrapped by it beside their databases.

import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { Failure } from '../../protocol/errors.ts'
import { syncFolder } from '../../service/files.ts'
import { overwrite } from './folders.ts'

export const KEY_BYTES = 32

/** What to do where a store has no recovery key. */
export const WITHOUT_RECOVERY_KEY =
  'Bring back the key that the store was made with, or restore a snapshot: `ghconnect snapshot restore --input FILE`.'

/**
 * The 256-bit store key: 32 raw bytes or 64 hexadecimal digits, from systemd's credential where it passes one, else
 * from the file. Throws `locked` where it is unavailable, `configuration` where others may read the file.
 * `mayMake`: there is no store and no sealed key, so that the advice may be to make a key; a store is opened by its own key alone.
 * `mayUnlock`: false where the store has no recovery key, so that `unlock` is of no help.
 */
export const readStoreKey = (source: {
  credential?: Buffer
  keyFile?: string
  mayMake?: boolean
  mayUnlock?: boolean
}): Buffer => {
  const { credential, keyFile, mayMake = false, mayUnlock = true } = source
  const next = mayMake || mayUnlock ? undefined : WITHOUT_RECOVERY_KEY
  /** With what to do; `path`: where the key belongs. */
  const locked = (problem: string, { path = 'FILE', cause }: { path?: string; cause?: unknown } = {}): Failure => {
    const unlock = mayUnlock ? ', or run `ghconnect unlock --identity FILE` with a recovery key' : ''
    const advice = mayMake
      ? `make one with \`openssl rand -out ${path} 32\` and \`chmod 600 ${path}\``
      : `bring back the key that the store was made with${unlock}; do not make a new key, which would not open the store`
    return new Failure('locked', `${problem}; ${advice}`, { cause, next })
  }
  const parse = (bytes: Buffer, from: string): Buffer => {
    const text = bytes.toString('latin1').replace(/\r?\n$/, '')
    if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
    if (bytes.length === KEY_BYTES && !/^[0-9a-fA-F]{32}$/.test(text)) return Buffer.from(bytes)
    const found =
      bytes.length === 0
        ? 'is empty'
        : /^[0-9a-fA-F]+$/.test(text)
          ? `holds ${text.length} hexadecimal digits`
          : `holds ${bytes.length > LARGEST_BYTES ? 'too many' : bytes.length} bytes`
    const place = from.startsWith('/') ? { path: from } : {}
    throw locked(`${from} ${found} in place of 32 bytes or 64 hexadecimal digits`, place)
  }
  if (credential !== undefined) return parse(credential, 'the systemd credential store.key')
  if (keyFile === undefined || keyFile === '') {
    throw locked(
      'systemd passes no credential store.key (`journalctl -u ghconnectd-credentials` says why), and [store] key_file names no file',
    )
  }
  let fd: number
  try {
    // A FIFO in its place must not hang the start.
    fd = openSync(keyFile, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (absent) throw locked(`${keyFile} does not exist`, { path: keyFile, cause: error })
    throw new Failure(
      'locked',
      `${keyFile} cannot be read; \`sudo ghconnect config check\` prints the command that opens it to the daemon`,
      { cause: error, next },
    )
  }
  try {
    const status = fstatSync(fd)
    if (!status.isFile()) throw locked(`${keyFile} is not a file`)
    if ((status.mode & 0o077) !== 0) {
      throw new Failure('configuration', `[store] key_file ${keyFile} is open to others; run \`chmod 600 ${keyFile}\``)
    }
    const buffer = Buffer.alloc(LARGEST_BYTES + 1)
    return parse(buffer.subarray(0, readSync(fd, buffer)), keyFile)
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure('locked', `${keyFile} cannot be read`, { cause: error })
  } finally {
    closeSync(fd)
  }
}

/** Of a longer file no more is read: it is none of ours. */
const LARGEST_BYTES = 1024

/**
 * The wrapped key: MAGIC, 12 bytes nonce, 32 bytes ciphertext, 16 bytes tag (AES-256-GCM, MAGIC as additional data), then the SHA-256 of all
 * that. The digest is no protection; it tells a damaged file from a wrong store key.
 */
export const wrapDatabaseKey = (storeKey: Buffer, databaseKey: Buffer): Buffer => {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', storeKey, nonce).setAAD(MAGIC)
  const body = Buffer.concat([MAGIC, nonce, cipher.update(databaseKey), cipher.final(), cipher.getAuthTag()])
  return Buffer.concat([body, digest(body)])
}

/** Throws `store-corrupt` where the file is damaged, `wrong-store-key` where it is whole and the key does not open it. */
export const unwrapDatabaseKey = (storeKey: Buffer, wrapped: Buffer, path: string): Buffer => {
  const body = wrapped.subarray(0, BODY_BYTES)
  if (wrapped.length !== BODY_BYTES + DIGEST_BYTES || !digest(body).equals(wrapped.subarray(BODY_BYTES))) {
    throw new Failure('store-corrupt', `${path} is damaged: it is no wrapped key`)
  }
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new Failure('store-corrupt', `${path} is a wrapped key of an unknown format`)
  }
  const nonce = body.subarray(MAGIC.length, MAGIC.length + NONCE_BYTES)
  const sealed = body.subarray(MAGIC.length + NONCE_BYTES, BODY_BYTES - TAG_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', storeKey, nonce, { authTagLength: TAG_BYTES })
    .setAAD(MAGIC)
    .setAuthTag(body.subarray(BODY_BYTES - TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(sealed), decipher.final()])
  } catch (error) {
    throw new Failure('wrong-store-key', `${path} was sealed with another key`, { cause: error })
  }
}

const MAGIC = Buffer.from('ghconnectd-key-1\n')
const NONCE_BYTES = 12
const TAG_BYTES = 16
const DIGEST_BYTES = 32
const BODY_BYTES = MAGIC.length + NONCE_BYTES + KEY_BYTES + TAG_BYTES

const digest = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()

/** The database key in a file. Changes nothing. Throws `store-corrupt`, `wrong-store-key`. */
export const readWrapped = (storeKey: Buffer, path: string): Buffer => openWrapped(storeKey, path).databaseKey

/** The same, and ends a change of the store key that was killed: what this store key does not open goes. */
export const settleWrapped = (storeKey: Buffer, path: string): Buffer => {
  const { databaseKey, isNext } = openWrapped(storeKey, path)
  const next = nextOf(path)
  if (!existsSync(next)) return databaseKey
  overwrite(isNext ? path : next)
  if (isNext) renameSync(next, path)
  else rmSync(next)
  syncFolder(dirname(path))
  return databaseKey
}

/** From here on either store key opens it. Durable on return. */
export const wrapBeside = (path: string, databaseKey: Buffer, storeKey: Buffer): void => {
  // Half of it would open nothing, and counts for nothing before it is whole: it needs no other name first.
  writeFileSync(nextOf(path), wrapDatabaseKey(storeKey, databaseKey), { mode: 0o600, flag: 'wx', flush: true })
  syncFolder(dirname(path))
}

/** While the store key is changed, the database key stands here too, wrapped by the new one. */
const nextOf = (path: string): string => `${path}.next`

const openWrapped = (storeKey: Buffer, path: string): { databaseKey: Buffer; isNext: boolean } => {
  try {
    if (!existsSync(path)) throw new Failure('store-corrupt', `${path} is gone`)
    return { databaseKey: unwrapDatabaseKey(storeKey, readFileSync(path), path), isNext: false }
  } catch (error) {
    const next = nextOf(path)
    if (!(error instanceof Failure) || !existsSync(next)) throw error
    try {
      return { databaseKey: unwrapDatabaseKey(storeKey, readFileSync(next), next), isNext: true }
    } catch {
      throw error
    }
  }
}
