// The hooks for GitHub Enterprise Server Backup Utilities, run by programs that behave as those do: snapshots, and each row of the restore matrix.

import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type Appliance, PROFILE } from '../support/appliance.ts'
import {
  createConnected,
  createRecoveryKey,
  createSuccessor,
  credentialsOf,
  readBundle,
} from '../support/backup-utils/credentials.ts'
import { ROWS } from '../support/backup-utils/matrix.ts'
import { createSite, HOOKS, type Host, type Outcome, type Site } from '../support/backup-utils/site.ts'
import { ghconnect, requestCount } from '../support/probes.ts'

const BUNDLE = 'github-connect.tar'

type Scene = { site: Site; original: Appliance; host: Host }

const withSnapshot = async (work: (scene: Scene) => Promise<void>, toml = PROFILE): Promise<void> => {
  const original = await createConnected(toml)
  const site = createSite()
  try {
    await work({ site, original, host: site.addHost('ghe', original) })
  } finally {
    site.close()
    await original.close()
  }
}

/** A machine to restore to, with the appliance on it. */
const withTarget = async (
  { site, original }: Scene,
  options: { configured?: boolean; elsewhere?: boolean; toml?: string; running?: boolean },
  work: (target: Appliance, host: Host) => Promise<void>,
): Promise<void> => {
  const target = await createSuccessor(original, options)
  try {
    if (options.running !== false) await target.start()
    await work(target, site.addHost(`target-${target.pid()}`, target, options))
  } finally {
    await target.close()
  }
}

const nameOf = (host: Host): string => host.root.split('/').at(-1) ?? ''
const snapshots = (site: Site): string[] => readdirSync(site.data).filter(name => /^\d{8}T\d{6}$/.test(name))
const isIncomplete = (site: Site, snapshot: string): boolean => existsSync(join(site.data, snapshot, 'incomplete'))

test.serial('a snapshot of a live appliance holds its credentials, closed to others', async t => {
  await withSnapshot(async ({ site, original, host }) => {
    const outcome = await site.backup('ghe')
    t.is(outcome.code, 0, outcome.stderr)
    const [snapshot = ''] = snapshots(site)
    t.false(isIncomplete(site, snapshot))
    t.is(readlinkSync(join(site.data, 'current')), snapshot)
    const file = join(site.data, snapshot, BUNDLE)
    t.is(statSync(file).mode & 0o777, 0o600)
    t.deepEqual(readdirSync(join(site.data, snapshot)).toSorted(), [
      BUNDLE,
      'redis',
      'repositories',
      'secrets',
      'settings.json',
      'strategy',
    ])
    const { state, credentials } = readBundle(file)
    t.is(state, 'connected')
    t.deepEqual(credentials, (await credentialsOf(original)).credentials)
    t.is(credentials.pems.length, 1)
    t.true(host.commands().includes('ghe-export-github-connect'))
    t.regex(outcome.stderr, /^Warning: .*(clear|recovery)/m, 'a bundle in clear is warned of')
  })
})

test.serial('a snapshot is taken of a daemon that hangs, and of one that is stopped', async t => {
  await withSnapshot(async ({ site, original }) => {
    const before = await credentialsOf(original)
    for (const [step, signal] of [
      ['hung', 'SIGSTOP'],
      ['stopped', 'SIGKILL'],
    ] as const) {
      if (step === 'hung') original.signal(signal)
      else await original.kill(signal)
      const outcome = await site.backup('ghe', { GHE_SNAPSHOT_TIMESTAMP: `2026010${step === 'hung' ? 1 : 2}T000000` })
      t.is(outcome.code, 0, `${step}: ${outcome.stderr}`)
      t.deepEqual(readBundle(join(site.data, 'current', BUNDLE)).credentials, before.credentials, step)
    }
  })
})

test.serial('a hook that fails leaves the snapshot incomplete, and says why', async t => {
  await withSnapshot(async ({ site, host }) => {
    t.is((await site.backup('ghe', { GHE_SNAPSHOT_TIMESTAMP: '20260101T000000' })).code, 0)
    const whole = readFileSync(join(site.data, 'current', BUNDLE))
    const program = join(host.root, 'program')
    const pretend = (script: string): void => {
      writeFileSync(program, `#!/bin/sh\n${script}\n`)
      chmodSync(program, 0o755)
    }
    writeFileSync(join(host.root, 'bundle'), whole)
    const wrong: [string, number, () => void][] = [
      ['a program that fails', 70, () => pretend('exit 1')],
      ['one that dies', 70, () => pretend('kill -9 $$')],
      ['one that would be tried again', 69, () => pretend('exit 75')],
      ['what is not permitted', 77, () => pretend('exit 77')],
      ['success without a bundle', 65, () => pretend('exit 0')],
      ['a bundle that is cut off', 65, () => pretend(`head -c ${whole.length - 2000} ${host.root}/bundle`)],
      ['a bundle that is changed', 65, () => pretend(`sed s/BEGIN/BEGUN/ ${host.root}/bundle`)],
      ['a program that is gone', 69, () => rmSync(program)],
      ['a hook that is gone', 69, () => rmSync(join(host.root, 'bin/ghe-export-github-connect'))],
      ['a host that is gone', 69, () => rmSync(host.root, { recursive: true })],
    ]
    host.set('GHCONNECT', program)
    for (const [at, [what, code, spoil]] of wrong.entries()) {
      spoil()
      const timestamp = `202602${10 + at}T000000`
      const outcome = await site.backup('ghe', { GHE_SNAPSHOT_TIMESTAMP: timestamp })
      t.is(outcome.code, 1, what)
      t.regex(outcome.stderr, /^Error: Snapshot incomplete\. Some steps failed: .*settings/m, what)
      // Where the host is gone the step before the hook fails, and the hook is not run.
      if (existsSync(host.root)) t.regex(outcome.stderr, /^Fatal: /m, what)
      t.true(isIncomplete(site, timestamp), what)
      t.deepEqual(
        readdirSync(join(site.data, timestamp)).filter(name => name.startsWith(BUNDLE)),
        [],
        what,
      )
      const GHE_SNAPSHOT_DIR = join(site.data, timestamp)
      const alone = await site.run('ghe-backup-github-connect', [], { GHE_HOSTNAME: 'ghe', GHE_SNAPSHOT_DIR })
      t.is(alone.code, code, `${what}: ${alone.stderr}`)
      t.regex(alone.stderr, /^Fatal: /m, what)
    }
    t.is(readlinkSync(join(site.data, 'current')), '20260101T000000')
  })
})

test.serial('a step of another that fails is not hidden by the hook', async t => {
  await withSnapshot(async ({ site }) => {
    for (const [at, step] of ['ghe-backup-secrets', 'ghe-backup-redis'].entries()) {
      const timestamp = `2026020${at + 1}T000000`
      const outcome = await site.backup('ghe', { GHE_TEST_FAIL: step, GHE_SNAPSHOT_TIMESTAMP: timestamp })
      t.is(outcome.code, 1)
      t.true(isIncomplete(site, timestamp))
    }
  })
})

test.serial('each row of the restore matrix ends as it should', async t => {
  await withSnapshot(async scene => {
    const { site, original } = scene
    t.is((await site.backup('ghe')).code, 0)
    const taken = readBundle(join(site.data, 'current', BUNDLE)).credentials
    for (const row of ROWS) {
      await withTarget(scene, row, async (target, host) => {
        const seen = await requestCount(original)
        const outcome = await site.restore(nameOf(host), row.args, row.env)
        t.is(outcome.code, 0, `${row.name}: ${outcome.stderr}`)
        if (row.says) t.regex(outcome.stdout + outcome.stderr, row.says, row.name)
        await target.until(row.state)
        t.is(readFileSync(join(host.root, 'data/user/common/ghe-restore-status'), 'utf8'), 'complete\n')
        if (row.state === 'disconnected') {
          t.deepEqual((await credentialsOf(target)).credentials.pems, [], row.name)
        } else {
          t.deepEqual((await credentialsOf(target)).credentials, taken, row.name)
        }
        const { status, body } = await target.ask('POST', '/v1/tokens', { repositories: ['web'] })
        t.is(status, row.state === 'connected' ? 200 : 503, `${row.name}: ${JSON.stringify(body)}`)
        if (row.state !== 'connected') t.is(await requestCount(original), seen, `${row.name}: no call went out`)
      })
      t.is((await original.call('GET', '/v1/status')).body['state'], 'connected', row.name)
    }
  })
})

test.serial('a sealed bundle waits on the target for its identity, which the backup host never has', async t => {
  const keys = mkdtempSync(join(tmpdir(), 'ghconnect-keys-'))
  try {
    const { identityFile, recipient } = createRecoveryKey(keys)
    await withSnapshot(async scene => {
      const { site, original } = scene
      t.is((await site.backup('ghe')).code, 0)
      const bundle = readFileSync(join(site.data, 'current', BUNDLE), 'latin1')
      t.false(bundle.includes('PRIVATE KEY'))
      const taken = (await credentialsOf(original, identityFile)).credentials
      t.is(taken.pems.length, 1)
      await withTarget(scene, {}, async (target, host) => {
        const outcome = await site.restore(nameOf(host), ['-c'])
        t.is(outcome.code, 0, outcome.stderr)
        t.regex(outcome.stderr, /^Warning: .*sealed/m)
        await target.until('awaiting-unlock')
        const unlocked = await ghconnect('unlock', '--identity', identityFile, '--config', target.configFile)
        t.is(unlocked.code, 0, unlocked.output)
        await target.until('connected')
        t.deepEqual((await credentialsOf(target, identityFile)).credentials, taken)
      })
    }, `${PROFILE}[snapshot]\nrecipients = ["${recipient}"]\n`)
  } finally {
    rmSync(keys, { recursive: true })
  }
})

test.serial('a target whose daemon does not run has the credentials at its next start', async t => {
  await withSnapshot(async scene => {
    const { site, original } = scene
    t.is((await site.backup('ghe')).code, 0)
    const taken = (await credentialsOf(original)).credentials
    await withTarget(scene, { running: false }, async (target, host) => {
      const outcome = await site.restore(nameOf(host), [], { GHE_RESTORE_GH_CONNECT: 'yes' })
      t.is(outcome.code, 0, outcome.stderr)
      t.deepEqual((await credentialsOf(target)).credentials, taken)
      await target.start()
      await target.until('connected')
      await target.kill()
      const cleared = await site.restore(nameOf(host))
      t.is(cleared.code, 0, cleared.stderr)
      t.is((await credentialsOf(target)).state, 'disconnected')
    })
    t.is((await original.call('GET', '/v1/status')).body['state'], 'connected')
  })
})

test.serial('a mark to keep the credentials is good once, and not in a later restore', async t => {
  await withSnapshot(async scene => {
    const { site } = scene
    t.is((await site.backup('ghe')).code, 0)
    await withTarget(scene, {}, async (target, host) => {
      const keep = { GHE_RESTORE_GH_CONNECT: 'yes' }
      // A step after the import fails, so that no reset takes the mark away.
      const broken = await site.restore(nameOf(host), [], { ...keep, GHE_TEST_FAIL: 'ghe-restore-repositories' })
      t.not(broken.code, 0)
      t.is(readFileSync(join(host.root, 'data/user/common/ghe-restore-status'), 'utf8'), 'failed\n')
      t.true(existsSync(join(host.root, 'keep-after-restore')))
      await target.until('connected')
      t.is((await site.restore(nameOf(host))).code, 0)
      await target.until('disconnected')
      t.is((await site.restore(nameOf(host), [], keep)).code, 0)
      await target.until('connected')
      t.false(existsSync(join(host.root, 'keep-after-restore')))
      t.is((await host.run('ghe-reset-gh-connect -y')).code, 0)
      await target.until('disconnected')
    })
  })
})

test.serial(
  'the reset clears after the configuration run, tells GitHub nothing, and runs a script of GitHub that it replaced',
  async t => {
    await withSnapshot(async scene => {
      const { site, original, host } = scene
      t.is((await site.backup('ghe')).code, 0)
      const reset = join(host.root, 'usr/local/share/enterprise/ghe-reset-gh-connect')
      writeFileSync(`${reset}.github`, '#!/bin/sh\necho "reset $1" >>order\n')
      chmodSync(`${reset}.github`, 0o755)
      const seen = await requestCount(original)
      t.is((await site.restore('ghe')).code, 0)
      t.is((await original.call('GET', '/v1/status')).body['state'], 'disconnected')
      t.is(readFileSync(join(host.root, 'order'), 'utf8'), 'ghe-config-apply\nreset -y\n')
      t.is(await requestCount(original), seen)
      const { apps } = await original.control('GET', 'state')
      t.true(Array.isArray(apps) && apps.length === 1, 'the App is there')
      writeFileSync(`${reset}.github`, '#!/bin/sh\nexit 75\n')
      const failed = await host.run(`${reset} -y`)
      t.is(failed.code, 69)
      t.regex(failed.stderr, /^Fatal: /m)
    })
  },
)

test.serial(
  'a restore goes on without a bundle and without the hooks, and stops at a damaged bundle until told to skip it',
  async t => {
    await withSnapshot(async scene => {
      const { site } = scene
      t.is((await site.backup('ghe')).code, 0)
      const file = join(site.data, 'current', BUNDLE)
      const whole = readFileSync(file)
      await withTarget(scene, {}, async (target, host) => {
        const restore = (env = {}): Promise<Outcome> => site.restore(nameOf(host), ['-c'], env)
        rmSync(file)
        const absent = await restore()
        t.is(absent.code, 0, absent.stderr)
        t.regex(absent.stderr, /^Warning: .*no GitHub Connect credentials/m)

        for (const damaged of [whole.subarray(0, 2000), whole.with(3000, (whole[3000] ?? 0) ^ 1), Buffer.alloc(0)]) {
          writeFileSync(file, damaged)
          const outcome = await restore()
          t.is(outcome.code, 65, outcome.stderr)
          t.regex(outcome.stderr, /^Fatal: .*GHE_SKIP_GH_CONNECT=yes/m)
        }
        t.is((await restore({ GHE_SKIP_GH_CONNECT: 'yes' })).code, 0)
        t.is((await restore({ GHE_RESTORE_GH_CONNECT: 'perhaps' })).code, 64)
        t.is((await target.call('GET', '/v1/status')).body['state'], 'disconnected')

        writeFileSync(file, whole)
        const verified = await host.run('ghe-import-github-connect --verify-only', whole)
        t.is(verified.code, 0, verified.stderr)
        t.is((await host.run('ghe-import-github-connect --verify-only', whole.subarray(0, 2000))).code, 65)
        t.is((await target.call('GET', '/v1/status')).body['state'], 'disconnected')
        rmSync(join(host.root, 'bin/ghe-import-github-connect'))
        const missing = await restore()
        t.is(missing.code, 0, missing.stderr)
        t.regex(missing.stderr, /^Warning: .*no ghe-import-github-connect/m)
      })
    })
  },
)

test('each hook shows an example, and refuses what it does not know', async t => {
  const site = createSite()
  try {
    const hooks = readdirSync(HOOKS).filter(name => name.startsWith('ghe-'))
    t.is(hooks.length, 5)
    for (const hook of hooks) {
      const help = await site.run(hook, ['--help'])
      t.is(help.code, 0, hook)
      t.regex(help.stdout, /^usage: [^]*\nExample: .*/, hook)
      const wrong = await site.run(hook, ['--nonsense', 'x'])
      t.is(wrong.code, 64, hook)
      t.regex(wrong.stderr, /^Fatal: /m, hook)
    }
    for (const hook of ['ghe-backup-github-connect', 'ghe-reset-gh-connect', 'ghe-restore-github-connect']) {
      t.is((await site.run(hook, [])).code, 64, hook)
    }
  } finally {
    site.close()
  }
})
