// The store key, which the machine gives, and the database keys, which stand wrapped by it beside their databases.

import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { Failure } from '../../protocol/errors.ts'

export const KEY_BYTES = 32

/**
 * The 256-bit store key: 32 raw bytes or 64 hexadecimal digits, from systemd's credential where it passes one, else
 * from the file. Throws `locked` where it is unavailable, `configuration` where others may read the file.
 * `mayMake`: there is no store and no sealed key, so that the advice may be to make a key; a store is opened by its own key alone.
 */
export const readStoreKey = (source: {
  credential?: Buffer
  keyFile?: string
  mayMake?: boolean
  /** False where the store has no recovery key: `unlock` is of no help then. */
  mayUnlock?: boolean
}): Buffer => {
  const advise = source.mayMake === true ? howToMake : source.mayUnlock === false ? howToReturn : howToUnlock
  if (source.credential !== undefined)
    return parseStoreKey(source.credential, 'the systemd credential store.key', advise)
  if (source.keyFile === undefined || source.keyFile === '') {
    throw new Failure(
      'locked',
      `systemd passes no credential store.key (\`journalctl -u ghconnectd-credentials\` says why), and [store] key_file names no file; ${advise('FILE')}`,
      { next: nextOf(advise) },
    )
  }
  return parseStoreKey(readKeyFile(source.keyFile, advise), source.keyFile, advise)
}

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

const howToMake = (path: string): string => `make one with \`openssl rand -out ${path} 32\` and \`chmod 600 ${path}\``

const howToUnlock = (): string =>
  'bring back the key that the store was made with, or run `ghconnect unlock --identity FILE` with a recovery key; do not make a new key, which would not open the store'

const howToReturn = (): string =>
  'bring back the key that the store was made with; do not make a new key, which would not open the store'

/** What to do where a store has no recovery key. */
export const WITHOUT_RECOVERY_KEY =
  'Bring back the key that the store was made with, or restore a snapshot: `ghconnect snapshot restore --input FILE`.'

type Advise = (path: string) => string

const nextOf = (advise: Advise): string | undefined => (advise === howToReturn ? WITHOUT_RECOVERY_KEY : undefined)

const parseStoreKey = (bytes: Buffer, from: string, advise: Advise): Buffer => {
  const text = bytes.toString('latin1').replace(/\r?\n$/, '')
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
  if (bytes.length === KEY_BYTES && !/^[0-9a-fA-F]{32}$/.test(text)) return Buffer.from(bytes)
  const found =
    bytes.length === 0
      ? 'is empty'
      : /^[0-9a-fA-F]+$/.test(text)
        ? `holds ${text.length} hexadecimal digits`
        : `holds ${bytes.length > LARGEST_BYTES ? 'too many' : bytes.length} bytes`
  throw new Failure(
    'locked',
    `${from} ${found} in place of 32 bytes or 64 hexadecimal digits; ${advise(from.startsWith('/') ? from : 'FILE')}`,
    { next: nextOf(advise) },
  )
}

/** Of a longer file no more is read: it is none of ours. */
const LARGEST_BYTES = 1024

const readKeyFile = (path: string, advise: Advise): Buffer => {
  let fd: number
  try {
    // A FIFO in its place must not hang the start.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    const detail = absent
      ? `${path} does not exist; ${advise(path)}`
      : `${path} cannot be read; \`sudo ghconnect config check\` prints the command that opens it to the daemon`
    throw new Failure('locked', detail, { cause: error, next: nextOf(advise) })
  }
  try {
    const status = fstatSync(fd)
    if (!status.isFile())
      throw new Failure('locked', `${path} is not a file; ${advise('FILE')}`, { next: nextOf(advise) })
    if ((status.mode & 0o077) !== 0) {
      throw new Failure('configuration', `[store] key_file ${path} is open to others; run \`chmod 600 ${path}\``)
    }
    const buffer = Buffer.alloc(LARGEST_BYTES + 1)
    return buffer.subarray(0, readSync(fd, buffer))
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure('locked', `${path} cannot be read`, { cause: error })
  } finally {
    closeSync(fd)
  }
}
