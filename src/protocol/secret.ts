// A value that must never be printed: it shows itself as [secret] wherever text is made of it.

import { timingSafeEqual } from 'node:crypto'

const INSPECT = Symbol.for('nodejs.util.inspect.custom')

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself. Only the JWT signer, a request header, a reply, the store and the bundle may ask. */
  reveal(): string {
    return this.#value
  }

  /** Not a secret: how much memory it takes. */
  get length(): number {
    return this.#value.length
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [INSPECT](): string {
    return '[secret]'
  }
}

/** Takes as long wherever the two differ. */
export const sameText = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a, 'utf16le'), Buffer.from(b, 'utf16le'))
