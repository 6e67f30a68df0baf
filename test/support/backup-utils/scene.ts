// What is set up for each test of the hooks, and taken down after it.

import { type Appliance, PROFILE } from '../appliance.ts'
import { createConnected, createSuccessor } from './credentials.ts'
import { createSite, type Host, type Site } from './site.ts'

/** In a snapshot. */
export const BUNDLE = 'github-connect.tar'

export type Scene = { site: Site; original: Appliance; host: Host }

export type OpenSite = { readonly scene: Scene; close(): Promise<void> }

/** An appliance that is connected, and a backup host beside it. */
export const openSite = async (toml = PROFILE): Promise<OpenSite> => {
  const original = await createConnected(toml)
  const site = createSite()
  return {
    scene: { site, original, host: site.addHost('ghe', original) },
    async close() {
      site.close()
      await original.close()
    },
  }
}

export const withSite = async (work: (scene: Scene) => Promise<void>, toml?: string): Promise<void> => {
  const { scene, close } = await openSite(toml)
  try {
    await work(scene)
  } finally {
    await close()
  }
}

/** A machine to restore to, with the appliance on it. */
export const withTarget = async (
  { site, original }: Scene,
  options: { configured?: boolean; elsewhere?: boolean; toml?: string; running?: boolean },
  work: (target: Appliance, host: Host) => Promise<void>,
): Promise<void> => {
  const target = await createSuccessor(original, options)
  try {
    if (options.running !== false) await target.start()
    await work(target, site.addHost(`target-${target.pid()}`, target, options))
  } finally {
    await target.close()
  }
}

export const nameOf = (host: Host): string => host.root.split('/').at(-1) ?? ''
