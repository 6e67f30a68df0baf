// The doctor over what runs: the store as it is open, or why it is not; the cluster, or that there is none; and when nothing may be asked.

import { writeFileSync } from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import type { Engine } from '../../src/core/engine.ts'
import { createProbe } from '../../src/core/probe.ts'
import { createDoctor } from '../../src/doctor/doctor.ts'
import type { Connection } from '../../src/protocol/connection.ts'
import { Failure } from '../../src/protocol/errors.ts'
import type { Passage } from '../../src/protocol/passage.ts'
import type { CheckRow } from '../../src/protocol/wire-check.ts'
import { STORE_KEY } from './store/samples.ts'
import { engineStateOf } from '../support/engine-state-rig.ts'
import { type createPlace, LIVE_HERE, OTHER_KEY } from '../support/place.ts'

const doctorOf = (
  t: ExecutionContext,
  more: Partial<Parameters<typeof createProbe>[0]> = {},
  options: Parameters<typeof createPlace>[1] = {},
) => {
  const rig = engineStateOf(t, options)
  rig.keep({ connection: LIVE_HERE })
  rig.engineState.open()
  const asked: string[] = []
  const probe = createProbe({
    config: rig.current,
    refused: () => undefined,
    doubts: () => [],
    env: rig.env,
    outbound: {
      async examine({ url, userAgent }) {
        asked.push(`${url} ${userAgent}`)
        throw new Failure('dns', 'no such host')
      },
    },
    clock: rig.clock,
    standing: rig.engineState.standing,
    engine: rig.engineState.engine,
    ...more,
  })
  const doctor = createDoctor(probe)
  const check = async (): Promise<(layer: CheckRow['layer']) => CheckRow | undefined> => {
    const { rows } = await doctor.check()
    return layer => rows.find(row => row.layer === layer)
  }
  return { ...rig, doctor, check, asked }
}
/** The engine as it is open, with another connection in its store. */
const holding = (engine: Engine, connection: Connection): Engine => {
  const { store } = engine
  const read = () => ({ ...store.connection.read(), connection })
  return { ...engine, store: { ...store, connection: { ...store.connection, read } } }
}

test('an open store is read page by page, and its key is tried as the next start would', async t => {
  const { check, engineState, key } = doctorOf(t)
  t.like((await check())('store'), { verdict: 'ok', evidence: 'Each page is whole, and the store key opens it.' })
  writeFileSync(key, OTHER_KEY)
  t.like((await check())('store'), { verdict: 'failed', code: 'wrong-store-key' })
  writeFileSync(key, 'short')
  t.like((await check())('store'), { verdict: 'failed', code: 'locked' })
  writeFileSync(key, STORE_KEY)
  Object.assign(engineState.engine().store, {
    check() {
      throw new Failure('store-corrupt', 'a page is damaged')
    },
  })
  t.like((await check())('store'), { verdict: 'failed', code: 'store-corrupt' })
})

test('a store that is closed says why, and nothing of it is told', async t => {
  const { check, asked } = doctorOf(t, {
    engine() {
      throw new Failure('wrong-store-key', 'sealed with another key')
    },
  })
  const row = await check()
  t.like(row('store'), { verdict: 'failed', code: 'wrong-store-key' })
  for (const layer of ['recovery-key', 'backup', 'cluster'] as const)
    t.like(row(layer), { verdict: 'skipped', evidence: 'Not asked: the store is closed.' }, layer)
  t.is(row('key')?.verdict, 'skipped')
  t.true(asked.length > 0, 'the way out is looked at all the same')
})

test('the configuration tells its file, its profiles and what is doubtful in it', async t => {
  let refused: string | undefined
  const profile = '[[profiles]]\nname = "first"\nallow = { units = ["nosuch-unit.service"] }\n'
  const { check, configFile } = doctorOf(
    t,
    { refused: () => refused, doubts: () => [{ said: 'NO_PROXY: not used', next: 'Correct it.' }] },
    { toml: profile },
  )
  t.like((await check())('configuration'), { verdict: 'warning', next: 'Correct it.' })
  t.regex(
    (await check())('configuration')?.evidence ?? '',
    new RegExp(`^${configFile}: 1 profile\\. NO_PROXY: not used`),
  )
  refused = 'c:1: colour'
  t.regex((await check())('configuration')?.evidence ?? '', /as the file was refused: c:1: colour/)
})

test('of a single node there is no cluster, and what fails otherwise is told', async t => {
  t.is((await doctorOf(t).check())('cluster')?.verdict, 'skipped')
  const { check, engineState } = doctorOf(t)
  Object.assign(engineState.engine(), { cluster: () => Promise.reject(new Failure('cluster-unreachable', 'no etcd')) })
  t.like((await check())('cluster'), { verdict: 'failed', code: 'cluster-unreachable' })
})

test('no call leaves a node that is mute, or whose credentials are quarantined', async t => {
  let mute: Failure | undefined = new Failure('isolated', 'cut off since noon')
  const { check, asked, engineState } = doctorOf(t, { engine: () => opened() })
  let opened = (): Engine => ({ ...engineState.engine(), whyNotCalling: () => mute })
  t.like((await check())('dns'), {
    verdict: 'skipped',
    evidence: `Not asked: ${mute.entry.title}: cut off since noon.`,
  })
  mute = undefined
  opened = () => holding(engineState.engine(), { ...LIVE_HERE, kind: 'quarantined', evidence: 'moved' })
  t.regex((await check())('dns')?.evidence ?? '', /the credentials are quarantined, and no call goes out/)
  t.deepEqual(asked, [])
})

const THROUGH: Passage = {
  host: 'api.github.com',
  isTls: true,
  proxy: undefined,
  tookMs: 1,
  answer: { status: 200, requestId: 'A:1', sentAtMs: 1, receivedAtMs: 2, isWhole: true },
  tls: { issuer: 'CN=CA', root: { name: 'CA', kind: 'public', validToMs: 9e15 }, tookMs: 1 },
}
const KINDS: readonly (readonly [Connection, RegExp])[] = [
  [{ kind: 'disconnected', sinceMs: 1 }, /no App is stored/],
  [
    {
      kind: 'awaiting-app',
      sinceMs: 1,
      account: LIVE_HERE.account,
      state: 'x',
      expiresAtMs: 2,
    },
    /no App is stored/,
  ],
  [{ kind: 'key-lost', sinceMs: 1, account: LIVE_HERE.account, evidence: 'x' }, /no App is stored/],
  [{ ...LIVE_HERE, kind: 'disconnecting', step: 'revoke', deadlineMs: 2 }, /a disable is under way/],
]
test('without an App to ask as, the rows of GitHub say why', async t => {
  const { check, engineState } = doctorOf(t, {
    outbound: { examine: async () => THROUGH },
    engine: () => holding(engineState.engine(), held),
  })
  let held: Connection = LIVE_HERE
  for (const [connection, why] of KINDS) {
    held = connection
    t.regex((await check())('key')?.evidence ?? '', why, connection.kind)
  }
})
