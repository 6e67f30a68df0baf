// The hooks for GitHub Enterprise Server Backup Utilities in a restore: each row of the matrix, and what may go wrong.

import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { PROFILE } from '../support/appliance.ts'
import { createRecoveryKey, credentialsOf, readBundle } from '../support/backup-utils/credentials.ts'
import { ROWS } from '../support/backup-utils/matrix.ts'
import { BUNDLE, nameOf, type OpenSite, openSite, withSite, withTarget } from '../support/backup-utils/scene.ts'
import type { Outcome } from '../support/backup-utils/site.ts'
import { ghconnect, requestCount } from '../support/probes.ts'

let opened: OpenSite | undefined
test.before(async t => {
  opened = await openSite()
  t.is((await opened.scene.site.backup('ghe')).code, 0)
})
test.after.always(() => opened?.close())

for (const row of ROWS) {
  test.serial(`a restore with ${row.name} ends ${row.state}`, async t => {
    if (!opened) throw new Error('there is no site')
    const { scene } = opened
    const { site, original } = scene
    const taken = readBundle(join(site.data, 'current', BUNDLE)).credentials
    t.is(taken.pems.length, 1)
    await withTarget(scene, row, async (target, host) => {
      const seen = await requestCount(original)
      const outcome = await site.restore(nameOf(host), row.args, row.env)
      t.is(outcome.code, 0, outcome.stderr)
      if (row.says) t.regex(outcome.stdout + outcome.stderr, row.says)
      await target.until(row.state)
      t.is(readFileSync(join(host.root, 'data/user/common/ghe-restore-status'), 'utf8'), 'complete\n')
      const { credentials } = await credentialsOf(target)
      if (row.state === 'disconnected') t.deepEqual(credentials.pems, [])
      else t.deepEqual(credentials, taken)
      const { status, body } = await target.ask('POST', '/v1/tokens', { repositories: ['web'] })
      t.is(status, row.state === 'connected' ? 200 : 503, JSON.stringify(body))
      if (row.state !== 'connected') t.is(await requestCount(original), seen, 'no call went out')
    })
    t.is((await original.call('GET', '/v1/status')).body['state'], 'connected')
  })
}

test.serial('a sealed bundle waits on the target for its identity, which the backup host never has', async t => {
  const keys = mkdtempSync(join(tmpdir(), 'ghconnect-keys-'))
  try {
    const { identityFile, recipient } = createRecoveryKey(keys)
    await withSite(async scene => {
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
  await withSite(async scene => {
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
  await withSite(async scene => {
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
    await withSite(async scene => {
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
    await withSite(async scene => {
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
