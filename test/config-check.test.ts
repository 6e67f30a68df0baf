// Everything that a start would refuse, and more: found at once, each with file, line and key.

import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { checkConfig, examineConfig, loadUsableConfig } from '../src/config-check.ts'
import { describeFinding, doubtsIn } from '../src/platform/config-findings.ts'
import { actAs } from '../src/platform/owner.ts'

const folder = mkdtempSync(join(tmpdir(), 'config-check-'))
test.after.always(() => rmSync(folder, { recursive: true }))
// The daemon's user is to get there.
chmodSync(folder, 0o755)

let files = 0
const file = (content: string, mode = 0o644): string => {
  const path = join(folder, `file-${++files}`)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}
const surroundings = { hostname: 'ghe.example.com', findUser: () => 0, findGroup: () => undefined }
const wishOf = (toml: string, env: NodeJS.ProcessEnv = {}) => ({ configFile: file(toml), surroundings, env })
const linesOf = (wish: ReturnType<typeof wishOf>): string[] =>
  examineConfig(wish).findings.map(
    finding => `${finding.level} ${describeFinding(finding).replace(wish.configFile, 'c')}`,
  )

test('what is left aside of NO_PROXY is a doubt that status and check show; units are looked for each time', t => {
  const toml = '[[profiles]]\nname = "first"\nallow = { units = ["nosuch.service"] }\n'
  const env = { HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: '10.*,.corp' }
  const { findings } = examineConfig(wishOf(toml, env))
  t.deepEqual(
    doubtsIn(findings).map(({ said }) => said),
    ['NO_PROXY: not used: "10.*"'],
  )
})

test('all that is wrong is told at once, by line, with the profile and a guess', t => {
  const toml = `colour = "red"
[github]
url = "https://octo.ghe.com"
api_url = "https://api.github.com"
[proxy]
url = "http://jdoe:99/S3cret@proxy:3128"
exclude = ["10.*", ".ok"]
ca_file = "/nonexistent.pem"
[refrehs]
schedule = "* * * * *"
[[profiles]]
name = "first"
repositories = []
[[profiles]]
repositories = ["a"]
[[profiles]]
name = "third"
permissions = { contnts = "read", issues = "all", brand_new_thing = "read" }
allow = { groups = ["no-such-group"], unit = ["a.service"] }
[[sinks]]
name = "s"
profile = "thrid"
path = "/run/x"
`
  const lines = linesOf(wishOf(toml))
  t.deepEqual(lines, [
    'error c:1: colour: there is no such key',
    'error c:4: github.api_url: belongs to another GitHub than [github] url (https://octo.ghe.com), whose API is https://api.octo.ghe.com',
    'error c:6: proxy.url: has "/" in the user or password: write %2F for it',
    'error c:7: proxy.exclude.0: "10.*" is not a host, a suffix or a block of addresses',
    'error c:8: proxy.ca_file: /nonexistent.pem does not exist',
    'error c:9: refrehs: there is no such key; did you mean refresh?',
    'error c:13: profiles.0.repositories: Too small: expected array to have >=1 items (profile first)',
    'error c:14: profiles.1.name: Invalid input: expected string, received undefined',
    'error c:18: profiles.2.permissions.issues: Invalid option: expected one of "read"|"write"|"admin" (profile third)',
    'fault c:18: profiles.2.permissions.contnts: is not a permission of GitHub; did you mean contents? (profile third)',
    'warning c:18: profiles.2.permissions.brand_new_thing: is not a permission that this version knows (profile third)',
    'error c:19: profiles.2.allow.unit: there is no such key; did you mean units? (profile third)',
    'error c:19: profiles.2.allow.groups.0: there is no such name: no-such-group (profile third)',
    'error c:22: sinks.0.profile: there is no such profile; did you mean third? (sink s)',
  ])
  t.false(lines.join('\n').includes('S3cret'))
})

test('a start is refused with all errors, and goes on past what concerns one part', t => {
  const refusal = t.throws(() => loadUsableConfig(wishOf('a = 1\n[policy]\nb = 2\n')), { code: 'configuration' })
  t.regex(refusal?.message ?? '', /:1: a: there is no such key; .*:3: policy\.b: there is no such key$/)
  const key = file('x'.repeat(32), 0o644)
  const toml = `[store]\nkey_file = "${key}"\n[cluster]\nname = "c"\nendpoints = ["https://e:1"]\nca_file = "/nonexistent"\nsecret_file = "/nonexistent"\n[app]\npermissions = { contnts = "read" }\n`
  const { findings, config } = loadUsableConfig(wishOf(toml))
  t.is(config.app.permissions['contnts'], 'read')
  t.deepEqual(
    findings.map(({ level, key: name }) => `${level} ${name}`),
    ['fault store.key_file', 'fault cluster.ca_file', 'fault cluster.secret_file', 'fault app.permissions.contnts'],
  )
})

test('the variables of the proxy are looked at, and what is left aside of them is a warning', t => {
  const env = { HTTPS_PROXY: 'http://u:hidden@p:1', NO_PROXY: '10.*' }
  t.deepEqual(linesOf(wishOf('', env)), ['warning NO_PROXY: not used: "10.*"'])
  t.deepEqual(linesOf(wishOf('', { ALL_PROXY: 'socks://127.0.0.1:1080/' })), [
    'error ALL_PROXY must begin with http://, https:// or socks5://',
  ])
})

test('paths that no socket can have are refused', t => {
  const long = `/run/${'x'.repeat(100)}`
  t.regex(linesOf(wishOf(`[paths]\nruntime = "${long}"\n`)).join(), /paths\.runtime: is too long/)
})

test.serial('as root the files are looked at as the daemon user, whose advice opens what is closed to it', async t => {
  if (process.getuid?.() !== 0) {
    t.pass('only root can act as another user')
    return
  }
  const state = join(folder, 'state')
  mkdirSync(state)
  chownSync(state, 65_534, 65_534)
  const password = file('secret\n', 0o600)
  const shut = join(folder, 'shut')
  mkdirSync(shut, { mode: 0o700 })
  writeFileSync(join(shut, 'ca.pem'), '')
  const configFile = file(
    `[paths]\nstate = "${state}"\n[proxy]\nurl = "http://u@p:1"\npassword_file = "${password}"\nca_file = "${shut}/ca.pem"\n`,
  )
  const wish = { configFile, surroundings, env: {} }
  const { findings } = await checkConfig(wish)
  t.deepEqual(
    findings.map(({ message }) => message),
    [
      `${password} cannot be read by nobody (owner root:root, mode 0600); run: chown nobody: ${password} && chmod 0600 ${password}`,
      `${shut}/ca.pem cannot be read by nobody: the folder ${shut} is closed to it (owner root:root, mode 0700); move the file to /etc/ghconnectd`,
    ],
  )
  t.is(process.geteuid?.(), 0, 'the rights come back')
  chmodSync(configFile, 0o600)
  t.regex(
    (await checkConfig(wish)).findings[0]?.message ?? '',
    /cannot be read by nobody \(owner root:root, mode 0600\)/,
  )
  t.regex(examineConfig(wish).findings[0]?.message ?? '', /holds no certificate/, 'root itself reads them all')
})

test.serial('a state folder that is none, or not the daemon’s, is found before the start', async t => {
  const state = file('')
  t.deepEqual(linesOf(wishOf(`[paths]\nstate = "${state}"\n`)), [`fault c:2: paths.state: ${state} is not a folder`])
  if (process.getuid?.() !== 0) return
  const foreign = join(folder, 'foreign')
  mkdirSync(foreign, { mode: 0o755 })
  const wish = wishOf(`[paths]\nstate = "${foreign}"\n`)
  t.deepEqual(linesOf(wish), [], 'root may use any')
  await actAs({ uid: 65_534, gid: 65_534 }, async () => {
    t.deepEqual(linesOf(wish), [
      `fault c:2: paths.state: ${foreign} belongs to root, not to nobody; run: chown -R nobody: ${foreign}`,
    ])
    const { findings, profiles } = await checkConfig(wish)
    t.deepEqual(
      findings.map(({ level, message }) => `${level} ${message}`),
      ["warning only the text was checked: run it with sudo to check the files as root, the daemon's user"],
    )
    t.deepEqual(profiles, [])
  })
})

test('a page’s socket has a path that the kernel takes', t => {
  const web = (path: string): string => `[web]\nlisten = "unix:${path}"\npublic_url = "https://ghe.example.com"\n`
  t.regex(linesOf(wishOf(web(`/${'x'.repeat(107)}`))).join(), /^error c:2: web\.listen: is too long/)
  t.deepEqual(linesOf(wishOf(web(`/${'x'.repeat(106)}`))), [])
})

test('keys and secrets that the service manager passes need no file', t => {
  const credentials = join(folder, 'credentials')
  mkdirSync(credentials)
  const env = { CREDENTIALS_DIRECTORY: credentials }
  const key = `[store]\nkey_file = "/nonexistent"\n`
  t.regex(linesOf(wishOf(key, env)).join(), /^fault c:2: store\.key_file: /)
  writeFileSync(join(credentials, 'store.key'), Buffer.alloc(32, 1))
  t.deepEqual(linesOf(wishOf(key, env)), [])
  const cluster = '[cluster]\nname = "c"\nendpoints = ["http://127.0.0.1:1"]\n'
  t.deepEqual(linesOf(wishOf(cluster)), [], 'without the daemon’s credentials nobody can tell')
  t.regex(linesOf(wishOf(cluster, env)).join(), /^fault c:\d+: cluster\./)
  writeFileSync(join(credentials, 'cluster.secret'), 'f'.repeat(64))
  t.deepEqual(linesOf(wishOf(cluster, env)), [])
  const proxy = '[proxy]\nurl = "http://u@proxy:3128"\n'
  writeFileSync(join(credentials, 'proxy.password'), 'sealed')
  t.is(loadUsableConfig(wishOf(proxy, env)).proxy.proxy?.reveal(), 'http://u:sealed@proxy:3128')
  t.is(
    loadUsableConfig(wishOf('[proxy]\nurl = "http://u:own@proxy:3128"\n', env)).proxy.proxy?.reveal(),
    'http://u:own@proxy:3128',
  )
})
