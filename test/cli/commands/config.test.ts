// `ghconnect config check` and `ghconnect reload`: what they print, and with which exit code.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { runCli, startDaemon } from '../rig.ts'

const folder = mkdtempSync(join(tmpdir(), 'config-command-'))
test.after.always(() => rmSync(folder, { recursive: true }))
let files = 0
const configOf = (toml: string): string => {
  const path = join(folder, `${++files}.toml`)
  writeFileSync(path, toml)
  return path
}
const PROFILE = '[[profiles]]\nname = "ci"\ninstallation = "octo-org"\npermissions = { contents = "read" }\n'
const ADMITS_GIT = `${PROFILE}allow = { users = ["git"] }\n`

test('each error has a line of its own on standard error, and the code is 78', async t => {
  const file = configOf('a = 1\n[refresh]\nsettel = "1s"\n')
  const { code, stdout, stderr } = await runCli(['config', 'check', '--config', file])
  t.is(code, 78)
  t.is(stdout, '')
  t.is(
    stderr,
    `error: ${file}:1: a: there is no such key\nerror: ${file}:3: refresh.settel: there is no such key; did you mean settle?\n${file}: the daemon refuses this configuration\n`,
  )
})

test('what concerns one part is an error as well, and the daemon would start', async t => {
  const file = configOf('[app]\npermissions = { contnts = "read", new_thing = "read" }\n')
  const { code, stderr } = await runCli(['config', 'check', '--config', file])
  t.is(code, 78)
  t.regex(stderr, /^error: .*contnts: is not a permission of GitHub; did you mean contents\?$/m)
  t.regex(stderr, /^warning: .*new_thing: is not a permission that this version knows$/m)
  t.regex(stderr, /: the daemon starts, and what is named above does not work$/m)
})

test('warnings alone leave it OK, and --json has all of it', async t => {
  const file = configOf('[app]\npermissions = { new_thing = "read" }\n')
  const { code, stdout, stderr } = await runCli(['config', 'check', '--config', file, '--json'])
  t.is(code, 0)
  t.is(stderr, '')
  t.deepEqual(JSON.parse(stdout), {
    file,
    ok: true,
    findings: [
      {
        level: 'warning',
        stops_daemon: false,
        file,
        line: 2,
        key: 'app.permissions.new_thing',
        message: 'is not a permission that this version knows',
      },
    ],
  })
})

test('a running daemon knows which profiles no installation can satisfy', async t => {
  const installation = {
    id: 7,
    account: { type: 'organization', login: 'octo-org' },
    repository_selection: 'all',
    permissions: { metadata: 'read' },
    html_url: 'https://github.test/x',
  }
  const daemon = await startDaemon(t, { 'admin GET /v1/installations': { body: { installations: [installation] } } })
  const ran = await runCli(['config', 'check', '--config', configOf(ADMITS_GIT), '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.regex(ran.stderr, /^warning: .*: profiles\.ci: no installation grants contents: read$/m)
})

test('--diff says who gains and who loses what against the running daemon', async t => {
  const running = {
    name: 'ci',
    installation: 'octo-org',
    permissions: { contents: 'read' },
    allow: { users: ['root'], groups: [], units: [] },
  }
  const daemon = await startDaemon(t, { 'admin GET /v1/profiles': { body: { profiles: [running] } } })
  const check = ['config', 'check', '--diff', '--socket', daemon.folder, '--config']
  const file = configOf(ADMITS_GIT)
  const ran = await runCli([...check, file])
  t.is(
    ran.stdout,
    `- profile ci: user root loses contents: read on all repositories of octo-org\n+ profile ci: user git gains contents: read on all repositories of octo-org\n${file}: OK\n`,
  )
  const { changes } = JSON.parse((await runCli([...check, file, '--json'])).stdout)
  t.deepEqual(changes[0], {
    profile: 'ci',
    effect: 'loses',
    who: 'user root',
    what: 'contents: read on all repositories of octo-org',
  })
  const same = await runCli([...check, configOf(`${PROFILE}allow = { users = ["root"] }\n`)])
  t.regex(same.stdout, /^No caller gains or loses anything\.$/m)
  await daemon.close()
  t.is((await runCli([...check, file])).code, 69, 'without a daemon there is nothing to compare with')
})

test('reload applies the file, or fails with the reason of the refusal', async t => {
  const detail = '/etc/ghconnectd/config.toml:3: proxy.url: has no scheme'
  const problem = { type: 'urn:ghconnect:problem:configuration', title: 'x', status: 500, detail, next: 'y' }
  let isGood = true
  const daemon = await startDaemon(t, {
    'admin POST /v1/reload': () =>
      isGood
        ? { body: { file: '/etc/ghconnectd/config.toml' } }
        : { status: 500, type: 'application/problem+json', body: problem },
  })
  t.deepEqual(await runCli(['reload', '--socket', daemon.folder]), {
    code: 0,
    stdout: '/etc/ghconnectd/config.toml: applied\n',
    stderr: '',
  })
  isGood = false
  const refused = await runCli(['reload', '--socket', daemon.folder])
  t.is(refused.code, 78)
  t.true(refused.stderr.includes(detail))
})
