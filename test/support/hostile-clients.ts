// One hostile process: `node hostile-clients.ts SEED TARGET`, then attacks by name on standard input, a line each, as
// `{"attack":NAME,"seconds":N}`. Prints a tally for each; every attack is bounded in time, and it ends with its standard input.

import { createInterface } from 'node:readline'
import { attack, isAttack } from './hostile-attacks.ts'
import { createWire, type Target } from './hostile-wire.ts'
import { createSeeded } from './seeded.ts'

const [seed = '0', text = '{}'] = process.argv.slice(2)
const target: Target = JSON.parse(text)
const random = createSeeded(Number(seed))

const end = new AbortController()
const lines = createInterface({ input: process.stdin })
lines.once('close', () => end.abort())
process.stdout.write('started\n')
for await (const line of lines) {
  const { attack: name, seconds }: { attack: string; seconds: number } = JSON.parse(line)
  if (!isAttack(name)) throw new Error(`no attack is called ${name}`)
  const over = AbortSignal.any([end.signal, AbortSignal.timeout(seconds * 1_000)])
  const wire = createWire(target, random, over)
  await attack(name, wire, seconds)
  process.stdout.write(`${JSON.stringify(wire.tally)}\n`)
}
