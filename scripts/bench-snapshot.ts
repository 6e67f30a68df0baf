// A snapshot of many tokens, beside `tar | age` on the same bytes.

import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { openStore } from '../src/core/store/database.ts'
import { type Appliance, PROFILE } from '../test/support/appliance.ts'
import { INSTALLATIONS, median, quietLog, type Row, tokensOf, TURNS } from './bench-parts.ts'

/**
 * Both are commands that end with a file on the disk: `curl` that asks the running daemon, and `tar | age` over the files that its
 * bundle holds. The daemon reads its tokens, builds, signs, encrypts and reads back meanwhile; the floor only reads and encrypts.
 */
export const benchSnapshot = async (appliance: Appliance, scopes: number): Promise<Row[]> => {
  const { folder, state, runtime } = appliance
  const storeKey = readFileSync(join(folder, 'store.key'))
  const identity = join(folder, 'identity.txt')
  execFileSync('age-keygen', ['-o', identity], { stdio: 'ignore' })
  const recipient = execFileSync('age-keygen', ['-y', identity], { encoding: 'utf8' }).trim()
  appliance.configure(`${PROFILE}\n[snapshot]\nrecipients = ["${recipient}"]\n`)
  await appliance.start()
  await appliance.enable()
  if (scopes > 0) {
    await appliance.kill()
    const store = openStore({ folder: join(state, 'store'), storeKey, log: quietLog })
    void store.tokens.write([...tokensOf({ scopes, installations: INSTALLATIONS, nowMs: Date.now() })])
    store.close()
    await appliance.start()
  }
  const shell = (line: string): number => {
    const beganMs = performance.now()
    execFileSync('sh', ['-ec', line], { cwd: folder })
    return performance.now() - beganMs
  }
  const ask = `curl -sf --unix-socket ${join(runtime, 'admin.sock')} -X POST http://localhost/v1/snapshots -o bundle.tar`
  shell(`${ask}; mkdir files; tar xf bundle.tar; age -d -i ${identity} payload.age | tar x -C files`)
  const ours: number[] = []
  const bare: number[] = []
  for (let turn = 0; turn < TURNS * 3; turn++) {
    bare.push(shell(`tar -C files -cf - . | age -r ${recipient} > floor.age`))
    ours.push(shell(ask))
  }
  await appliance.kill()
  const ratio = median(ours.map((ms, at) => ms / (bare[at] ?? Number.NaN)))
  const size = statSync(join(folder, 'bundle.tar')).size
  return [
    {
      name: `snapshot export, ${scopes} scopes, ${(size / 2 ** 20).toFixed(1)} MB`,
      floor: `${median(bare).toFixed(0)} ms`,
      ours: `${median(ours).toFixed(0)} ms`,
      ratio: ratio.toFixed(2),
      budget: '<= 3',
      within: ratio <= 3,
    },
  ]
}
