// One-time links to the page: each is good once and for five minutes, whoever opens it in the meantime. In memory only.

import { randomBytes } from 'node:crypto'
import type { Peer } from '../protocol/profile.ts'
import type { Clock } from '../service/clock.ts'

export type Links = {
  /** For whoever asked on admin.sock: what is done by way of the link is noted as done by him. */
  issue(peer: Peer): { readonly code: string; readonly expiresAtMs: number }
  /** Looking does not use it up: browsers and mail programs look ahead. */
  find(code: string): { readonly expiresAtMs: number } | undefined
  /** Uses it up. Undefined where it is unknown, was used, or has run out. */
  take(code: string): Peer | undefined
}

const LINK_MS = 5 * 60_000
/** More at a time are asked for by a program in a loop: the oldest gives way. */
const MAX_LINKS = 32

export const createLinks = ({ clock }: { clock: Pick<Clock, 'now' | 'monotonic'> }): Links => {
  // By the monotonic clock as well: a clock that is set back makes no link live longer.
  const links = new Map<string, { peer: Peer; expiresAtMs: number; endsAtMs: number }>()

  const find = (code: string) => {
    const link = links.get(code)
    if (link && link.expiresAtMs > clock.now() && link.endsAtMs > clock.monotonic()) return link
    links.delete(code)
    return undefined
  }

  return {
    issue(peer) {
      const code = randomBytes(16).toString('hex')
      const link = { peer, expiresAtMs: clock.now() + LINK_MS, endsAtMs: clock.monotonic() + LINK_MS }
      for (const known of links.keys()) find(known)
      const [oldest] = links.keys()
      if (links.size >= MAX_LINKS && oldest !== undefined) links.delete(oldest)
      links.set(code, link)
      return { code, expiresAtMs: link.expiresAtMs }
    },
    find,
    take(code) {
      const link = find(code)
      links.delete(code)
      return link?.peer
    },
  }
}
