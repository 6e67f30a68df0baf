// What there is to say of the private keys: too old, rejected, or two of them for too long.

import type { Status } from '../../protocol/wire.ts'
import type { StoredKey } from '../store/connection-store.ts'
import type { AppLink } from './app-link.ts'

type Warning = Status['warnings'][number]

const DAY_MS = 24 * 60 * 60_000
const OLD_MS = 365 * DAY_MS
/** Long enough to see a rotation through on every node, and to forget about it. */
const TWO_KEYS_MS = 7 * DAY_MS

export const keyWarnings = (
  keys: readonly StoredKey[],
  { link, nowMs }: { link: Pick<AppLink, 'keyState'>; nowMs: number },
): Warning[] => {
  const found: Warning[] = []
  const [signs, ...others] = keys
  if (!signs) return found
  const rejected = link.keyState(signs.fingerprint) === 'rejected'
  const fallback = others.find(({ fingerprint }) => link.keyState(fingerprint) === 'works')
  if (rejected && fallback) {
    found.push({
      code: 'key-fallback',
      detail: `GitHub rejects the key ${signs.fingerprint}; ${fallback.fingerprint} works in its place.`,
      next: `If it was deleted on GitHub: \`ghconnect keys retire --fingerprint ${signs.fingerprint}\`, then add a new one.`,
    })
  }
  if (nowMs - signs.addedAtMs >= OLD_MS) {
    found.push({
      code: 'key-old',
      detail: `The key ${signs.fingerprint} is older than a year.`,
      next: "Generate a new one on the App's settings page and run `ghconnect keys add FILE`.",
    })
  }
  if (others.length > 0 && nowMs - signs.addedAtMs >= TWO_KEYS_MS) {
    found.push({
      code: 'key-retire',
      detail: `${others.map(({ fingerprint }) => fingerprint).join(' and ')} is still held beside the key that signs.`,
      next: 'Run `ghconnect keys retire`, and delete it on GitHub.',
    })
  }
  return found
}
