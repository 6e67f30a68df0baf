// The restore test: rounds of mint, refresh, export, kill and restore in any order; at the end the credentials that were exported are back.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '../../src/protocol/client.ts'
import { type Appliance, createAppliance } from './appliance.ts'
import { type Random, seeded } from './kill-phases.ts'
import { addRecoveryKey, credentialsIn } from './snapshots.ts'

export type RestoreReport = {
  readonly seed: number
  readonly rounds: number
  readonly seconds: number
  /** How often each thing was done, and how many of these were cut by a kill. */
  readonly done: Readonly<Record<Deed, number>>
  readonly kills: number
  /** Bundles that were exported, and restores that were answered. */
  readonly bundles: number
  readonly restores: number
  /** What did not hold, with its round. */
  readonly broken: readonly string[]
}

export type RestoreOptions = {
  readonly rounds: number
  readonly seed: number
  readonly onRound?: (done: number, broken: readonly string[]) => void
}

const DEEDS = ['mint', 'mint', 'refresh', 'export', 'export', 'restore', 'restore', 'adopt'] as const
type Deed = (typeof DEEDS)[number]

type Bundle = {
  readonly bytes: Buffer
  readonly pems: readonly string[]
  readonly tokens: Readonly<Record<string, string>>
}

const REPOSITORIES = ['web', 'api', 'docs', 'infra']
const MOST_BROKEN = 5
const KEPT = 12
/** A restore takes some 60 ms, an export 20: kills hit both, and what comes after. */
const LONGEST_MS = 150

export const runRestoreRounds = async ({ rounds, seed, onRound }: RestoreOptions): Promise<RestoreReport> => {
  const random = seeded(seed)
  const done: Record<Deed, number> = { mint: 0, refresh: 0, export: 0, restore: 0, adopt: 0 }
  const counts = { kills: 0, bundles: 0, restores: 0 }
  const broken: string[] = []
  const bundles: Bundle[] = []
  const cache = mkdtempSync(join(tmpdir(), 'ghconnect-restore-'))
  const appliance = await createAppliance({ env: { NODE_COMPILE_CACHE: cache }, sandbox: { seed } })
  const beganMs = performance.now()
  try {
    await appliance.start()
    await appliance.kill('SIGTERM')
    await appliance.start()
    await appliance.enable()
    const { file, text } = await addRecoveryKey(appliance)
    const client = createClient(join(appliance.runtime, 'admin.sock'))
    const take = async (bytes: Buffer): Promise<Bundle> => {
      const { kind, pems, tokens } = await credentialsIn(bytes, file)
      hold(kind === 'connected' && pems.length === 1, `a bundle of ${kind} with ${pems.length} keys`)
      return { bytes, pems, tokens }
    }
    const exportBundle = async (): Promise<Bundle> => {
      const bundle = await take(await client.fetchBytes('POST /v1/snapshots', {}))
      bundles.push(bundle)
      if (bundles.length > KEPT) bundles.shift()
      counts.bundles += 1
      return bundle
    }
    const restore = async ({ bytes }: Bundle): Promise<string> => {
      const request = { bundle: bytes.toString('base64'), identity: text }
      const { status, body } = await appliance.call('POST', '/v1/snapshots/restore', request)
      hold(status === 200, `a restore answered ${status} ${JSON.stringify(body)}`)
      counts.restores += 1
      return String(body['outcome'])
    }
    const perform = async (deed: Deed): Promise<void> => {
      if (deed === 'mint') await mint(appliance, random)
      else if (deed === 'refresh') await appliance.call('POST', '/v1/refresh')
      else if (deed === 'adopt') await appliance.call('POST', '/v1/adopt')
      else if (deed === 'export') await exportBundle()
      else await restore(random.pick(bundles))
    }

    const { pems } = await exportBundle()
    for (let round = 1; round <= rounds; round++) {
      const deeds = Array.from({ length: 1 + random.below(3) }, () => random.pick(DEEDS))
      for (const deed of deeds) done[deed] += 1
      const isKilled = random.below(3) > 0
      try {
        const acts = Promise.allSettled(deeds.map(perform))
        if (isKilled) {
          await new Promise(pause => setTimeout(pause, random.next() * LONGEST_MS))
          counts.kills += 1
          await appliance.kill('SIGKILL')
          // Whatever was under way may have failed: what counts is what is there afterwards.
          await acts
          await appliance.start()
        } else {
          for (const act of await acts) if (act.status === 'rejected') throw act.reason
        }
        await inspect(appliance)
        const now = await exportBundle()
        hold(now.pems.join() === pems.join(), 'the private key is another one')
      } catch (error) {
        broken.push(`round ${round}, ${deeds.join(' and ')}${isKilled ? ', killed' : ''}: ${String(error)}`)
        if (broken.length >= MOST_BROKEN) break
      }
      onRound?.(round, broken)
    }
    await proveEnd(appliance, { bundle: random.pick(bundles), restore, exportBundle }).catch((error: unknown) => {
      broken.push(`at the end: ${String(error)}`)
    })
  } finally {
    await appliance.close()
    rmSync(cache, { recursive: true, force: true })
  }
  return { seed, rounds, seconds: Math.round((performance.now() - beganMs) / 1000), done, ...counts, broken }
}

const hold = (claim: boolean, what: string): void => {
  if (!claim) throw new Error(what)
}

const mint = async (appliance: Appliance, random: Random): Promise<void> => {
  for (let times = 0; times < 3; times++) {
    const repositories = REPOSITORIES.filter(() => random.below(2) === 0)
    const permissions = { [random.pick(['issues', 'contents'])]: 'read' }
    await appliance.call('POST', '/v1/tokens', { permissions, ...(repositories.length > 0 && { repositories }) })
  }
}

/** Connected, serving a token that GitHub takes; one store, and the way in by the recovery key beside it. */
const inspect = async (appliance: Appliance): Promise<void> => {
  const { body } = await appliance.call('GET', '/v1/status')
  hold(body['state'] === 'connected', `the state is ${String(body['state'])}: ${String(body['meaning'])}`)
  const answer = await appliance.ask('POST', '/v1/tokens', { repositories: ['web'], permissions: { contents: 'read' } })
  hold(answer.status === 200, `no token is served: ${answer.text}`)
  const used = await fetch(`${appliance.sandbox.apiUrl}/repos/octo-org/web/contents/README.md`, {
    headers: { authorization: `Bearer ${String(answer.body['token'])}` },
  })
  await used.text()
  hold(used.status === 200, `GitHub answers ${used.status} to the token that was served`)
  const store = join(appliance.state, 'store')
  const names = readdirSync(store).toSorted()
  hold(names.length === 2 && names[1] === 'current', `the store folder holds ${names.join(' ')}`)
  for (let tries = 0; !readdirSync(join(store, 'current')).includes('key.age'); tries++) {
    hold(tries < 100, 'the recovery wrap is missing')
    await new Promise(pause => setTimeout(pause, 20))
  }
}

type End = {
  readonly bundle: Bundle
  restore(bundle: Bundle): Promise<string>
  exportBundle(): Promise<Bundle>
}

const proveEnd = async (appliance: Appliance, { bundle, restore, exportBundle }: End): Promise<void> => {
  await restore(bundle)
  const now = await exportBundle()
  hold(now.pems.join() === bundle.pems.join(), 'the private key is not the one that was exported')
  const lost = Object.entries(bundle.tokens).filter(([scope, token]) => now.tokens[scope] !== token)
  // The proof of the restore mints one anew, beside the one that was there.
  hold(
    lost.every(([scope]) => scope.startsWith('next ')),
    `${lost.length} tokens are not those that were exported`,
  )
  hold((await restore(bundle)) === 'unchanged', 'the same bundle once more is a change')
  await appliance.kill('SIGKILL')
  await appliance.start()
  await inspect(appliance)
}
