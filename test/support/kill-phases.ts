// What the daemon is doing when it is killed: the phases of the kill test, each begun over the sockets and left to its fate.

import { actAsOwner, installApp } from '../../src/sandbox/owner.ts'
import type { Appliance } from './appliance.ts'

export type Phase = 'enable' | 'paste' | 'install' | 'mint' | 'refresh' | 'disable' | 'give-up' | 'none'

/** What the test knows of the connection, and the daemon must not have forgotten. */
export type Knowledge = {
  /** After the last restart. */
  state?: string
  /** The redirect with the code, once GitHub made an App for the link that is pending. */
  callbackUrl?: string
  /** The key that status has shown. */
  fingerprint?: string
  /** The last token that was handed out. */
  token?: string
  /** The disable of this round may finish without waiting for the owner. A restart forgets such a wish. */
  mayShred: boolean
  /** The owner deleted the App: any disable may finish. */
  isDeleted: boolean
}

export type Random = { next(): number; below(n: number): number; pick<T>(list: readonly T[]): T }

const ORGANIZATION = 'octo-org'
const REPOSITORIES = ['web', 'api', 'docs', 'infra']

/** The same numbers for the same seed (mulberry32). */
export const seeded = (seed: number): Random => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n: number): number => Math.floor(next() * n)
  return {
    next,
    below,
    pick: list => {
      const chosen = list[below(list.length)]
      if (chosen === undefined) throw new Error('nothing to pick from')
      return chosen
    },
  }
}

/** What may follow from a state; each name stands as often as it is to be likely. */
export const phasesOf = (state: string, knowledge: Knowledge): readonly Phase[] => {
  switch (state) {
    case 'disconnected':
      return ['enable']
    case 'awaiting-app':
      return knowledge.callbackUrl === undefined ? ['enable', 'give-up'] : ['paste', 'paste', 'paste', 'enable']
    case 'awaiting-installation':
      return ['install', 'install', 'install', 'disable']
    case 'connected':
      return ['mint', 'mint', 'mint', 'refresh', 'refresh', 'disable', 'disable', 'disable']
    case 'disconnecting':
      return ['disable']
    case 'key-lost':
      return ['give-up', 'enable']
    default:
      return ['none']
  }
}

export const perform = async (
  phase: Phase,
  { appliance, knowledge, random }: { appliance: Appliance; knowledge: Knowledge; random: Random },
): Promise<void> => {
  const { call, control } = appliance
  knowledge.mayShred = false
  switch (phase) {
    case 'enable': {
      // GitHub without the Apps of former rounds: their name is taken.
      await control('POST', 'reset')
      await orderFault(appliance, random, ['/app-manifests', '/app/installations'])
      delete knowledge.callbackUrl
      knowledge.isDeleted = false
      const { body } = await call('POST', '/v1/connection', { account: { type: 'organization', login: ORGANIZATION } })
      const { callbackUrl } = await actAsOwner({ formUrl: String(body['url']), followCallback: false })
      if (callbackUrl === undefined) throw new Error('the sandbox sent nobody back')
      knowledge.callbackUrl = callbackUrl
      const back = await fetch(callbackUrl, { redirect: 'manual' })
      const installUrl = back.headers.get('location')
      if (installUrl?.endsWith('/installations/new')) await installApp({ installUrl, account: ORGANIZATION })
      return
    }
    case 'paste':
      await orderFault(appliance, random, ['/app-manifests'])
      await call('POST', '/v1/connection/completion', { redirected: knowledge.callbackUrl })
      return
    case 'install': {
      const { body } = await call('GET', '/v1/status')
      const app = body['app']
      if (typeof app !== 'object' || app === null || !('html_url' in app)) throw new Error('status names no App')
      await orderFault(appliance, random, ['/app/installations'])
      await installApp({ installUrl: `${String(app.html_url)}/installations/new`, account: ORGANIZATION })
      return
    }
    case 'mint': {
      await orderFault(appliance, random, ['/app/installations'])
      const ask = async (): Promise<void> => {
        const repositories = REPOSITORIES.filter(() => random.below(2) === 0)
        const permissions = { [random.pick(['issues', 'contents', 'metadata'])]: 'read' }
        const scope = { permissions, ...(repositories.length > 0 && { repositories }) }
        const { status, body } = await call('POST', '/v1/tokens', scope)
        if (status === 200) knowledge.token = String(body['token'])
      }
      for (let times = 0; times < 4; times++) await Promise.all([ask(), ask(), ask()])
      return
    }
    case 'refresh':
      await orderFault(appliance, random, ['/app/installations'])
      await call('POST', '/v1/refresh')
      return
    case 'disable': {
      await orderFault(appliance, random, ['/installation/token', '/app/installations', '/app'])
      delete knowledge.token
      const kind = random.pick(['wait', 'deleted', 'local', 'yes', 'yes', 'yes'])
      knowledge.mayShred = kind === 'local' || kind === 'yes'
      const query = kind === 'local' ? '?local=true' : kind === 'yes' ? '?yes=true' : ''
      await call('DELETE', `/v1/connection${query}`)
      if (kind !== 'deleted') return
      knowledge.isDeleted = true
      await deleteApps(appliance)
      await call('DELETE', '/v1/connection')
      return
    }
    case 'give-up':
      await call('DELETE', '/v1/connection')
      return
    case 'none':
      return
    default:
      phase satisfies never
  }
}

/** The choice of ten that orders none. */
export const NO_FAULT = 9

/** Half of the rounds have a fault: most strike one request, so that what is tried again gets through. */
const orderFault = async (appliance: Appliance, random: Random, paths: readonly string[]): Promise<void> => {
  const path = random.pick(paths)
  const choice = random.below(10)
  const kinds = ['drop-after', 'drop-after', 'drop', 'outage', 'html-503'] as const
  const kind = kinds[choice]
  if (kind !== undefined) await appliance.control('POST', 'faults', { kind, path, count: 1 })
  if (choice === 5 || choice === 0)
    await appliance.control('POST', 'faults', { kind: 'slow', ms: 20 + random.below(200), path })
}

const deleteApps = async ({ control }: Appliance): Promise<void> => {
  const { apps } = await control('GET', 'state')
  if (Array.isArray(apps)) for (const { id } of apps) await control('POST', `apps/${id}/delete`)
}
