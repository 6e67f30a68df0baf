// The adversary: hostile processes of several users and units, one attack after another, and a table of what each of them reached.

import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { ATTACKS, type AttackName, isAttack } from '../test/support/hostile-attacks.ts'
import { createBesieged, laySiege, MINTS, type Outcome } from '../test/support/hostile.ts'

const MAX_RSS_MB = 250
const MAX_P99_RATIO = 5
const MAX_NEW_SCOPE_MS = 2_000
const WATCHDOG_MS = 10_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
})
const seconds = Number(values.seconds)
const seed = Number(values.seed)
const unknown = positionals.filter(name => !isAttack(name))
if (!(seconds > 0 && seconds <= 600) || !Number.isInteger(seed) || unknown.length > 0) {
  console.error(`usage: hostile [--seconds 1..600] [--seed N] [ATTACK...]; attacks: ${Object.keys(ATTACKS).join(', ')}`)
  process.exit(64)
}
const chosen: AttackName[] = positionals.filter(isAttack)
const names = chosen.length > 0 ? chosen : Object.keys(ATTACKS).filter(isAttack)

/** What is beyond a bound, in words; empty where all is well. */
const faultsOf = (outcome: Outcome): string[] => {
  const { alone, among, quota } = outcome
  const allowed = MINTS.burst + (MINTS.perMinute * outcome.elapsedSeconds) / 60
  return [
    ...(outcome.samePid ? [] : ['the daemon ended']),
    ...(outcome.heartbeatMs < WATCHDOG_MS ? [] : ['the watchdog would have stopped it']),
    ...(outcome.peakRssMb <= MAX_RSS_MB ? [] : [`RSS ${outcome.peakRssMb.toFixed(0)} MB`]),
    ...(among.p99Ms <= MAX_P99_RATIO * alone.p99Ms ? [] : [`p99 ${(among.p99Ms / alone.p99Ms).toFixed(1)} times`]),
    ...(among.newScopeMs <= MAX_NEW_SCOPE_MS ? [] : [`new scope ${among.newScopeMs.toFixed(0)} ms`]),
    ...(Math.max(quota.read, quota.write) <= allowed ? [] : [`quota ${Math.max(quota.read, quota.write)}`]),
    ...(among.wrong.length === 0
      ? []
      : [`${among.wrong.length} wrong answers, first: ${among.wrong[0]?.slice(0, 200)}`]),
    ...(outcome.internal.length === 0 ? [] : [`internal: ${outcome.internal[0]?.slice(0, 300)}`]),
  ]
}

const HEAD =
  'attack | same pid | heartbeat ms | peak RSS MB | p50 alone/among ms | p99 alone/among ms | times | new scope ms | quota (two holders) | log lines | answers'

const rowOf = (name: string, outcome: Outcome): string => {
  const { alone, among, quota, tally } = outcome
  const two = (key: 'p50Ms' | 'p99Ms'): string => `${alone[key].toFixed(2)} / ${among[key].toFixed(2)}`
  const answers = Object.entries(tally)
    .map(([what, count]) => `${what} ${count}`)
    .join(', ')
  const cells = [
    name,
    outcome.samePid ? 'yes' : 'NO',
    outcome.heartbeatMs.toFixed(0),
    outcome.peakRssMb.toFixed(0),
    two('p50Ms'),
    two('p99Ms'),
    (among.p99Ms / alone.p99Ms).toFixed(1),
    among.newScopeMs.toFixed(0),
    `${quota.read} + ${quota.write}`,
    outcome.logLines,
    answers,
  ]
  return `| ${cells.join(' | ')} |`
}

/** Attacks one daemon until it ends or no attack is left; what is left when it ended. */
const siegeOne = async (left: readonly AttackName[], faults: string[]): Promise<readonly AttackName[]> => {
  const appliance = await createBesieged()
  try {
    execFileSync('taskset', ['-cp', '0', String(appliance.pid())], { stdio: 'ignore' })
    const siege = await laySiege(appliance, seed)
    try {
      for (const [at, name] of left.entries()) {
        const outcome = await siege.run(name, seconds)
        console.log(rowOf(name, outcome))
        faults.push(...faultsOf(outcome).map(fault => `${name}: ${fault}`))
        if (outcome.samePid) continue
        console.log(`The daemon ended:\n${appliance.log().slice(-1_500)}`)
        return left.slice(at + 1)
      }
      return []
    } finally {
      await siege.close()
    }
  } finally {
    await appliance.close()
  }
}

// The event loop and the caller have core 0. All else is on the other one, as a scheduler that nothing binds would place it: the attackers,
// GitHub, and the threads of the engine's collector.
execFileSync('taskset', ['-acp', '1', String(process.pid)], { stdio: 'ignore' })

console.log(`seed ${seed}, ${seconds} s each\n| ${HEAD} |\n|${' --- |'.repeat(HEAD.split('|').length)}`)
const faults: string[] = []
let left: readonly AttackName[] = names
while (left.length > 0) left = await siegeOne(left, faults)
console.log(faults.length === 0 ? 'Every bound held.' : `Beyond a bound:\n${faults.join('\n')}`)
process.exitCode = faults.length === 0 ? 0 : 1
