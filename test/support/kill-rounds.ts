// The kill test: rounds of work, kill -9 at a random moment, restart and inspection, on one appliance.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAppliance } from './appliance.ts'
import { inspect } from './kill-checks.ts'
import { type Knowledge, NO_FAULT, perform, type Phase, phasesOf, type Random, seeded } from './kill-phases.ts'

export type KillReport = {
  readonly seed: number
  readonly rounds: number
  readonly seconds: number
  /** Kills by what was going on; `idle`: it had ended before. */
  readonly kills: Readonly<Record<string, number>>
  /** States after the restarts. */
  readonly states: Readonly<Record<string, number>>
  /** What did not hold, with its round. */
  readonly broken: readonly string[]
}

export type KillOptions = {
  readonly rounds: number
  readonly seed: number
  readonly onRound?: (done: number, broken: readonly string[]) => void
}

/** The longest that a kill waits: this, or twice what a whole enable takes where all is slow. */
const LONGEST_MS = 400
/** Three kills of four come before the usual end of their phase, or this much later: short ones are hit, too. */
const BEYOND = 1.1

export const runKillRounds = async ({ rounds, seed, onRound }: KillOptions): Promise<KillReport> => {
  const random = seeded(seed)
  const knowledge: Knowledge = { mayShred: false, isDeleted: false }
  const kills: Record<string, number> = {}
  const states: Record<string, number> = {}
  const broken: string[] = []
  const usual = new Map<Phase, number>()
  const cache = mkdtempSync(join(tmpdir(), 'ghconnect-kill-'))
  const appliance = await createAppliance({ env: { NODE_COMPILE_CACHE: cache }, sandbox: { seed } })
  const began = performance.now()
  try {
    // The cache is written at a clean end only: without it each start takes twice as long.
    await appliance.start()
    await appliance.kill('SIGTERM')
    await appliance.start()
    await inspect(appliance, knowledge)
    // One that nothing disturbs shows how fast this machine is.
    const calm: Random = { ...random, below: () => NO_FAULT }
    const beganCalm = performance.now()
    await perform('enable', { appliance, knowledge, random: calm })
    const longestMs = Math.max(LONGEST_MS, 2 * (performance.now() - beganCalm))
    let state = await inspect(appliance, knowledge)
    for (let round = 1; round <= rounds; round++) {
      const phase = random.pick(phasesOf(state, knowledge))
      const aimMs = random.below(4) > 0 ? (usual.get(phase) ?? longestMs) * BEYOND : longestMs
      const delayMs = random.next() * Math.min(longestMs, aimMs)
      const startedMs = performance.now()
      let isOver = false
      let isKilled = false
      const act = perform(phase, { appliance, knowledge, random })
        // Whatever was under way may fail when the daemon dies: what counts is what is there afterwards.
        .catch(() => undefined)
        .finally(() => {
          isOver = true
          if (isKilled) return
          const took = performance.now() - startedMs
          usual.set(phase, 0.7 * (usual.get(phase) ?? took) + 0.3 * took)
        })
      await new Promise(pause => setTimeout(pause, delayMs))
      isKilled = true
      const during = isOver ? 'idle' : phase
      kills[during] = (kills[during] ?? 0) + 1
      await appliance.kill('SIGKILL')
      await act
      await appliance.control('DELETE', 'faults')
      try {
        await appliance.start()
        state = await inspect(appliance, knowledge)
        states[state] = (states[state] ?? 0) + 1
      } catch (error) {
        broken.push(`round ${round}, ${during} of ${phase} after ${delayMs.toFixed(1)} ms: ${messageOf(error)}`)
        if (broken.length >= MOST_BROKEN) break
        state = await stateOf(appliance)
        delete knowledge.fingerprint
        delete knowledge.token
      }
      onRound?.(round, broken)
    }
  } finally {
    await appliance.close()
    rmSync(cache, { recursive: true, force: true })
  }
  const seconds = Math.round((performance.now() - began) / 1000)
  return { seed, rounds, seconds, kills, states, broken }
}

const MOST_BROKEN = 5

const stateOf = async (appliance: Awaited<ReturnType<typeof createAppliance>>): Promise<string> =>
  String((await appliance.call('GET', '/v1/status')).body['state'])

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
