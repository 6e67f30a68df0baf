// Export, as a backup program runs it: whatever the daemon is doing, and whoever asks.

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { type Appliance, createAppliance } from '../support/appliance.ts'
import { NOBODY } from '../support/probes.ts'
import { addRecoveryKey, connected, credentialsIn, exportFrom, on, run } from '../support/snapshots.ts'
import { openStoreFile } from '../support/store-file.ts'

const EXPORT = 'snapshot export'
/** What backup programs count, and nothing else. */
const LINES = /^((Fatal|Warning): .+\n)*$/

const stored = async (appliance: Appliance, identityFile: string) =>
  credentialsIn(await exportFrom(appliance), identityFile)

test.serial(
  'the same credentials leave while the daemon runs, hangs, is busy, and is stopped; none of them in clear',
  async t => {
    const appliance = await connected()
    t.teardown(() => appliance.close())
    const { file, text } = await addRecoveryKey(appliance)
    t.regex(text, /^# created: .*\n# public key: age1\w{58}\n(#.*\n)+AGE-SECRET-KEY-1\w{58}\n$/)
    const { pems, tokens } = await stored(appliance, file)
    t.is(pems.length, 1)
    const [token = ''] = Object.values(tokens)

    appliance.signal('SIGSTOP')
    const beganMs = performance.now()
    const hung = await on(appliance)(EXPORT)
    t.true(performance.now() - beganMs < 15_000)
    appliance.signal('SIGCONT')
    t.is(hung.code, 0, hung.stderr)
    t.regex(hung.stderr, LINES)
    t.deepEqual((await credentialsIn(hung.stdout, file)).pems, pems)

    const busy = Array.from({ length: 40 }, (_, at) =>
      appliance.call('POST', '/v1/tokens', {
        repositories: ['web', 'api', 'docs', 'infra'].slice(0, 1 + (at % 4)),
        min_ttl_seconds: at,
      }),
    )
    const exports = await Promise.all([on(appliance)(EXPORT), on(appliance)(EXPORT)])
    await Promise.all(busy)
    for (const { code, stdout, stderr } of exports) {
      t.is(code, 0, stderr)
      t.is(stderr, '')
      t.false(stdout.includes('PRIVATE KEY') || stdout.includes('ghs_') || stdout.includes(token))
      t.deepEqual((await credentialsIn(stdout, file)).pems, pems)
    }

    const before = await stored(appliance, file)
    await appliance.kill()
    const stopped = await on(appliance)(EXPORT)
    t.is(stopped.code, 0, stopped.stderr)
    t.regex(stopped.stderr, /^Warning: .*not in the audit log\.\n$/)
    t.deepEqual(await credentialsIn(stopped.stdout, file), before)
    await appliance.start()
    await appliance.kill('SIGKILL')
    t.deepEqual(await stored(appliance, file), before)
  },
)

test.serial("Debian's tar and age open a bundle: the private key comes out in PEM", async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  const { file } = await addRecoveryKey(appliance)
  const bundle = join(appliance.folder, 'bundle.tar')
  const written = await on(appliance)(`${EXPORT} --output ${bundle}`)
  t.is(written.code, 0, written.stderr)
  t.is(written.stdout.length, 0)
  t.is(statSync(bundle).mode & 0o777, 0o600)
  const folder = join(appliance.folder, 'opened')
  mkdirSync(folder)
  execFileSync('sh', ['-ec', `tar xf '${bundle}' && age -d -i '${file}' payload.age | tar x`], { cwd: folder })
  const pem = readFileSync(join(folder, 'private-key-1.pem'), 'utf8')
  t.deepEqual((await stored(appliance, file)).pems, [pem])
  execFileSync('openssl', ['pkey', '-in', join(folder, 'private-key-1.pem'), '-check', '-noout'])

  const inspected = await on(appliance)(`snapshot inspect ${bundle} --json`)
  t.like(JSON.parse(inspected.stdout.toString()), {
    format: 1,
    state: 'connected',
    sealed: true,
    account: { login: 'octo-org' },
  })
  const verified = await on(appliance)(`snapshot verify ${bundle} --identity ${file} --against-github --json`)
  t.is(verified.code, 0, verified.stderr)
  t.like(JSON.parse(verified.stdout.toString()), { github: 'appliance-test', installations: ['octo-org'] })
  t.is((await on(appliance)(`snapshot verify ${bundle}`)).code, 78, 'sealed, and no identity')
})

test.serial(
  'where nothing was ever connected there is a bundle that says so; a store that cannot be told from none is no success',
  async t => {
    const appliance = await createAppliance()
    t.teardown(() => appliance.close())
    const nothing = await on(appliance)(EXPORT)
    t.is(nothing.code, 0, nothing.stderr)
    t.is((await credentialsIn(nothing.stdout)).kind, 'disconnected')
    t.false(lstatSync(appliance.state, { throwIfNoEntry: false })?.isDirectory() ?? false, 'it left no state folder')

    await appliance.start()
    await appliance.enable()
    await appliance.kill()
    rmSync(join(appliance.state, 'store', 'current'))
    const lost = await on(appliance)(EXPORT)
    t.is(lost.code, 69, lost.stderr)
    t.is(lost.stdout.length, 0)
    t.regex(lost.stderr, /^Fatal: .*\nFatal: What to do: .*\n$/)

    await appliance.start()
    await appliance.kill()
    const key = join(appliance.folder, 'store.key')
    const bytes = readFileSync(key)
    writeFileSync(key, Buffer.alloc(32, 1))
    t.is((await on(appliance)(EXPORT)).code, 78, 'another store key')
    writeFileSync(key, bytes)
    t.is((await on(appliance)(EXPORT)).code, 0)
  },
)

test.serial('a daemon that is locked does not keep root from a backup', async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  const { file } = await addRecoveryKey(appliance)
  const before = await stored(appliance, file)
  await appliance.kill()
  const key = join(appliance.folder, 'store.key')
  chmodSync(key, 0o644)
  await appliance.start()
  t.is((await appliance.call('GET', '/v1/status')).body['state'], 'locked')
  chmodSync(key, 0o600)
  t.deepEqual((await stored(appliance, file)).pems, before.pems)
})

test.serial('a bundle in clear leaves to root alone, and warns', async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  const clear = await on(appliance)(EXPORT)
  t.is(clear.code, 0)
  t.regex(clear.stderr, /^Warning: The bundle is not encrypted.*\n$/)
  chmodSync(appliance.folder, 0o755)
  chmodSync(appliance.configFile, 0o644)
  chmodSync(join(appliance.runtime, 'admin.sock'), 0o666)
  for (const state of ['running', 'stopped']) {
    const refused = await on(appliance)(EXPORT, { uid: NOBODY })
    t.is(refused.code, 77, `${state}: ${refused.stderr}`)
    t.is(refused.stdout.length, 0)
    t.regex(refused.stderr, /^(Fatal: .*\n){2}$/)
    await appliance.kill()
  }
})

test.serial(
  'the configuration is in a bundle where it is wanted, is shown and never applied; not one with a password',
  async t => {
    const appliance = await connected()
    const other = await createAppliance()
    t.teardown(() => appliance.close())
    t.teardown(() => other.close())
    const text = readFileSync(appliance.configFile, 'utf8')
    t.false((await exportFrom(appliance)).includes('actions-sync'))
    writeFileSync(appliance.configFile, `# \u202eactions-sync\n${text}`)
    const bundle = join(appliance.folder, 'bundle.tar')
    for (const state of ['running', 'stopped']) {
      const written = await on(appliance)(`${EXPORT} --with-config --output ${bundle}`)
      t.is(written.code, 0, `${state}: ${written.stderr}`)
      const shown = `Configuration in the bundle, not applied: ${appliance.configFile}\n  # \\u202eactions-sync\n`
      const [first = ''] = text.split('\n')
      for (const command of [`snapshot inspect ${bundle}`, `snapshot verify ${bundle}`]) {
        const { stdout } = await on(appliance)(command)
        t.true(stdout.includes(`${shown}  ${first}\n`), `${command}: ${stdout.toString()}`)
      }
      await appliance.kill()
    }
    const before = readFileSync(other.configFile)
    const restored = await on(other)(`snapshot restore --json --force --input ${bundle}`)
    t.is(restored.code, 0, restored.stderr)
    t.like(JSON.parse(restored.stdout.toString()), {
      configuration: [{ path: appliance.configFile, text: readFileSync(appliance.configFile, 'utf8') }],
    })
    t.deepEqual(readFileSync(other.configFile), before)

    await appliance.start()
    writeFileSync(appliance.configFile, `${text}\n# url = "http://user:hunter2@proxy"\n`)
    for (const state of ['running', 'stopped']) {
      const refused = await on(appliance)(`${EXPORT} --with-config`)
      t.is(refused.code, 78, `${state}: ${refused.stderr}`)
      t.is(refused.stdout.length, 0)
      t.true(
        refused.stderr.includes(`${appliance.configFile}:${text.split('\n').length + 1} has a password`),
        refused.stderr,
      )
      t.notRegex(`${refused.stderr}${appliance.log()}`, /hunter2/)
      await appliance.kill()
    }
  },
)

test.serial('root leaves nothing of its own in the state folder', async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  const { file } = await addRecoveryKey(appliance)
  const before = await exportFrom(appliance)
  await appliance.kill('SIGKILL')
  execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, appliance.state])
  chmodSync(appliance.folder, 0o711)
  chmodSync(appliance.configFile, 0o644)
  chownSync(join(appliance.folder, 'store.key'), NOBODY, NOBODY)
  const owners = (): number[] =>
    readdirSync(appliance.state, { recursive: true, encoding: 'utf8' }).map(
      name => lstatSync(join(appliance.state, name)).uid,
    )
  t.is((await on(appliance)(EXPORT)).code, 0)
  t.deepEqual([...new Set(owners())], [NOBODY])
  const restored = await on(appliance)(`snapshot restore --identity ${file}`, { input: before })
  t.is(restored.code, 0, restored.stderr)
  t.deepEqual([...new Set(owners())], [NOBODY])
  t.is((await on(appliance)('disable --local --yes')).code, 0)
  t.deepEqual([...new Set(owners())], [NOBODY])
  t.is((await credentialsIn(await exportFrom(appliance), file)).kind, 'disconnected')
})

test.serial('what cannot be written is no success, and no code that means a soft failure', async t => {
  const appliance = await createAppliance()
  t.teardown(() => appliance.close())
  const config = ['--config', appliance.configFile]
  const full = await run([...EXPORT.split(' '), '--output', join(appliance.folder, 'none', 'x.tar'), ...config])
  t.is(full.code, 69, full.stderr)
  t.regex(full.stderr, LINES)
  t.regex(full.stderr, /--output \S+x\.tar: cannot be replaced: ENOENT.* must own \S+none/)
  const device = await run([...EXPORT.split(' '), '--output', '/dev/null', ...config])
  t.is(device.code, 64)
  t.true(statSync('/dev/null').isCharacterDevice())
  const line = `'${process.execPath}' src/ghconnect.ts ${EXPORT} --config '${appliance.configFile}' >/dev/full; echo $?`
  t.is(execFileSync('sh', ['-c', line], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim(), '69')
  t.is((await on(appliance)('snapshot inspect /nonexistent')).code, 64)
  t.is((await on(appliance)('snapshot exprt')).code, 64)
  t.regex((await on(appliance)('snapshot export --no-such')).stderr, /^(Fatal: .*\n){2}$/)
})

test.serial('the database key is printed for root, and opens the store', async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  await appliance.kill()
  const { code, stdout, stderr } = await on(appliance)('store-key')
  t.is(code, 0, stderr)
  t.regex(stderr, /^Warning: /)
  const db = join(appliance.state, 'store', 'current', 'store.db')
  const database = openStoreFile(db, stdout.toString().trim())
  t.is(database.prepare('SELECT count(*) FROM keys').pluck().get(), 1)
  database.close()
  chmodSync(appliance.folder, 0o755)
  chmodSync(appliance.configFile, 0o644)
  t.is((await on(appliance)('store-key', { uid: NOBODY })).code, 77)
})

test.serial(
  'a new store key: refused beside a daemon, and afterwards everything opens with it, by a recovery key too',
  async t => {
    const appliance = await connected()
    t.teardown(() => appliance.close())
    const { file } = await addRecoveryKey(appliance)
    const key = join(appliance.folder, 'store.key')
    const former = readFileSync(key)
    const pid = appliance.pid()
    const refused = await on(appliance)('store-key rotate')
    t.is(refused.code, 69)
    t.true(refused.stderr.includes(`process ${pid}`), refused.stderr)
    t.deepEqual(readFileSync(key), former)
    await appliance.kill()
    const rotated = await on(appliance)('store-key rotate')
    t.is(rotated.code, 0, rotated.stderr)
    t.is(rotated.stdout.toString(), `A new store key is in ${key}; the old one was overwritten.\n`)
    t.notDeepEqual(readFileSync(key), former)
    await appliance.start()
    t.is((await appliance.call('GET', '/v1/status')).body['state'], 'connected')
    t.is((await appliance.call('GET', '/v1/audit/verdict')).status, 200)
    await appliance.kill()
    writeFileSync(key, former)
    t.is((await on(appliance)(EXPORT)).code, 78, 'the old key opens nothing')
    rmSync(key)
    const unlocked = await on(appliance)(`unlock --identity ${file}`)
    t.is(unlocked.code, 0, unlocked.stderr)
  },
)

test.serial('the debug bundle is for its owner alone and has no secret in it, with the daemon and without', async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  const { text } = await addRecoveryKey(appliance)
  const { pems, tokens } = await credentialsIn(await exportFrom(appliance), join(appliance.folder, 'recovery.txt'))
  const link = (await on(appliance)('ui')).stdout.toString().trim()
  const secrets = [
    ...pems.flatMap(pem => pem.trim().split('\n').slice(1, 3)),
    ...Object.values(tokens),
    ...(text.match(/^AGE-SECRET.*$/m) ?? []),
    /[0-9a-f]{32}/.exec(link)?.[0] ?? 'no link',
    readFileSync(join(appliance.folder, 'store.key')).toString('hex'),
  ]
  const file = join(appliance.folder, 'debug.tar.gz')
  for (const state of ['connected', 'daemon-absent']) {
    const made = await on(appliance)(`debug bundle --output ${file}`)
    t.is(made.code, 0, made.stderr)
    t.is(statSync(file).mode & 0o777, 0o600)
    const content = execFileSync('tar', ['xzOf', file], { encoding: 'utf8', maxBuffer: 2 ** 26 })
    for (const part of [state, '"verdict"', '"openssl"', '"free_bytes"', '[[profiles]]'])
      t.true(content.includes(part), part)
    for (const secret of secrets) t.false(content.includes(secret), secret)
    await appliance.kill()
  }
})
