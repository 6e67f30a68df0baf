// age encryption: the recovery key, its recipients, and what is encrypted to them. Owns age-encryption.

import { arrayBuffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { Failure } from '../../protocol/errors.ts'
import { Secret } from '../../protocol/secret.ts'
import { MAX_RECIPIENTS } from './content.ts'

/** `identity` opens what is encrypted to `recipient`; X25519, which every version of age knows. */
export type RecoveryKey = { readonly identity: Secret; readonly recipient: string }

export const createRecoveryKey = async (): Promise<RecoveryKey> => {
  const identity = new Secret(await generateX25519Identity())
  return { identity, recipient: await recipientOf(identity) }
}

/** Throws `invalid-request` where it is no identity. */
export const recipientOf = async (identity: Secret): Promise<string> => {
  if (!isIdentity(identity.reveal())) throw new Failure('invalid-request', 'the text is no X25519 identity of age')
  return identityToRecipient(identity.reveal())
}

/** Throws `configuration`. X25519 recipients only: those of plugins and of newer kinds are not opened by every `age -d`. */
export const assertRecipient = (text: string): void => {
  // An identity that was put there by mistake is not printed again.
  if (/secret/i.test(text)) {
    throw new Failure('configuration', 'an identity (AGE-SECRET-KEY-1...) stands where its recipient (age1...) belongs')
  }
  if (!isRecipient(text)) {
    throw new Failure(
      'configuration',
      `${JSON.stringify(text.slice(0, 80))} is no X25519 recipient of age: "age1" and 58 more characters`,
    )
  }
}

/** The identities of an age identity file: one a line, beside comments and blank lines. Throws `invalid-request`, naming the line, never its text. */
export const readIdentities = (fileText: string): Secret[] => {
  if (/^(age-encryption\.org\/|-----BEGIN AGE ENCRYPTED FILE-----)/.test(fileText)) {
    throw new Failure('invalid-request', 'the identity file is itself encrypted; decrypt it first: `age -d FILE`')
  }
  const identities: Secret[] = []
  for (const [index, line] of fileText.split('\n').entries()) {
    const text = line.trim()
    if (text === '' || text.startsWith('#')) continue
    if (!isIdentity(text)) {
      const what = isRecipient(text) ? 'a recipient, which only encrypts' : 'no X25519 identity of age'
      throw new Failure(
        'invalid-request',
        `line ${index + 1} of the identity file is ${what}; AGE-SECRET-KEY-1... opens`,
      )
    }
    identities.push(new Secret(text))
  }
  if (identities.length === 0) throw new Failure('invalid-request', 'there is no identity in the identity file')
  return identities
}

/**
 * Binary age v1, which stock `age -d` opens; it was opened again before it is returned. Throws `configuration` for what is no recipient, for
 * none and for too many.
 */
export const encryptTo = async (recipients: readonly string[], plain: Uint8Array): Promise<Uint8Array> => {
  if (recipients.length === 0 || recipients.length > MAX_RECIPIENTS) {
    throw new Failure('configuration', `there are ${recipients.length} recipients; from 1 to ${MAX_RECIPIENTS} can be`)
  }
  const encrypter = new Encrypter()
  for (const recipient of recipients) {
    assertRecipient(recipient)
    encrypter.addRecipient(recipient)
  }
  // One that is no part of the file, but keeps its key, by which it is opened again.
  let fileKey = new Uint8Array()
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = Uint8Array.from(key)
      return []
    },
  })
  const file = await attempt(encrypter, plain)
  const decrypter = new Decrypter()
  decrypter.addIdentity({ unwrapFileKey: () => fileKey })
  const opened = await inTurns(file, pieces => decrypter.decrypt(pieces)).catch((cause: unknown) => {
    throw new Failure('internal', 'what was encrypted does not open', { cause })
  })
  if (Buffer.compare(opened, plain) !== 0) throw new Failure('internal', 'what was encrypted opens to something else')
  return file
}

/**
 * Throws `bundle-wrong-identity` where no identity opens it, `bundle-corrupt` where it is damaged. A damage within the part that names
 * the recipients looks like a wrong identity: where it matters, a digest is checked before.
 */
export const decryptWith = async (identities: readonly Secret[], bytes: Uint8Array): Promise<Uint8Array> => {
  assertHeader(bytes)
  const decrypter = new Decrypter()
  for (const identity of identities) {
    if (!isIdentity(identity.reveal())) throw new Failure('invalid-request', 'the text is no X25519 identity of age')
    decrypter.addIdentity(identity.reveal())
  }
  try {
    return await inTurns(bytes, pieces => decrypter.decrypt(pieces))
  } catch (error) {
    if (error instanceof Error && error.message === NO_MATCH) {
      const which = identities.length === 1 ? 'the identity' : `none of the ${identities.length} identities`
      const verb = identities.length === 1 ? 'is not one' : 'is one'
      throw new Failure('bundle-wrong-identity', `${which} ${verb} that it was encrypted to`, { cause: error })
    }
    throw new Failure('bundle-corrupt', 'the encrypted part fails its check', { cause: error })
  }
}

const PIECE_BYTES = 64 * 1024

/** A piece in each turn of the event loop: megabytes take a tenth of a second, and others are served meanwhile. */
const inTurns = async (
  bytes: Uint8Array,
  work: (pieces: ReadableStream<Uint8Array>) => Promise<ReadableStream<Uint8Array>>,
): Promise<Uint8Array> => {
  let at = 0
  const pieces = new ReadableStream<Uint8Array>({
    async pull(to) {
      await setImmediate()
      if (at >= bytes.length) return to.close()
      to.enqueue(bytes.subarray(at, (at += PIECE_BYTES)))
    },
  })
  return new Uint8Array(await arrayBuffer(await work(pieces)))
}

/** What age-encryption says where no identity fits; a test holds it. */
const NO_MATCH = "no identity matched any of the file's recipients"

/** Room for 20 recipients four times over. More stanzas would only cost time, one multiplication each. */
const MAX_HEADER_BYTES = 8 * 1024

const isRecipient = (text: string): boolean =>
  /^age1[0-9a-z]{58}$/.test(text) && accepts(() => new Encrypter().addRecipient(text))

const isIdentity = (text: string): boolean =>
  /^AGE-SECRET-KEY-1[0-9A-Z]{58}$/.test(text) && accepts(() => new Decrypter().addIdentity(text))

const accepts = (work: () => void): boolean => {
  try {
    work()
    return true
  } catch {
    return false
  }
}

/** A recipient that is well spelled may still be no point that a key can be agreed with. */
const attempt = async (encrypter: Encrypter, plain: Uint8Array): Promise<Uint8Array> => {
  try {
    return await inTurns(plain, pieces => encrypter.encrypt(pieces))
  } catch (error) {
    throw new Failure('configuration', 'one of the recipients cannot be encrypted to', { cause: error })
  }
}

/** Throws `bundle-corrupt` for what is no age file, or has more stanzas than there can be recipients. */
const assertHeader = (bytes: Uint8Array): void => {
  const head = Buffer.from(bytes.subarray(0, MAX_HEADER_BYTES)).toString('latin1')
  if (!/^age-encryption\.org\/v1\n(?:[^]*?\n)?--- [^\n]*\n/.test(head)) {
    throw new Failure('bundle-corrupt', 'the encrypted part is no age file (binary, version 1)')
  }
}
