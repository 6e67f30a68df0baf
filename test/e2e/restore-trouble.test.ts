// Snapshots where the machine itself is in the way: a disk that fills up midway, and a store key that only systemd's seal gives.

import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { CLI } from '../support/appliance.ts'
import { addRecoveryKey, connected, createMachine, credentialsIn, exportFrom, on } from '../support/snapshots.ts'

/** Fills the disk but for a few pages, restores, and looks at what is there with space again. */
const FULL = `
mount -t tmpfs -o size=1m tmpfs "$STATE"
$RUN snapshot restore --identity "$IDENTITY" --input "$FIRST" >/dev/null 2>&1; echo first $?
for free in 0 4 16 48 80 112 160; do
  dd if=/dev/zero of="$STATE/filler" bs=1k count=2000 2>/dev/null || true
  truncate -s -"$free"K "$STATE/filler"
  $RUN snapshot restore --identity "$IDENTITY" --input "$SECOND" --force --yes >/dev/null 2>"$STATE.err"; code=$?
  rm "$STATE/filler"
  $RUN snapshot export --output "$STATE.$free.tar" 2>/dev/null; echo "$free $code $?"
done
ls "$STATE/store"
`

test.serial('a disk that fills up midway leaves the old credentials, whole', async t => {
  const original = await connected()
  t.teardown(() => original.close())
  const { file } = await addRecoveryKey(original)
  const first = join(original.folder, 'first.tar')
  writeFileSync(first, await exportFrom(original))
  const second = join(original.folder, 'second.tar')
  await original.call('POST', '/v1/adopt')
  writeFileSync(second, await exportFrom(original))
  await original.kill()
  const machine = await createMachine(original)
  t.teardown(() => machine.close())
  mkdirSync(machine.state, { mode: 0o700 })
  const namespaces = process.getuid?.() === 0 ? ['--mount'] : ['--mount', '--map-root-user']
  const { stdout } = await promisify(execFile)('unshare', [...namespaces, 'bash', '-c', FULL], {
    env: {
      ...process.env,
      STATE: machine.state,
      RUN: `${process.execPath} ${CLI} --config ${machine.configFile}`,
      IDENTITY: file,
      FIRST: first,
      SECOND: second,
    },
  })
  const lines = stdout.trim().split('\n')
  t.is(lines.shift(), 'first 0')
  const { pems } = await credentialsIn(readFileSync(first), file)
  let refused = 0
  for (const line of lines.splice(0, 7)) {
    const [free, restored, exported] = line.split(' ').map(Number)
    t.is(exported, 0, line)
    const now = await credentialsIn(readFileSync(`${machine.state}.${free}.tar`), file)
    t.deepEqual(now.pems, pems)
    t.is(now.kind, 'connected')
    if (restored === 0) continue
    t.is(restored, 69, line)
    refused += 1
  }
  t.true(refused >= 2, stdout)
  t.is(lines.filter(name => /^\d+$/.test(name)).length, 1, 'and no other store is left')
})

test.serial(
  'without the daemon root has the store key as systemd would give it, and seals a new one where that one is lost',
  async t => {
    const original = await connected()
    t.teardown(() => original.close())
    const { file } = await addRecoveryKey(original)
    const before = await credentialsIn(await exportFrom(original), file)
    await original.kill()
    const key = join(original.folder, 'store.key')
    const folder = join(original.folder, 'credentials')
    mkdirSync(folder, { mode: 0o700 })
    const sealed = join(folder, 'store.key')
    // Sealed to nothing, so that the test touches no secret of this machine; the name is bound all the same.
    execFileSync('systemd-creds', ['encrypt', '--with-key=tpm2-absent', '--name=store.key', key, sealed], {
      stdio: 'ignore',
    })
    rmSync(key)
    const config = readFileSync(original.configFile, 'utf8').replace(/^key_file.*$/m, '')
    writeFileSync(original.configFile, config)
    const env = { GHCONNECT_SEALED_STORE_KEY: sealed }
    const exported = await on(original, env)('snapshot export')
    t.is(exported.code, 0, exported.stderr)
    t.deepEqual((await credentialsIn(exported.stdout, file)).pems, before.pems)
    t.is((await on(original)('snapshot export')).code, 69, 'and nowhere else')

    writeFileSync(sealed, 'sealed to another machine')
    const lost = await on(original, env)('snapshot export')
    t.is(lost.code, 69)
    t.regex(lost.stderr, /^Fatal: .*cannot be opened on this machine/)
    t.true(existsSync(sealed))
    t.deepEqual(readdirSync(folder), ['store.key'])

    const sealing = { ...env, GHCONNECTD_SEAL_WITH: 'tpm2-absent' }
    const stranger = join(original.folder, 'stranger.txt')
    execFileSync('age-keygen', ['-o', stranger], { stdio: 'ignore' })
    t.is((await on(original, sealing)(`unlock --identity ${stranger}`)).code, 78)
    t.deepEqual(readdirSync(folder), ['store.key'], 'no key is made for a recovery key of another store')
    const unlocked = await on(original, sealing)(`unlock --identity ${file}`)
    t.is(unlocked.code, 0, unlocked.stderr)
    t.regex(unlocked.stderr, /^Warning: sealed a new store key in \S+\n$/m)
    t.regex(unlocked.stdout.toString(), /^Connected to octo-org/)
    const [kept, aside = ''] = readdirSync(folder).toSorted()
    t.is(kept, 'store.key')
    t.is(readFileSync(join(folder, aside), 'utf8'), 'sealed to another machine', 'what was there is kept')
    const again = await on(original, env)('snapshot export')
    t.is(again.code, 0, again.stderr)
    t.deepEqual((await credentialsIn(again.stdout, file)).pems, before.pems)
  },
)
