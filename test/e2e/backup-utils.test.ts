// The hooks for GitHub Enterprise Server Backup Utilities in a backup, run by programs that behave as those do.

import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { credentialsOf, readBundle } from '../support/backup-utils/credentials.ts'
import { BUNDLE, withSite } from '../support/backup-utils/scene.ts'
import { createSite, HOOKS, type Site } from '../support/backup-utils/site.ts'
import { NOBODY } from '../support/probes.ts'

const snapshots = (site: Site): string[] => readdirSync(site.data).filter(name => /^\d{8}T\d{6}$/.test(name))
const isIncomplete = (site: Site, snapshot: string): boolean => existsSync(join(site.data, snapshot, 'incomplete'))

test.serial('a snapshot of a live appliance holds its credentials, closed to others', async t => {
  await withSite(async ({ site, original, host }) => {
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
  await withSite(async ({ site, original }) => {
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
  await withSite(async ({ site, host }) => {
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

test.serial(
  'bytes around a bundle leave the snapshot incomplete, and are counted and shown without a secret',
  async t => {
    await withSite(async ({ site, host }) => {
      t.is((await site.backup('ghe', { GHE_SNAPSHOT_TIMESTAMP: '20260101T000000' })).code, 0)
      const bundle = join(host.root, 'bundle')
      writeFileSync(bundle, readFileSync(join(site.data, 'current', BUNDLE)))
      const program = join(host.root, 'program')
      host.set('GHCONNECT', program)
      const secret = `ghs_${'x'.repeat(36)}`
      const noises: [string, RegExp][] = [
        [
          "printf 'Welcome!\\033[31m\\n'; cat bundle",
          /: 14 bytes came before it and begin \$'Welcome!\\E\[31m(\\n)?':/,
        ],
        [
          `printf 'MOTD ${secret} ${'long '.repeat(100)}'; cat bundle`,
          /: 546 bytes came before it and begin MOTD\\ \\\[/,
        ],
        ['cat bundle; echo bye', /: 4 bytes came after it:/],
        [`tail -c +600 bundle; echo ${secret}`, /: \d+ bytes arrived that hold no bundle and begin /],
        ['echo This account is not available.', /: 31 bytes arrived that hold no bundle and begin This\\ account/],
        ['true', /: nothing arrived$/m],
      ]
      for (const [at, [script, expected]] of noises.entries()) {
        writeFileSync(program, `#!/bin/sh\ncd ${host.root}\n${script}\n`)
        chmodSync(program, 0o755)
        const timestamp = `202603${10 + at}T000000`
        const { code, stderr } = await site.backup('ghe', { GHE_SNAPSHOT_TIMESTAMP: timestamp })
        t.is(code, 1, script)
        t.regex(stderr, expected, script)
        t.true(isIncomplete(site, timestamp), script)
        t.true((stderr.split('\n').find(line => line.startsWith('Fatal: ')) ?? '').length < 400, stderr)
        t.false(stderr.includes(secret) || /[A-Za-z0-9+/_=]{48}/.test(stderr), stderr)
      }
    })
  },
)

test.serial('a step of another that fails is not hidden by the hook', async t => {
  await withSite(async ({ site }) => {
    for (const [at, step] of ['ghe-backup-secrets', 'ghe-backup-redis'].entries()) {
      const timestamp = `2026020${at + 1}T000000`
      const outcome = await site.backup('ghe', { GHE_TEST_FAIL: step, GHE_SNAPSHOT_TIMESTAMP: timestamp })
      t.is(outcome.code, 1)
      t.true(isIncomplete(site, timestamp))
    }
  })
})

test('who is not root becomes so by sudo, and hears what is not permitted where that is not to be had', async t => {
  const site = createSite()
  try {
    const bin = mkdtempSync(join(tmpdir(), 'ghconnect-sudo-'))
    chmodSync(bin, 0o755)
    writeFileSync(join(bin, 'sudo'), '#!/bin/sh\nprintf "%s\\n" "$*"\n', { mode: 0o755 })
    writeFileSync(join(bin, 'ghconnect'), '#!/bin/sh\necho "Fatal: $*" >&2; exit 77\n', { mode: 0o755 })
    const hook = join(HOOKS, 'ghe-export-github-connect')
    const asNobody = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', hook, '--output', '/x']
    const PATH = `${bin}:/usr/bin:/bin`
    t.is((await site.run('setpriv', asNobody, { PATH })).stdout, `-n -- ${hook} --output /x\n`)
    writeFileSync(join(bin, 'sudo'), '#!/bin/sh\necho "a password is required" >&2; exit 1\n')
    const refused = await site.run('setpriv', asNobody, { PATH })
    t.is(refused.code, 77)
    t.is(refused.stderr, 'Fatal: snapshot export --output /x\n')
    rmSync(bin, { recursive: true })
  } finally {
    site.close()
  }
})

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
