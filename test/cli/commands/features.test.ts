// `ghconnect features`: how the list reads, and a switch that the daemon refuses.

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { FEATURES } from '../../../src/protocol/features.ts'
import type { FeatureBody } from '../../../src/protocol/wire.ts'
import { runCli, startDaemon } from '../rig.ts'

const LINK = 'https://github.com/organizations/octo-org/settings/apps/ghe/permissions'
const off: FeatureBody = {
  name: 'server-statistics',
  ...FEATURES['server-statistics'],
  state: 'off',
  detail: 'It is switched off.',
  next: '',
}
const lacking: FeatureBody = {
  name: 'dependabot-alerts',
  ...FEATURES['dependabot-alerts'],
  state: 'app-lacks',
  detail: 'The App does not ask for vulnerability_alerts: read.',
  next: `Let the owner add it: ${LINK}`,
  missing: { vulnerability_alerts: 'read' },
  link: LINK,
  allow: { users: ['git'], groups: [], units: [] },
}

const prepare = (t: ExecutionContext) => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-features-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const configFile = join(folder, 'config.toml')
  writeFileSync(configFile, '')
  return { configFile, file: join(folder, 'config.features.toml') }
}

test('the list has a row for each, and below what each waits for', async t => {
  const daemon = await startDaemon(t, { 'admin GET /v1/features': { body: { features: [lacking, off] } } })
  const ran = await runCli(['features', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.is(
    ran.stdout,
    [
      'FEATURE            STATE      PERMISSIONS',
      'dependabot-alerts  app-lacks  vulnerability_alerts: read',
      'server-statistics  off        organization_administration: read',
      '',
      'dependabot-alerts: The App does not ask for vulnerability_alerts: read.',
      `  Let the owner add it: ${LINK}`,
      '',
    ].join('\n'),
  )
})

test('what the daemon refuses is put back, with its reason', async t => {
  const { configFile, file } = prepare(t)
  const refusal = {
    type: 'urn:ghconnect:problem:configuration',
    title: '',
    status: 503,
    detail: '[paths] was changed; that needs a restart',
    next: '',
  }
  const daemon = await startDaemon(t, {
    'admin POST /v1/reload': { status: 503, type: 'application/problem+json', body: refusal },
  })
  const enable = ['features', 'enable', 'dependabot-alerts', '--socket', daemon.folder, '--config', configFile]
  const ran = await runCli(enable)
  t.is(ran.code, 78)
  t.regex(ran.stderr, /needs a restart/)
  t.false(existsSync(file))
})

test('a daemon that reads another file is found out, and nothing is left behind', async t => {
  const { configFile, file } = prepare(t)
  const daemon = await startDaemon(t, { 'admin POST /v1/reload': { body: { file: '/etc/other.toml' } } })
  const ran = await runCli([
    'features',
    'enable',
    'dependabot-alerts',
    '--socket',
    daemon.folder,
    '--config',
    configFile,
  ])
  t.is(ran.code, 64)
  t.regex(ran.stderr, /the daemon reads \/etc\/other\.toml/)
  t.false(existsSync(file))
})

test('what waits after the switch is told with the page to open; a name that is none lists those that are', async t => {
  const { configFile, file } = prepare(t)
  const daemon = await startDaemon(t, {
    'admin POST /v1/reload': { body: { file: configFile } },
    'admin GET /v1/features': { body: { features: [lacking, off] } },
  })
  const at = ['--socket', daemon.folder, '--config', configFile]
  const ran = await runCli(['features', 'enable', 'dependabot-alerts', '--user', 'git', '--unit', 'a.service', ...at])
  t.is(ran.code, 0)
  t.is(ran.stdout, `dependabot-alerts: app-lacks. ${lacking.detail}\n${lacking.next}\n`)
  t.regex(
    readFileSync(file, 'utf8'),
    /\[dependabot-alerts\]\nallow = \{ users = \["git"\], units = \["a\.service"\] \}/,
  )
  const wrong = await runCli(['features', 'enable', 'nope', ...at])
  t.is(wrong.code, 64)
  t.regex(wrong.stderr, /nope: must be one of license-user-sync, /)
})

test('who may not write the file is told to use sudo', async t => {
  const { configFile, file } = prepare(t)
  chmodSync(dirname(configFile), 0o555)
  // Root may write everywhere.
  const user = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []
  const entry = join(import.meta.dirname, '../../../src/ghconnect.ts')
  const words = ['features', 'enable', 'dependabot-alerts', '--user', 'root', '--config', configFile]
  const [program = '', ...args] = [...user, process.execPath, entry, ...words]
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  t.is(status, 77)
  t.is(
    stderr,
    `ghconnect: Not permitted: ${dirname(configFile)} is not yours to write\n  What to do: Run it with sudo.\n`,
  )
  t.false(existsSync(file))
})
