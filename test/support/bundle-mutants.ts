// Every byte of a bundle flipped and every truncation: through the reader, and through a live daemon that restarts now and then.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { asFailure } from '../../src/protocol/errors.ts'
import type { Secret } from '../../src/protocol/secret.ts'
import { openBundle } from '../../src/core/snapshot/bundle.ts'
import { createRecoveryKey } from '../../src/core/snapshot/encryption.ts'
import { type Appliance, createAppliance } from './appliance.ts'
import { exportFrom } from './snapshots.ts'
import { callUnix } from './unix-http.ts'

const MASKS = [0x01, 0x20, 0xff]

export type Mutant = { readonly name: string; readonly bytes: Uint8Array }

/** One of `every`, from the first on. */
export function* mutantsOf(bundle: Uint8Array, every = 1): Generator<Mutant, void> {
  const each = MASKS.length + 1
  for (let i = 0; i < bundle.length * each; i += every) {
    const [at, kind] = [Math.floor(i / each), i % each]
    const mask = MASKS[kind]
    if (mask === undefined) {
      yield { name: `cut to ${at} bytes`, bytes: bundle.subarray(0, at) }
      continue
    }
    const bytes = Uint8Array.from(bundle)
    bytes[at] = (bytes[at] ?? 0) ^ mask
    yield { name: `byte ${at} ^ ${mask}`, bytes }
  }
}

/** What became of them: how many, by problem, and whatever should not have been. */
export type Tally = { count: number; readonly refused: Map<string, number>; readonly wrong: string[] }

const createTally = (): Tally => ({ count: 0, refused: new Map(), wrong: [] })

/** `invalid-request`: of no bytes at all. */
const REFUSALS = new Set(['bundle-corrupt', 'bundle-newer', 'bundle-wrong-identity', 'invalid-request'])

const note = (tally: Tally, { name }: Mutant, outcome: string): void => {
  tally.count += 1
  if (REFUSALS.has(outcome)) tally.refused.set(outcome, (tally.refused.get(outcome) ?? 0) + 1)
  else tally.wrong.push(`${name}: ${outcome}`)
}

export const readMutants = async (mutants: Iterable<Mutant>, identities: readonly Secret[]): Promise<Tally> => {
  const tally = createTally()
  for (const mutant of mutants) {
    const outcome = await openBundle(mutant.bytes, identities).then(
      () => 'accepted',
      error => asFailure(error).code,
    )
    note(tally, mutant, outcome)
  }
  return tally
}

export type Victim = {
  readonly appliance: Appliance
  readonly clear: Uint8Array
  readonly sealed: Uint8Array
  readonly identity: Secret
  close(): Promise<void>
}

/** Connected, with a bundle from before there was a recovery key, and one from after. */
export const createVictim = async (): Promise<Victim> => {
  const appliance = await createAppliance()
  await appliance.start()
  await appliance.enable()
  const clear = await exportFrom(appliance)
  const { recipient, identity } = await createRecoveryKey()
  const { status } = await appliance.call('POST', '/v1/recovery-keys', { recipient })
  if (status !== 200) throw new Error(`recovery key: ${status}`)
  return { appliance, clear, sealed: await exportFrom(appliance), identity, close: appliance.close }
}

const AT_ONCE = 8

/**
 * Each is restored with `force`. After every few of them the generation, which only rises, and the store folder are looked at; after one in
 * `restartEvery`, and after one that was accepted, the daemon restarts for real.
 */
export const restoreMutants = async (
  { appliance, identity }: Victim,
  {
    mutants,
    restartEvery,
    onProgress = () => {},
  }: {
    mutants: Iterable<Mutant>
    restartEvery: number
    onProgress?: (count: number) => void
  },
): Promise<Tally & { readonly restarts: number }> => {
  const tally = createTally()
  let restarts = 0
  let agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const socket = join(appliance.runtime, 'admin.sock')
  const whole = async (): Promise<string> => {
    const { body } = await appliance.call('GET', '/v1/status')
    return JSON.stringify([body['state'], body['generation'], ...storeFolder(appliance.state)])
  }
  const before = await whole()
  const pid = appliance.pid()

  const restore = async (mutant: Mutant): Promise<boolean> => {
    const bundle = Buffer.from(mutant.bytes).toString('base64')
    const body = { bundle, identity: identity.reveal(), force: true }
    try {
      const answer = await callUnix(socket, { method: 'POST', path: '/v1/snapshots/restore', body, agent })
      const outcome =
        answer.status < 300 ? 'accepted' : String(answer.body['type']).replace('urn:ghconnect:problem:', '')
      note(tally, mutant, outcome)
      return outcome === 'accepted'
    } catch (error) {
      note(tally, mutant, `no answer: ${String(error)}`)
      return false
    }
  }
  const restart = async (): Promise<void> => {
    agent.destroy()
    agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
    const code = await appliance.kill()
    if (code !== 0) tally.wrong.push(`the daemon ended with ${code}`)
    await appliance.start()
    await appliance.until('connected')
    restarts += 1
  }

  let batch: Mutant[] = []
  const runBatch = async (): Promise<void> => {
    const accepted = await Promise.all(batch.map(restore))
    const now = await whole()
    if (now !== before) tally.wrong.push(`after ${batch.at(-1)?.name}: ${now} in place of ${before}`)
    const due = Math.floor(tally.count / restartEvery) > Math.floor((tally.count - batch.length) / restartEvery)
    if (due || accepted.includes(true)) await restart()
    onProgress(tally.count)
    batch = []
  }
  for (const mutant of mutants) {
    if (batch.push(mutant) >= Math.min(AT_ONCE, restartEvery)) await runBatch()
  }
  if (batch.length > 0) await runBatch()
  agent.destroy()
  if (restarts === 0 && appliance.pid() !== pid) tally.wrong.push('the daemon is another process')
  return { ...tally, restarts }
}

/** Names, and the bytes of what never changes while a store is current. */
const storeFolder = (state: string): string[] => {
  const folder = join(state, 'store')
  const current = readlinkSync(join(folder, 'current'))
  const key = readFileSync(join(folder, current, 'key'))
  return [
    ...readdirSync(state).filter(name => name === 'waiting.bundle'),
    ...readdirSync(folder),
    current,
    createHash('sha256').update(key).digest('hex'),
  ].toSorted()
}
