// Conditional requests: what GitHub answered last, by its ETag, so that asking again whether it changed costs no quota.

import type { Answer } from './refusals.ts'
import { textOf } from './refusals.ts'

export type Conditional = {
  /** The header of a request for the same thing again; none where it was never answered. */
  headersFor(key: string): Readonly<Record<string, string>>
  /**
   * What `read` makes of the answer that counts: of the earlier one after a 304. An answer is remembered only if `read` does not throw:
   * one that was cut on the way has the ETag of the whole.
   */
  resolve<T>(key: string, answer: Answer, read: (answer: Answer) => T): T
}

/** Pages of installations and the App itself; what is more is forgotten, and asked for in whole. */
const MOST = 32

export const createConditional = (): Conditional => {
  const known = new Map<string, { readonly etag: string; readonly answer: Answer }>()
  return {
    headersFor(key) {
      const etag = known.get(key)?.etag
      return etag === undefined ? {} : { 'if-none-match': etag }
    },
    resolve(key, answer, read) {
      const former = known.get(key)
      if (answer.status === 304 && former) return read(former.answer)
      known.delete(key)
      const content = read(answer)
      const etag = textOf(answer.headers, 'etag')
      if (etag !== '' && answer.status === 200) {
        if (known.size >= MOST) known.clear()
        known.set(key, { etag, answer })
      }
      return content
    },
  }
}
