// A kill before each single change that a first start or a replacement makes to the file system.

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openStore } from '../../../src/core/store/database.ts'
import { CONNECTED, keyNamed, makeState, silentLog, STORE_KEY } from './samples.ts'

const open = (state: string) => openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })

/** Whether it was killed; otherwise it came to its end, since it has fewer steps than that. */
const killedBefore = (step: number, options: { state: string; what: 'begin' | 'replace' | 'rotate' }): boolean => {
  const args = [join(import.meta.dirname, 'steps.child.ts'), options.state, options.what, String(step)]
  const { signal, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  if (signal !== 'SIGKILL' && stdout !== 'done') throw new Error(stderr)
  return signal === 'SIGKILL'
}

test('a first start that is killed before any of its steps is finished by the next start', t => {
  let steps = 0
  for (let killed = true; killed; ) {
    const state = makeState(t)
    killed = killedBefore(steps + 1, { state, what: 'begin' })
    const store = open(state)
    t.is(store.connection.read().connection.kind, 'disconnected', `step ${steps + 1}`)
    t.deepEqual(readdirSync(join(state, 'store')).toSorted(), ['1', 'current'])
    store.close()
    const audit = openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
    t.is(audit.append({ event: 'first', atMs: 1 }).sequence, 1)
    audit.close()
    rmSync(state, { recursive: true })
    if (killed) steps += 1
  }
  t.true(steps > 9, `${steps} steps were seen`)
})

test('a replacement that is killed before any of its steps leaves the old store or the new one, whole', t => {
  const origin = makeState(t)
  const first = open(origin)
  first.connection.write({ connection: CONNECTED, keys: [keyNamed('old')], newGeneration: true })
  first.close()
  const seen: string[] = []
  for (let killed = true; killed; ) {
    const state = makeState(t)
    cpSync(origin, state, { recursive: true, verbatimSymlinks: true })
    killed = killedBefore(seen.length + 1, { state, what: 'replace' })
    const store = open(state)
    const { connection, generation, keys } = store.connection.read()
    const held = `${keys[0]?.fingerprint} ${generation} in ${store.number()}`
    t.deepEqual(connection, CONNECTED)
    t.true(['old 1 in 1', 'new 2 in 2'].includes(held), held)
    t.deepEqual(readdirSync(join(state, 'store')).toSorted(), [String(store.number()), 'current'])
    store.close()
    rmSync(state, { recursive: true })
    seen.push(held)
  }
  t.is(seen.at(-1), 'new 2 in 2')
  // There is one moment before which it is the old one, and after which the new one.
  t.deepEqual(seen, seen.toSorted().toReversed())
  t.true(seen.length > 9, `${seen.length} steps were seen`)
})

test('a new store key that is killed before any of its steps leaves a key in place that opens everything; the next try ends it', t => {
  const origin = makeState(t)
  const first = open(origin)
  first.connection.write({ connection: CONNECTED, keys: [keyNamed('a')], newGeneration: true })
  first.putRecoveryWrap(Buffer.from('the recovery copy'))
  first.close()
  openAudit({ path: join(origin, 'audit.db'), storeKey: STORE_KEY, log: silentLog }).close()
  const seen: string[] = []
  for (let killed = true; killed; ) {
    const folder = makeState(t)
    const state = join(folder, 'state')
    cpSync(origin, state, { recursive: true, verbatimSymlinks: true })
    writeFileSync(join(folder, 'store.key'), STORE_KEY, { mode: 0o600 })
    const formerWrap = readFileSync(join(state, 'store', '1', 'key'))
    killed = killedBefore(seen.length + 1, { state, what: 'rotate' })
    const openAll = (): 'old' | 'new' => {
      const storeKey = readFileSync(join(folder, 'store.key'))
      const store = openStore({ folder: join(state, 'store'), storeKey, log: silentLog })
      t.deepEqual(store.connection.read().connection, CONNECTED)
      store.close()
      openAudit({ path: join(state, 'audit.db'), storeKey, log: silentLog }).close()
      return storeKey.equals(STORE_KEY) ? 'old' : 'new'
    }
    seen.push(openAll())
    t.deepEqual(readdirSync(join(state, 'store', '1')).toSorted(), ['key', 'key.age', 'store.db'])
    t.false(killedBefore(1_000_000, { state, what: 'rotate' }))
    t.is(openAll(), 'new')
    t.deepEqual(readdirSync(folder).toSorted(), ['state', 'store.key'], 'nothing of the old key is left')
    t.deepEqual(
      readdirSync(state).filter(name => name.startsWith('audit.key')),
      ['audit.key'],
    )
    t.notDeepEqual(readFileSync(join(state, 'store', '1', 'key')), formerWrap)
    t.is(readFileSync(join(state, 'store', '1', 'key.age'), 'utf8'), 'the recovery copy')
    rmSync(folder, { recursive: true })
    mkdirSync(folder)
  }
  t.is(seen.at(-1), 'new')
  t.deepEqual(seen, seen.toSorted().toReversed(), 'one moment parts them')
  t.true(seen.length > 9, `${seen.length} steps were seen`)
})
