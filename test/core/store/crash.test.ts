// kill -9 at random moments: the store always opens, with what was acknowledged last, and leaves nothing behind.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openStore } from '../../../src/core/store/database.ts'
import { makeState, PEM, randomFrom, silentLog, STORE_KEY } from './samples.ts'

const SEED = 46
const ROUNDS = 15

/** The moment of a kill: so long after so many lines of the writer. How fast it writes is the disk's affair. */
type Moment = { readonly lines: number; readonly delayMs: number }

/** Runs the writer, kills it at this moment, and returns all that it said. */
const killedWriter = async (state: string, { lines, delayMs }: Moment): Promise<string> => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'crash.child.ts'), state], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const said = text(child.stdout)
  const exited = once(child, 'exit')
  const reached = Promise.withResolvers<void>()
  let count = 0
  child.stdout.on('data', (chunk: Buffer) => {
    count += chunk.toString().split('\n').length - 1
    if (count >= lines) reached.resolve()
  })
  if (lines > 0) await Promise.race([reached.promise, exited])
  await delay(delayMs)
  child.kill('SIGKILL')
  const [code, signal] = await exited
  if (signal !== 'SIGKILL') throw new Error(`the writer ended by itself with ${code}`)
  return said
}

const lastOf = (said: string, what: string): number | undefined =>
  said
    .split('\n')
    .filter(line => line.startsWith(`${what} `))
    .map(line => Number(line.slice(what.length)))
    .at(-1)

test(`after kill -9 the store holds what was acknowledged (seed ${SEED}, ${ROUNDS} rounds)`, async t => {
  const state = makeState(t)
  const random = randomFrom(SEED)
  const acknowledged = { connection: 0, token: 0, audit: 0 }
  for (let round = 1; round <= ROUNDS; round++) {
    const fromBirth = round % 5 === 1
    const lines = fromBirth ? 0 : 1 + Math.floor(random() * 30)
    const delayMs = random() * (fromBirth ? 500 : 10)
    const said = await killedWriter(state, { lines, delayMs })
    acknowledged.connection = lastOf(said, 'connection') ?? acknowledged.connection
    acknowledged.token = lastOf(said, 'token') ?? acknowledged.token
    acknowledged.audit = lastOf(said, 'audit') ?? acknowledged.audit

    const store = openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })
    const { keys, generation } = store.connection.read()
    const written = Number(keys[0]?.fingerprint.slice('key '.length) ?? 0)
    const what = `round ${round}, ${delayMs.toFixed(1)} ms after ${lines} lines`
    t.true(written === acknowledged.connection || written === acknowledged.connection + 1, `${what}: connection`)
    t.true(keys.every(({ pem }) => pem.reveal() === PEM))
    t.true(generation >= written, `${what}: generation`)
    // A replaced store begins without tokens.
    const [token] = store.tokens.all()
    const wanted = [acknowledged.token, acknowledged.token + 1].map(i => `token ${i}`)
    t.true(token === undefined ? written % 4 === 0 : wanted.includes(token.token.reveal()), `${what}: token`)
    t.deepEqual(readdirSync(join(state, 'store')).toSorted(), [String(store.number()), 'current'].toSorted(), what)
    store.close()

    const audit = openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
    const last = audit.list({ after: audit.head().sequence - 1, limit: 1 })[0]?.atMs ?? 0
    t.is(audit.verify().rows, audit.head().sequence)
    t.true(last === acknowledged.audit || last === acknowledged.audit + 1, `${what}: audit`)
    audit.close()
    Object.assign(acknowledged, { connection: written, audit: last })
  }
  t.true(acknowledged.connection > ROUNDS, `only ${acknowledged.connection} writes were seen`)
})
