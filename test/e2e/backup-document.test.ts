// The commands of docs/backup.md, typed as they stand.

import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Appliance, PROFILE } from '../support/appliance.ts'
import { createConnected, createRecoveryKey, createSuccessor } from '../support/backup-utils/credentials.ts'
import { HOOKS } from '../support/backup-utils/site.ts'
import { commandsOf, DOCUMENT, shellOf } from '../support/backup-utils/tools.ts'
import { requestCount } from '../support/probes.ts'

const typed = new Set<string>()

/** Types a block in the appliance's folder; gives what it printed. */
const type = async (t: ExecutionContext, appliance: Appliance, mark: string): Promise<string> => {
  typed.add(mark)
  const { code, stdout, stderr } = await shellOf(appliance)(commandsOf(mark))
  t.is(code, 0, `${mark}: ${stdout}${stderr}`)
  return stdout + stderr
}

const stateOf = async (appliance: Appliance): Promise<unknown> =>
  (await appliance.call('GET', '/v1/status')).body['state']

test.serial('a recovery key, a bundle, the drill, and a look into it without us', async t => {
  const appliance = await createConnected()
  try {
    t.regex(await type(t, appliance, 'start'), /The bundle would restore\./)
    t.regex(await type(t, appliance, 'drill'), /GitHub accepts its key for the App/)
    t.regex(await type(t, appliance, 'without-us'), /private-key-1\.pem/)
    t.regex(await type(t, appliance, 'digest'), /payload\.age/)
    t.regex(await type(t, appliance, 'restore'), /connected since/)
    t.regex(await type(t, appliance, 'second-key'), /The bundle would restore\./)
    t.is(await stateOf(appliance), 'connected')
  } finally {
    await appliance.close()
  }
})

test.serial('a sealed bundle is unlocked; another machine adopts, or clears', async t => {
  const original = await createConnected()
  try {
    await type(t, original, 'start')
    for (const [mark, state] of [
      ['adopt', 'connected'],
      ['local', 'disconnected'],
    ] as const) {
      const clone = await createSuccessor(original, { elsewhere: true })
      try {
        for (const name of ['github-connect.tar', 'recovery-key.txt']) {
          copyFileSync(join(original.folder, name), join(clone.folder, name))
        }
        await clone.start()
        const seen = await requestCount(original)
        t.regex(await type(t, clone, 'unlock'), /^Warning: .*sealed/m)
        t.is(await stateOf(clone), 'quarantined')
        t.is((await clone.call('POST', '/v1/tokens', { repositories: ['web'] })).status, 503)
        t.is(await requestCount(original), seen, 'no call went out')
        await type(t, clone, mark)
        await clone.until(state)
      } finally {
        await clone.close()
      }
    }
    t.is(await stateOf(original), 'connected')
  } finally {
    await original.close()
  }
})

test.serial('a recipient of the configuration is withdrawn there', async t => {
  const appliance = await createConnected()
  try {
    for (const name of ['old', 'new']) {
      const { recipient } = createRecoveryKey(appliance.folder, name)
      appliance.configure(`${PROFILE}[snapshot]\nrecipients = ["${recipient}"]\n`)
      appliance.signal('SIGHUP')
      await appliance.logged(
        new RegExp(`configuration was read again[^]*${name === 'old' ? '' : 'configuration was read again'}`),
      )
      const { stdout } = await shellOf(appliance)('ghconnect snapshot export | ghconnect snapshot inspect --json -')
      t.deepEqual(JSON.parse(stdout).recipients, [recipient])
    }
  } finally {
    await appliance.close()
  }
})

test.serial('the hooks run from where they are linked to', async t => {
  const appliance = await createConnected()
  try {
    const at = (path: string): string => join(appliance.folder, path)
    for (const folder of ['bin', 'enterprise', 'etc']) mkdirSync(at(folder), { recursive: true })
    symlinkSync(HOOKS, at('hooks'))
    const shell = shellOf(appliance)
    typed.add('appliance').add('backup-host')
    const onAppliance = commandsOf('appliance', {
      '/usr/lib/ghconnectd/backup-utils': at('hooks'),
      '/usr/local/bin': at('bin'),
      '/usr/local/share/enterprise': at('enterprise'),
    })
    const onBackupHost = commandsOf('backup-host', {
      '/usr/local/lib/github-connect-backup': at('hooks'),
      '/usr/local/bin': at('bin'),
      '/etc/github-backup-utils': at('etc'),
    })
    t.is((await shell(onAppliance)).code, 0)
    t.is((await shell(onBackupHost)).code, 0)
    t.true(readFileSync(at('etc/backup.config'), 'utf8').includes('ghe-backup-settings()'))
    const commands = ['export', 'import', 'backup', 'restore'].map(verb => at(`bin/ghe-${verb}-github-connect`))
    for (const command of [...commands, at('enterprise/ghe-reset-gh-connect')]) {
      t.is((await shell(`nice -n 19 ionice -c 3 ${command} --help`)).code, 0, command)
    }
    t.is(
      (await shell(`${at('bin/ghe-export-github-connect')} --output bundle && ghconnect snapshot inspect bundle`)).code,
      0,
    )
    t.true(existsSync(at('bundle')))
  } finally {
    await appliance.close()
  }
})

test.serial('no block that is marked to be typed was left out', t => {
  // Those of other tools are typed in backup-tools.test.ts.
  const elsewhere = ['restic', 'borg', 'borgmatic', 'cron']
  const marks = [...readFileSync(DOCUMENT, 'utf8').matchAll(/<!-- run: (\S+) -->/g)].map(([, mark = '']) => mark)
  t.deepEqual(
    marks.filter(mark => !typed.has(mark)),
    elsewhere,
  )
})
