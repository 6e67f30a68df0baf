// Whose settings a page belongs to: an organization's, an enterprise's, or the signed-in person's.

import type { Account } from './records.ts'
import type { World } from './world.ts'

export type OwnerPrefix = {
  prefix: string
  find: (world: World, name: string | undefined) => Account | undefined
  /** Enterprises have no manifest flow. */
  manifests: boolean
}

export const OWNER_PREFIXES: readonly OwnerPrefix[] = [
  {
    prefix: '/organizations/:owner/settings',
    find: (world, name) => {
      const found = world.findAccount(name ?? '')
      return found?.kind === 'Organization' ? found : undefined
    },
    manifests: true,
  },
  {
    prefix: '/enterprises/:owner/settings',
    find: (world, name) => world.findEnterprise(name ?? ''),
    manifests: false,
  },
  {
    // The sandbox has no sign-in: whoever comes is the first user.
    prefix: '/settings',
    find: world => world.accounts.find(a => a.kind === 'User'),
    manifests: true,
  },
]
