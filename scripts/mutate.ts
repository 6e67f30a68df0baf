// Plants bugs one by one in a copy of the tree and runs the tests that could notice: the score of each room, and the survivors.

import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Mutant } from '../test/mutants/mutant.ts'
import { PLANTED } from '../test/mutants/planted.ts'
import { mutantIn, plantIn, sourcesOf, testsFor } from '../test/support/mutation.ts'
import { createSeeded, type Seeded } from '../test/support/seeded.ts'

const ROOT = resolve(import.meta.dirname, '..')
/** Between a caller and a token, a key or the disk. */
const TRUSTED = ['protocol', 'service', 'core', 'doctor', 'page']
/** What hangs is noticed. */
const LONGEST_MS = 300_000
const NOT_COPIED = new Set(['node_modules', '.git'])

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    sample: { type: 'string' },
    seed: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '1' },
    operators: { type: 'string', default: '0' },
    quick: { type: 'boolean', default: false },
  },
})
const [jobs, operators, sample] = [values.jobs, values.operators, values.sample ?? '1'].map(Number)
if (!(jobs && jobs >= 1 && jobs <= 64) || operators === undefined || !(operators >= 0) || !(sample && sample >= 1)) {
  console.error('usage: mutate [--only TEXT] [--sample N] [--seed S] [--jobs N] [--operators N] [--quick]')
  process.exit(64)
}
const isEndToEnd = (test: string): boolean => test.startsWith('test/e2e/')

/** Any text is a seed: a number, a date, a commit. */
const seeded = createSeeded([...Buffer.from(values.seed)].reduce((sum, byte) => Math.imul(sum, 31) + byte, 7))

const shuffled = <T>(list: readonly T[], by: Seeded): T[] => {
  const rest = [...list]
  return list.map(() => rest.splice(by.int(rest.length), 1)).flat()
}

const byOperators = (count: number): Mutant[] => {
  const files = sourcesOf(ROOT, TRUSTED).filter(file => file.includes(values.only.split(':')[0] ?? ''))
  const made: Mutant[] = []
  for (let tries = 0; made.length < count && tries < count * 10 && files.length > 0; tries++) {
    const file = seeded.pick(files)
    const mutant = mutantIn(readFileSync(join(ROOT, 'src', file), 'utf8'), file, seeded)
    if (mutant) made.push(mutant)
  }
  return made
}

const listed = PLANTED.filter(({ file, what }) => `${file}: ${what}`.includes(values.only)).filter(
  ({ test, slow }) => !values.quick || (test !== undefined && !slow && !isEndToEnd(join('test', test))),
)
const chosen = values.sample === undefined ? listed : shuffled(listed, seeded).slice(0, sample)
const mutants = [...chosen, ...byOperators(operators)]

type Verdict = { readonly mutant: Mutant; readonly killedBy?: string; readonly seconds: number }

/** Of a mutant's tests the first that fails. Each copy of the tree has one mutant at a time. */
const tryOut = async (copy: string, mutant: Mutant): Promise<Verdict> => {
  const path = join(copy, 'src', mutant.file)
  const text = readFileSync(path, 'utf8')
  const began = performance.now()
  const verdict = (killedBy?: string): Verdict => ({
    mutant,
    ...(killedBy !== undefined && { killedBy }),
    seconds: (performance.now() - began) / 1_000,
  })
  writeFileSync(path, plantIn(text, mutant))
  try {
    for (const test of testsFor(copy, mutant)) {
      if (values.quick && isEndToEnd(test)) continue
      if (!(await passes(copy, test))) return verdict(test)
    }
    return verdict()
  } finally {
    writeFileSync(path, text)
  }
}

const passes = (copy: string, test: string): Promise<boolean> => {
  const { promise, resolve: ended } = Promise.withResolvers<boolean>()
  const ava = join(copy, 'node_modules/ava/entrypoints/cli.js')
  const child = spawn(process.execPath, [ava, '--fail-fast', '--tap', '--timeout=60s', test], {
    cwd: copy,
    stdio: 'ignore',
    timeout: LONGEST_MS,
    killSignal: 'SIGKILL',
  })
  child.once('close', code => ended(code === 0))
  return promise
}

/** A test that fails without a mutant notices nothing. */
const assertSound = async (copy: string): Promise<void> => {
  const tests = new Set(mutants.flatMap(({ test }) => (test === undefined ? [] : [join('test', test)])))
  for (const test of tests)
    if (!(await passes(copy, test))) throw new Error(`${test} fails with no bug planted: it could notice none`)
}

const makeCopy = (): string => {
  const copy = mkdtempSync(join(tmpdir(), 'mutate-'))
  for (const name of readdirSync(ROOT))
    if (!NOT_COPIED.has(name)) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

const verdicts: Verdict[] = []
const waiting = [...mutants]
const work = async (isFirst: boolean): Promise<void> => {
  const copy = makeCopy()
  try {
    if (isFirst && !values.quick) await assertSound(copy)
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const verdict = await tryOut(copy, next)
      verdicts.push(verdict)
      const fate = verdict.killedBy === undefined ? 'LIVES' : `dies of ${verdict.killedBy}`
      console.log(`${fate} (${verdict.seconds.toFixed(1)} s)  ${next.file}: ${next.what}`)
    }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}
await Promise.all(Array.from({ length: jobs }, (_, at) => work(at === 0)))

const score = (list: readonly Verdict[]): string => {
  const killed = list.filter(({ killedBy }) => killedBy !== undefined).length
  return `${killed} of ${list.length} (${Math.round((100 * killed) / list.length)} %)`
}
const survivors = verdicts.filter(({ killedBy }) => killedBy === undefined)
const rooms = Map.groupBy(verdicts, ({ mutant }) => dirname(mutant.file))
console.log(`\nseed ${values.seed}`)
for (const [room, list] of [...rooms].toSorted(([a], [b]) => (a < b ? -1 : 1))) console.log(`${room}: ${score(list)}`)
console.log(`all: ${score(verdicts)}`)
for (const { mutant } of survivors) console.log(`  lives: ${mutant.file}: ${mutant.what}`)
process.exitCode = survivors.length > 0 ? 1 : 0
