// Everything that a start would refuse, and more: found at once, each with file, line and key.

import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { checkConfig, examineConfig, loadUsableConfig } from '../../src/core/config-check.ts'
import { describeFinding, doubtsIn } from '../../src/service/config-findings.ts'
import { actAs } from '../../src/service/process.ts'

const folder = mkdtempSync(join(tmpdir(), 'config-check-'))
test.after.always(() => rmSync(folder, { recursive: true }))
// The daemon's user is to get there.
chmodSync(folder, 0o755)

const NOBODY = { uid: 65_534, gid: 65_534 }

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
  t.deepEqual(doubtsIn(findings), [
    {
      said: 'NO_PROXY: not used: "10.*"',
      next: 'Correct the variable where the service gets it, then restart the daemon; or set [proxy] url and exclude.',
    },
  ])
  const wish = wishOf('[app]\npermissions = { contnts = "read", brand_new_thing = "read" }\n')
  t.deepEqual(
    doubtsIn(examineConfig(wish).findings),
    [
      {
        said: `${wish.configFile}:2: app.permissions.brand_new_thing: is not a permission that this version knows`,
        next: 'Correct it, then run `ghconnect config check`.',
      },
    ],
    'a fault shows elsewhere',
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

test('paths that no socket can have are refused, and no shorter ones', t => {
  // 107 bytes with the name of the longest socket in it.
  const long = `/${'x'.repeat(107 - '/credentials.sock'.length - 1)}`
  const runtime = (path: string): string[] => linesOf(wishOf(`[paths]\nruntime = "${path}"\n`))
  t.deepEqual(runtime(long), [])
  t.regex(
    runtime(`${long}x`).join(),
    /^error c:2: paths\.runtime: is too long: a path of a socket has at most 107 bytes/,
  )
  const listen = (path: string): string[] =>
    linesOf(wishOf(`[web]\nlisten = "unix:${path}"\npublic_url = "https://ghe.example.com"\n`))
  t.deepEqual(listen(`/${'x'.repeat(106)}`), [])
  // Bytes count, not letters.
  t.regex(listen(`/${'é'.repeat(54)}`).join(), /^error c:2: web\.listen: is too long/)
})

test.serial(
  'a state folder that is none, or belongs to another user, is a fault with the command that mends it',
  async t => {
    const plain = file('')
    t.deepEqual(linesOf(wishOf(`[paths]\nstate = "${plain}"\n`)), [`fault c:2: paths.state: ${plain} is not a folder`])
    t.deepEqual(
      linesOf(wishOf(`[paths]\nstate = "${plain}/below"\n`)),
      [],
      'what is absent is made with the first start',
    )
    if (process.getuid?.() !== 0) return
    const state = join(folder, 'state-of-root')
    mkdirSync(state)
    const wish = wishOf(`[paths]\nstate = "${state}"\n`)
    t.deepEqual(linesOf(wish), [], "root makes it the daemon's")
    const found = await actAs(NOBODY, async () => linesOf(wish))
    t.deepEqual(found, [
      `fault c:2: paths.state: ${state} belongs to root, not to nobody; run: chown -R nobody: ${state}`,
    ])
    const { findings, profiles } = await actAs(NOBODY, () => checkConfig(wish))
    t.deepEqual(
      findings.map(({ level, message }) => [level, message]),
      [['warning', "only the text was checked: run it with sudo to check the files as root, the daemon's user"]],
      'whose files are not for this user',
    )
    t.deepEqual(profiles, [])
  },
)

test('a sealed password serves where the address names a user, and neither it nor a file gives one', t => {
  const env = { CREDENTIALS_DIRECTORY: mkdtempSync(join(folder, 'credentials-')) }
  writeFileSync(join(env.CREDENTIALS_DIRECTORY, 'proxy.password'), 'sealed\n')
  const proxyOf = (toml: string): string | undefined =>
    examineConfig(wishOf(`[proxy]\n${toml}\n`, env)).usable?.proxy.proxy?.reveal()
  t.is(proxyOf('url = "http://u@p:1"'), 'http://u:sealed@p:1')
  t.is(proxyOf('url = "http://u:own@p:1"'), 'http://u:own@p:1')
  t.is(proxyOf('url = "http://p:1"'), 'http://p:1')
  t.is(proxyOf(`url = "http://u@p:1"\npassword_file = "${file('filed', 0o600)}"`), 'http://u:filed@p:1')
})

test('a key or secret that systemd passes goes before its file, which need not be there', t => {
  const env = { CREDENTIALS_DIRECTORY: mkdtempSync(join(folder, 'credentials-')) }
  const store = '[store]\nkey_file = "/nonexistent"\n'
  const cluster = '[cluster]\nname = "c"\nendpoints = ["http://127.0.0.1:1"]\n'
  t.regex(linesOf(wishOf(store, env)).join(), /^fault c:2: store\.key_file: /)
  t.regex(linesOf(wishOf(cluster, env)).join(), /^fault c:1: cluster\.secret_file: there is no secret/)
  t.deepEqual(linesOf(wishOf(cluster)), [], 'the secret may be passed to the daemon alone')
  writeFileSync(join(env.CREDENTIALS_DIRECTORY, 'store.key'), 'k'.repeat(32))
  writeFileSync(join(env.CREDENTIALS_DIRECTORY, 'cluster.secret'), 's'.repeat(32))
  t.deepEqual(linesOf(wishOf(store + cluster, env)), [])
})

test('the profiles are told of a configuration without errors alone', async t => {
  const profile = '[[profiles]]\nname = "p"\n'
  t.is((await checkConfig(wishOf(`${profile}permissions = { contnts = "read" }\n`))).profiles?.[0]?.name, 'p')
  t.is((await checkConfig(wishOf(`${profile}colour = "red"\n`))).profiles, undefined)
  t.is(examineConfig(wishOf(`${profile}colour = "red"\n`)).usable, undefined)
})

test('what is said is in the order of the file, then of the one beside it, each with its own name and line', t => {
  const wish = wishOf('\n\n[policy]\nb = 2\n')
  writeFileSync(`${wish.configFile}.features.toml`, '[x]\n')
  t.deepEqual(linesOf({ ...wish, env: { ALL_PROXY: 'socks://127.0.0.1:1080/' } }), [
    'error c:4: policy.b: there is no such key',
    'error ALL_PROXY must begin with http://, https:// or socks5://',
    'error c.features.toml:1: x: there is no such key',
  ])
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
