// Sealing: what goes into etcd is encrypted under the cluster's secret, and bound to its place and its version.

import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'

export type Stamp = { readonly generation: number; readonly sequence: number }

export type Opened =
  | { readonly kind: 'opened'; readonly stamp: Stamp; readonly plain: Buffer }
  /** Sealed with a secret that is not known here. */
  | { readonly kind: 'foreign'; readonly secret: string }
  /** Nobody who knows the secret wrote this here: changed, cut, moved from another key, or no sealed value at all. */
  | { readonly kind: 'damaged' }

export type Keyring = ReturnType<typeof createKeyring>

const VERSION = 1
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const MARK_BYTES = 8

/**
 * `secrets`: at least one. `preferred` says which seals, by its mark: the first where it is left out or unknown, so that a new secret
 * can be made known to all nodes before one of them uses it.
 */
export const createKeyring = (options: {
  readonly cluster: string
  readonly secrets: readonly Buffer[]
  readonly preferred?: () => string | undefined
}) => {
  const { cluster } = options
  const rings = options.secrets.map(secret => ({
    mark: derive(secret, { cluster, use: 'mark', bytes: MARK_BYTES }).toString('hex'),
    key: derive(secret, { cluster, use: 'seal', bytes: KEY_BYTES }),
    names: derive(secret, { cluster, use: 'name', bytes: KEY_BYTES }),
  }))
  const [first] = rings
  if (first === undefined) throw new RangeError('a keyring needs a secret')
  const current = () => {
    const mark = options.preferred?.()
    return rings.find(ring => ring.mark === mark) ?? first
  }
  return {
    seal(key: string, { generation, sequence }: Stamp, plain: Buffer): Buffer {
      const { mark, key: secret } = current()
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', secret, nonce)
      cipher.setAAD(bindingOf(cluster, { key, mark, generation, sequence }))
      const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
      return Buffer.from(JSON.stringify([VERSION, mark, generation, sequence, sealed.toString('base64')]))
    },
    /** Never throws. */
    open(key: string, sealed: Buffer): Opened {
      const parts = parse(sealed)
      if (!parts) return { kind: 'damaged' }
      const { mark, generation, sequence, bytes } = parts
      const ring = rings.find(one => one.mark === mark)
      if (!ring) return { kind: 'foreign', secret: mark }
      try {
        const decipher = createDecipheriv('aes-256-gcm', ring.key, bytes.subarray(0, NONCE_BYTES), {
          authTagLength: TAG_BYTES,
        })
        decipher.setAAD(bindingOf(cluster, { key, mark, generation, sequence }))
        decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
        const plain = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
        return { kind: 'opened', stamp: { generation, sequence }, plain }
      } catch {
        return { kind: 'damaged' }
      }
    },
    /** A name that tells etcd nothing of the text. */
    nameOf: (text: string): string => createHmac('sha256', current().names).update(text).digest('hex').slice(0, 40),
    /** The marks of the secrets that open here, the preferred one first. A mark does not give its secret away. */
    secrets: rings.map(ring => ring.mark),
  }
}

const derive = (secret: Buffer, { cluster, use, bytes }: { cluster: string; use: string; bytes: number }): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, 'ghconnectd cluster', JSON.stringify([VERSION, cluster, use]), bytes))

const bindingOf = (cluster: string, place: Stamp & { key: string; mark: string }): Buffer =>
  Buffer.from(JSON.stringify(['ghconnectd', VERSION, cluster, place.key, place.mark, place.generation, place.sequence]))

type Parts = Stamp & { readonly mark: string; readonly bytes: Buffer }

const parse = (sealed: Buffer): Parts | undefined => {
  let value: unknown
  try {
    value = JSON.parse(sealed.toString())
  } catch {
    return undefined
  }
  if (!Array.isArray(value) || value.length !== 5 || value[0] !== VERSION) return undefined
  const [, mark, generation, sequence, text]: unknown[] = value
  if (typeof mark !== 'string' || typeof text !== 'string') return undefined
  if (!isCount(generation) || !isCount(sequence)) return undefined
  const bytes = Buffer.from(text, 'base64')
  // One spelling for one value: what was changed without changing what it means is changed.
  if (bytes.toString('base64') !== text || bytes.length < NONCE_BYTES + TAG_BYTES) return undefined
  return { mark, generation, sequence, bytes }
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
