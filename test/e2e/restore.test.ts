// Restore, as a backup program runs it: onto a new root, over what stands there, on a clone, and when something is wrong.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Appliance, PROFILE } from '../support/appliance.ts'
import { requestCount, requestsSince } from '../support/probes.ts'
import {
  addRecoveryKey,
  connected,
  createMachine,
  credentialsIn,
  exportFrom,
  type Machine,
  on,
  OTHER_MACHINE,
} from '../support/snapshots.ts'

const WEB = { repositories: ['web'], permissions: { contents: 'read' } }

type Scene = { original: Appliance; bundle: Buffer; identity: string; token: string }

const createScene = async (t: ExecutionContext): Promise<Scene> => {
  const original = await connected()
  t.teardown(() => original.close())
  const { file } = await addRecoveryKey(original)
  const { body } = await original.ask('POST', '/v1/tokens', WEB)
  return { original, bundle: await exportFrom(original), identity: file, token: String(body['token']) }
}

const machineFor = async (
  t: ExecutionContext,
  { original }: Scene,
  options?: Parameters<typeof createMachine>[1],
): Promise<Machine> => {
  const machine = await createMachine(original, options)
  t.teardown(() => machine.close())
  return machine
}

const statusOf = async (appliance: Appliance): Promise<Record<string, unknown>> =>
  (await appliance.call('GET', '/v1/status')).body

/** A fresh token was minted at once, without anybody asking. */
const untilProven = async (appliance: Appliance): Promise<void> => {
  for (let tries = 0; tries < 200; tries++) {
    const { tokens } = await statusOf(appliance)
    if (typeof tokens === 'object' && tokens !== null && 'last_minted_at' in tokens) return
    await new Promise(pause => setTimeout(pause, 25))
  }
  throw new Error(`no token was minted:\n${appliance.log()}`)
}

for (const daemon of ['stopped', 'running'] as const) {
  test.serial(`a new root gets the same key and the same tokens, its daemon ${daemon}`, async t => {
    const scene = await createScene(t)
    const machine = await machineFor(t, scene)
    await scene.original.kill()
    if (daemon === 'running') await machine.start()
    const restore = `snapshot restore --identity ${scene.identity}`
    const { code, stdout, stderr } = await on(machine)(restore, { input: scene.bundle })
    t.is(code, 0, stderr)
    t.regex(stderr, /^Warning: The bundle was written by ghconnect-signer:\S+ for App \d+ of octo-org; .*\n$/)
    t.regex(stdout.toString(), /^The credentials were restored\.\nConnected to octo-org/)
    const number = readlinkSync(join(machine.state, 'store', 'current'))
    t.true(
      readdirSync(join(machine.state, 'store', number)).includes('key.age'),
      'the recovery key opens this store, too',
    )
    if (daemon === 'stopped') await machine.start()
    await untilProven(machine)
    t.is((await statusOf(machine))['state'], 'connected')
    t.is((await machine.ask('POST', '/v1/tokens', WEB)).body['token'], scene.token)
    const [was, is] = await Promise.all([
      credentialsIn(scene.bundle, scene.identity),
      credentialsIn(await exportFrom(machine), scene.identity),
    ])
    t.deepEqual(is.pems, was.pems)
    // What was asked for; the proof has minted another token for the daemon itself.
    const asked = Object.entries(was.tokens).filter(([scope]) => scope.includes('"test"'))
    t.is(asked.length, 1)
    t.like(is.tokens, Object.fromEntries(asked))
    t.is(is.generation, was.generation + 1)

    const again = await on(machine)(`${restore} --json`, { input: scene.bundle })
    t.like(JSON.parse(again.stdout.toString()), { outcome: 'unchanged', state: 'connected' })
    t.is((await statusOf(machine))['generation'], is.generation)
    const twoAtOnce = await Promise.all(
      [1, 2].map(() => on(machine)(`${restore} --force --yes`, { input: scene.bundle })),
    )
    t.deepEqual(
      twoAtOnce.map(({ code: both }) => both),
      [0, 0],
    )
    t.deepEqual((await credentialsIn(await exportFrom(machine), scene.identity)).pems, was.pems)
  })
}

test.serial('a bundle of an older generation is taken, and said; its generation goes on top', async t => {
  const scene = await createScene(t)
  await scene.original.call('POST', '/v1/adopt')
  await scene.original.call('POST', '/v1/adopt')
  const { generation } = await statusOf(scene.original)
  const { code, stderr } = await on(scene.original)(`snapshot restore --identity ${scene.identity}`, {
    input: scene.bundle,
  })
  t.is(code, 0, stderr)
  t.regex(stderr, /^Warning: The bundle is of generation 1, older than 3 which stood here\.\n$/m)
  t.is((await statusOf(scene.original))['generation'], Number(generation) + 1)
})

test.serial(
  'a clone is quarantined: no call goes out, nothing is served, and its reset does not touch the App',
  async t => {
    const scene = await createScene(t)
    const clone = await machineFor(t, scene, OTHER_MACHINE)
    await scene.original.call('POST', '/v1/adopt')
    const later = await exportFrom(scene.original)
    await scene.original.kill()
    const before = await requestCount(scene.original)
    const restored = await on(clone, clone.env)(`snapshot restore --identity ${scene.identity}`, {
      input: scene.bundle,
    })
    t.is(restored.code, 0, restored.stderr)
    t.regex(
      restored.stderr,
      /^Warning: These credentials were enabled on appliance\.test, restored on elsewhere\.test: .*quarantined/m,
    )
    await clone.start()
    t.is((await statusOf(clone))['state'], 'quarantined')
    t.is((await clone.ask('POST', '/v1/tokens', WEB)).status, 503, 'not even what is cached')
    t.is((await clone.call('POST', '/v1/refresh')).status, 503)
    await clone.kill()
    await clone.start()
    // Another copy may take its place: nobody is served by a quarantined one.
    t.is((await on(clone)(`snapshot restore --identity ${scene.identity}`, { input: later })).code, 0)
    t.is((await on(clone)('disable --yes --no-wait')).code, 0)
    t.is((await statusOf(clone))['state'], 'disconnected')
    t.deepEqual(await requestsSince(scene.original, before), [], 'the sandbox saw nothing of all that')

    const restoredAgain = await on(clone)(`snapshot restore --identity ${scene.identity}`, { input: scene.bundle })
    t.is(restoredAgain.code, 0, restoredAgain.stderr)
    await clone.kill()
    t.is((await on(clone, clone.env)('adopt')).code, 0, 'without a daemon')
    await clone.start()
    await untilProven(clone)
    t.is((await statusOf(clone))['state'], 'connected')
    t.is((await clone.ask('POST', '/v1/tokens', WEB)).status, 200)
  },
)

test.serial('a machine that kept its hostname or its machine-id goes on, with a warning', async t => {
  const scene = await createScene(t)
  for (const mark of [{ hostname: OTHER_MACHINE.hostname }, { machineId: OTHER_MACHINE.machineId }]) {
    const machine = await machineFor(t, scene, mark)
    const { code, stderr } = await on(machine, machine.env)(`snapshot restore --identity ${scene.identity}`, {
      input: scene.bundle,
    })
    t.is(code, 0)
    t.regex(stderr, /^Warning: .*one mark in common/m)
    await machine.start()
    await machine.until('connected')
    await machine.kill()
  }
})

test.serial(
  'nothing changes for a bundle that is cut, flipped, forged, too new, or not for this identity; the exit code says which',
  async t => {
    const scene = await createScene(t)
    const { original, bundle, identity } = scene
    const other = join(original.folder, 'other.txt')
    execFileSync('age-keygen', ['-o', other], { stdio: 'ignore' })
    const flipped = (at: number): Buffer => {
      const copy = Buffer.from(bundle)
      copy[at] = (copy[at] ?? 0) ^ 1
      return copy
    }
    const header = bundle.indexOf('"format":1')
    const newer = Buffer.from(bundle)
    newer.write('"format":9', header)
    // Of another App on the same GitHub: what is refused is its signer.
    const stranger = await createMachine(original, { hostname: 'stranger.test' })
    t.teardown(() => stranger.close())
    await stranger.start()
    await stranger.enable()
    const forged = (await on(stranger)('snapshot export')).stdout
    const cases: [string, Buffer, string, number][] = [
      ['empty', Buffer.alloc(0), identity, 65],
      ['a header only', bundle.subarray(0, 1024), identity, 65],
      ['half', bundle.subarray(0, bundle.length / 2), identity, 65],
      ['all but its end', bundle.subarray(0, -512), identity, 65],
      ['flipped in the header', flipped(600), identity, 65],
      ['flipped in the signature', flipped(bundle.indexOf('signature') + 520), identity, 65],
      ['flipped in the payload', flipped(bundle.length - 3000), identity, 65],
      ['no bundle', Buffer.from('{}'), identity, 65],
      ['too new', newer, identity, 78],
      ['another identity', bundle, other, 78],
      ['an identity file that is none', bundle, original.configFile, 65],
      ['a stranger over a live connection', forged, identity, 78],
    ]
    const before = await statusOf(original)
    for (const [name, bytes, file, code] of cases) {
      const ran = await on(original)(`snapshot restore --identity ${file}`, { input: bytes })
      t.is(ran.code, code, `${name}: ${ran.stderr}`)
      t.regex(ran.stderr, /^((Fatal|Warning): .+\n)+$/, name)
      t.notRegex(ran.stderr, /AGE-SECRET-KEY-1[0-9A-Z]|PRIVATE KEY/, name)
    }
    const { generation, keys } = await statusOf(original)
    t.deepEqual({ generation, keys }, { generation: before['generation'], keys: before['keys'] })
    t.is((await original.ask('POST', '/v1/tokens', WEB)).body['token'], scene.token)

    const forced = await on(original)('snapshot restore --force --yes', { input: forged })
    t.is(forced.code, 0, forced.stderr)
    t.notDeepEqual((await statusOf(original))['keys'], keys)
    const { signer } = JSON.parse(
      (await on(original)('snapshot inspect - --json', { input: bundle })).stdout.toString(),
    )
    stranger.configure(`${PROFILE}\n[snapshot]\ntrusted = ["${signer}"]\n`)
    await stranger.kill()
    const trusted = await on(stranger)(`snapshot restore --identity ${identity}`, { input: bundle })
    t.is(trusted.code, 0, trusted.stderr)
    const another = /^Warning: The credentials were enabled on appliance\.test; [^\n]+\n$/
    t.regex(trusted.stderr, another, 'the name of the machine is cause for a warning, a trusted signer is not')
  },
)

test.serial(
  'a sealed bundle without its identity waits for unlock, is backed up meanwhile, and goes with a reset',
  async t => {
    const scene = await createScene(t)
    const machine = await machineFor(t, scene)
    const verified = await on(machine)('snapshot restore --verify-only', { input: scene.bundle })
    t.is(verified.code, 0)
    t.regex(verified.stderr, /^Warning: The bundle is sealed/)
    for (const daemon of ['stopped', 'running']) {
      const kept = await on(machine)('snapshot restore --json', { input: scene.bundle })
      t.is(kept.code, 0, kept.stderr)
      t.regex(
        kept.stderr,
        /^Warning: The bundle is sealed; complete the restore with `ghconnect unlock --identity FILE`\.\n$/m,
      )
      t.like(JSON.parse(kept.stdout.toString()), { outcome: 'awaiting-unlock', state: 'awaiting-unlock' })
      t.deepEqual(await exportFrom(machine), scene.bundle, 'a backup of this machine is the bundle itself')
      t.is((await on(machine)('disable --local --yes')).code, 0)
      t.is((await credentialsIn(await exportFrom(machine), scene.identity)).kind, 'disconnected')
      await on(machine)('snapshot restore', { input: scene.bundle })
      if (daemon === 'stopped') await machine.start()
      t.is((await statusOf(machine))['state'], 'awaiting-unlock')
      t.is((await machine.ask('POST', '/v1/tokens', WEB)).status, 503)
      const wrong = join(machine.folder, `${daemon}.txt`)
      execFileSync('age-keygen', ['-o', wrong], { stdio: 'ignore' })
      t.is((await on(machine)(`unlock --identity ${wrong}`)).code, 78)
      if (daemon === 'stopped') await on(machine)('disable --local --yes')
    }
    const unlocked = await on(machine)(`unlock --identity ${scene.identity}`)
    t.is(unlocked.code, 0, unlocked.stderr)
    t.regex(unlocked.stdout.toString(), /^Connected to octo-org/)
    await untilProven(machine)
    t.is((await machine.ask('POST', '/v1/tokens', WEB)).body['token'], scene.token)
    t.is((await on(machine)(`unlock --identity ${scene.identity}`)).code, 65, 'nothing waits any more')
  },
)

for (const daemon of ['stopped', 'running'] as const) {
  test.serial(
    `where the store key is gone, the recovery key opens the store and gives it a new one, the daemon ${daemon}`,
    async t => {
      const { original, identity, bundle } = await createScene(t)
      await original.kill()
      const key = join(original.folder, 'store.key')
      const lost = readFileSync(key)
      rmSync(key)
      if (daemon === 'running') {
        await original.start()
        t.is((await statusOf(original))['state'], 'locked')
        t.is((await on(original)('snapshot export')).code, 69)
      }
      const { code, stdout, stderr } = await on(original)(`unlock --identity ${identity}`)
      t.is(code, 0, stderr)
      t.regex(stderr, /^Warning: made a new store key: .*store\.key\n$/)
      t.regex(stdout.toString(), /^Connected to octo-org/)
      t.notDeepEqual(readFileSync(key), lost)
      if (daemon === 'stopped') await original.start()
      t.is((await original.ask('POST', '/v1/tokens', WEB)).status, 200)
      await original.kill()
      await original.start()
      const was = await credentialsIn(bundle, identity)
      t.deepEqual((await credentialsIn(await exportFrom(original), identity)).pems, was.pems)
      const number = readlinkSync(join(original.state, 'store', 'current'))
      t.true(readdirSync(join(original.state, 'store', number)).includes('key.age'))
    },
  )
}

for (const daemon of ['stopped', 'running'] as const) {
  test.serial(
    `over a store that is damaged a restore needs force, and sets it aside, the daemon ${daemon}`,
    async t => {
      const { original, identity, bundle } = await createScene(t)
      await original.kill()
      const number = readlinkSync(join(original.state, 'store', 'current'))
      const db = join(original.state, 'store', number, 'store.db')
      const bytes = readFileSync(db)
      bytes.fill(0, 100, 8000)
      writeFileSync(db, bytes)
      rmSync(`${db}-wal`, { force: true })
      if (daemon === 'running') await original.start()
      const restore = `snapshot restore --identity ${identity}`
      const refused = await on(original)(restore, { input: bundle })
      t.is(refused.code, 78, refused.stderr)
      t.deepEqual(readFileSync(db), bytes)
      t.is(
        (await on(original)('snapshot restore --force --yes', { input: bundle })).code,
        78,
        'sealed, and nothing to keep it in',
      )
      const { code, stderr } = await on(original)(`${restore} --force --yes`, { input: bundle })
      t.is(code, 0, stderr)
      const aside = readdirSync(original.state).filter(name => /^store\.aside-\d{8}T\d{6}Z$/.test(name))
      t.is(aside.length, 1)
      t.deepEqual(readFileSync(join(original.state, aside[0] ?? '', number, 'store.db')), bytes)
      if (daemon === 'stopped') await original.start()
      await original.until('connected')
      t.is((await original.ask('POST', '/v1/tokens', WEB)).status, 200)
    },
  )
}

test.serial('a daemon that hangs keeps its store: a restore ends with 69 and names it', async t => {
  const { original, identity, bundle } = await createScene(t)
  original.signal('SIGSTOP')
  const { code, stderr } = await on(original)(`snapshot restore --identity ${identity}`, { input: bundle })
  original.signal('SIGCONT')
  t.is(code, 69, stderr)
  t.regex(stderr, new RegExp(`^Fatal: .*process ${original.pid()} `))
})

test.serial('a snapshot of a disable under way restores, goes on with it, and never on a clone', async t => {
  const scene = await createScene(t)
  await scene.original.control('POST', 'faults', { kind: 'outage' })
  await scene.original.call('DELETE', '/v1/connection')
  const bundle = await exportFrom(scene.original)
  t.is((await credentialsIn(bundle, scene.identity)).kind, 'disconnecting')
  await scene.original.control('DELETE', 'faults')
  await scene.original.kill('SIGKILL')

  const clone = await machineFor(t, scene, OTHER_MACHINE)
  const before = await requestCount(scene.original)
  t.is((await on(clone, clone.env)(`snapshot restore --identity ${scene.identity}`, { input: bundle })).code, 0)
  await clone.start()
  t.is((await statusOf(clone))['state'], 'quarantined')
  t.deepEqual(await requestsSince(scene.original, before), [])

  const heir = await machineFor(t, scene)
  const { code, stderr } = await on(heir)(`snapshot restore --identity ${scene.identity}`, { input: bundle })
  t.is(code, 0, stderr)
  t.regex(stderr, /^Warning: The connection was being disabled when the snapshot was taken; that goes on\.$/m)
  await heir.start()
  await heir.until('disconnecting')
  t.is((await on(heir)('disable --yes --no-wait')).code, 0)
  t.is((await statusOf(heir))['state'], 'disconnected')
})
