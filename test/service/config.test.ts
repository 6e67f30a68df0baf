// The configuration: every key optional, every mistake named with file, line and key.

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { DEFAULT_CONFIG_FILE, loadConfig, parseConfig, type Surroundings } from '../../src/service/config.ts'
import { Failure } from '../../src/protocol/errors.ts'

const surroundings: Surroundings = {
  hostname: 'ghe.example.com',
  findUser: name => ({ git: 998, root: 0 })[name],
  findGroup: name => ({ ci: 2_000 })[name],
}
const read = (text: string) => parseConfig(text, { file: 'c.toml', surroundings })
const complaint = (text: string): string => {
  try {
    read(text)
  } catch (error) {
    if (error instanceof Failure && error.code === 'configuration') return error.message
    throw error
  }
  return 'no complaint'
}

test('an empty file is a whole configuration', t => {
  t.like(read(''), {
    file: 'c.toml',
    appliance: { hostname: 'ghe.example.com', url: 'https://ghe.example.com' },
    github: {
      url: 'https://github.com',
      apiUrl: 'https://api.github.com',
      apiVersion: '2026-03-10',
      statelessTokens: 'default',
    },
    app: { name: 'ghe-example-com', permissions: { metadata: 'read' } },
    paths: { state: '/var/lib/ghconnectd', runtime: '/run/ghconnectd' },
    store: { keyFile: undefined },
    snapshot: { recipients: [], trusted: [], includeToken: true },
    features: [],
    proxy: { url: undefined, exclude: [], caFile: undefined, passwordFile: undefined },
    refresh: { schedule: '*/5 * * * *', beforeExpiryMs: 40 * 60_000, settleMs: 30_000 },
    web: { listen: { host: '127.0.0.1', port: 8470 }, publicUrl: 'http://127.0.0.1:8470', frontUid: undefined },
    audit: { maxBytes: 1024 ** 3 },
    policy: { weakPid: false, profiles: [] },
    sinks: [],
  })
})

test('the size of the audit log is given in MiB or GiB', t => {
  t.is(read('[audit]\nmax_size = "64MiB"').audit.maxBytes, 64 * 1024 ** 2)
  t.is(read('[audit]\nmax_size = "20GiB"').audit.maxBytes, 20 * 1024 ** 3)
})

test('the example of the contract is read', t => {
  const config = read(`
[github]
url = "https://octo.ghe.com/"
api_url = "https://api.octo.ghe.com/"
[web]
listen = "unix:/run/ghconnectd/web.sock"
public_url = "https://ghe.example.com:8443/"
front_user = "git"
[[profiles]]
name = "actions"
installation = "octo-org"
repositories = ["a", "infra-*"]
permissions = { contents = "read" }
allow = { users = ["git"], groups = ["ci"], units = ["actions-sync.service", "runner@.service"] }
[[sinks]]
name = "actions"
profile = "actions"
path = "/run/actions/token"
mode = "0640"
`)
  t.is(config.github.url, 'https://octo.ghe.com')
  t.is(config.github.apiUrl, 'https://api.octo.ghe.com')
  t.deepEqual(config.web, {
    listen: { path: '/run/ghconnectd/web.sock' },
    publicUrl: 'https://ghe.example.com:8443',
    frontUid: 998,
  })
  t.deepEqual(config.policy.profiles, [
    {
      name: 'actions',
      installation: 'octo-org',
      repositories: ['a', 'infra-*'],
      permissions: { contents: 'read' },
      allow: {
        users: [{ name: 'git', id: 998 }],
        groups: [{ name: 'ci', id: 2_000 }],
        units: ['actions-sync.service', 'runner@.service'],
      },
    },
  ])
  t.is(config.sinks[0]?.mode, 0o640)
  t.is(config.sinks[0]?.format, 'token')
})

test('each key arrives under its own name', t => {
  const recipient = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p'
  const signer = `ghconnect-signer:${'A'.repeat(43)}`
  const { proxy, policy, cluster, ...config } = read(`
[appliance]
hostname = "git.example.com"
url = "https://git.example.com:8443"
[github]
api_version = "2022-11-28"
stateless_tokens = "disabled"
[app]
permissions = { contents = "write" }
[paths]
state = "/s"
runtime = "/r"
[store]
key_file = "/k"
[proxy]
url = "http://robot@proxy:3128"
exclude = [".internal", "10.0.0.0/8"]
ca_file = "/ca"
password_file = "/password"
[refresh]
schedule = "*/7 * * * *"
before_expiry = "21m"
settle = "10m"
[snapshot]
recipients = ["${recipient}"]
trusted = ["${signer}"]
include_token = false
[audit]
max_size = "65MiB"
[web]
listen = "[::1]:65535"
public_url = "https://git.example.com:9443//"
[policy]
weak_pid = true
[features]
server-statistics = true
[[profiles]]
name = "p"
installation = 7
[[sinks]]
name = "n"
profile = "server-statistics"
path = "/run/n"
format = "netrc"
`)
  t.deepEqual(
    { ...proxy, url: String(proxy.url) },
    {
      url: 'http://robot@proxy:3128',
      exclude: ['.internal', '10.0.0.0/8'],
      caFile: '/ca',
      passwordFile: '/password',
    },
  )
  t.like(policy, {
    weakPid: true,
    profiles: [
      { name: 'p', installation: 7, allow: { users: [], groups: [], units: [] } },
      { name: 'server-statistics' },
    ],
  })
  t.deepEqual(cluster.endpoints, [])
  t.deepEqual(config, {
    file: 'c.toml',
    appliance: { hostname: 'git.example.com', url: 'https://git.example.com:8443' },
    github: {
      url: 'https://github.com',
      apiUrl: 'https://api.github.com',
      apiVersion: '2022-11-28',
      statelessTokens: 'disabled',
    },
    app: { name: 'git-example-com', permissions: { contents: 'write' } },
    paths: { state: '/s', runtime: '/r' },
    store: { keyFile: '/k' },
    refresh: { schedule: '*/7 * * * *', beforeExpiryMs: 21 * 60_000, settleMs: 10 * 60_000 },
    snapshot: { recipients: [recipient], trusted: [signer], includeToken: false },
    audit: { maxBytes: 65 * 1024 ** 2 },
    web: { listen: { host: '::1', port: 65_535 }, publicUrl: 'https://git.example.com:9443', frontUid: undefined },
    features: [{ name: 'server-statistics', file: 'c.toml' }],
    // For the owner alone, unless it says otherwise.
    sinks: [{ name: 'n', profile: 'server-statistics', path: '/run/n', mode: 0o600, format: 'netrc' }],
  })
})

test('an unknown key, a wrong type and a wrong value name file, line and key', t => {
  const wrong: [string, RegExp][] = [
    [
      '[refresh]\n\nbefore_expire = "20m"',
      /^c\.toml:3: refresh\.before_expire: there is no such key; did you mean before_expiry\?$/,
    ],
    ['\n[refrehs]\nschedule = "* * * * *"', /^c\.toml:2: refrehs: there is no such key; did you mean refresh\?$/],
    ['colour = "red"', /^c\.toml:1: colour: there is no such key$/],
    ['[audit]\nmax_size = "63MiB"', /^c\.toml:2: audit\.max_size: must be a size of 64MiB or more/],
    ['[audit]\nmax_size = "1GB"', /^c\.toml:2: audit\.max_size: must be a size/],
    ['[audit]\nmax_size = 1073741824', /^c\.toml:2: audit\.max_size: /],
    ['[policy]\nweak_pid = "yes"', /^c\.toml:2: policy\.weak_pid: /],
    ['[proxy]\nexclude = "internal"', /^c\.toml:2: proxy\.exclude: /],
    ['[proxy]\nurl = "ftp://proxy:21"', /^c\.toml:2: proxy\.url: must begin with http/],
    ['[proxy]\nurl = "proxy:3128"', /^c\.toml:2: proxy\.url: has no scheme/],
    ['[github]\n# here\napi_url = "api.github.com"', /^c\.toml:3: github\.api_url: must be an http/],
    ['[github]\nstateless_tokens = "yes"', /^c\.toml:2: github\.stateless_tokens: /],
    ['[github]\nurl = "http://octo.ghe.com"', /^c\.toml:2: github\.url: must be https, or http on loopback$/],
    ['[github]\napi_url = "http://api.ghe.com"', /^c\.toml:2: github\.api_url: must be https, or http on loopback$/],
    ['[github]\napi_version = "latest"', /^c\.toml:2: github\.api_version: must be a date/],
    ['[appliance]\nurl = "https://u:p@ghe.example.com"', /^c\.toml:2: appliance\.url: must have no user, password/],
    ['"a(b" = 1', /^c\.toml:1: a\(b: there is no such key$/],
    ['[snapshot]\nrecipients = ["AGE-SECRET-KEY-1"]', /^c\.toml:2: snapshot\.recipients\.0: must be an age recipient/],
    ['[snapshot]\ntrusted = ["me"]', /^c\.toml:2: snapshot\.trusted\.0: must be a signer/],
    ['[paths]\nstate = "var/lib"', /^c\.toml:2: paths\.state: /],
    ['[refresh]\nschedule = "every day"', /^c\.toml:2: refresh\.schedule: is not a cron/],
    ['[web]\nlisten = "8470"', /^c\.toml:2: web\.listen: must be ADDRESS:PORT/],
    ['[web]\nlisten = "127.0.0.1:65536"', /^c\.toml:2: web\.listen: /],
    ['[web]\nlisten = "unix:web.sock"', /^c\.toml:2: web\.listen: must be ADDRESS:PORT or unix:/],
    ['[web]\nlisten = "unix:/run/w.sock"', /^c\.toml:2: web\.listen: is a unix socket, so \[web\] public_url/],
    ['[web]\npublic_url = "https://ghe.example.com/x"', /^c\.toml:2: web\.public_url: must have no path/],
    ['[web]\nfront_user = "git"', /^c\.toml:2: web\.front_user: needs a unix socket in listen/],
    [
      '[web]\nlisten = "unix:/run/w.sock"\npublic_url = "https://ghe.example.com"\nfront_user = "gti"',
      /^c\.toml:4: web\.front_user: there is no such name: gti/,
    ],
    ['[app]\nname = "a-name-of-more-than-thirty-four-letters"', /^c\.toml:2: app\.name: /],
    ['[app]\npermissions = { contents = "all" }', /^c\.toml:2: app\.permissions\.contents: /],
    ['[app.permissions]\ncontents = "all"', /^c\.toml(:\d)?: app\.permissions\.contents: /],
    [
      '[[profiles]]\nname = "a"\n[[profiles]]\nname = "b"\nrepositories = []',
      /^c\.toml:5: profiles\.1\.repositories: /,
    ],
    ['[[profiles]]\nname = "a"\nrepositories = ["octo/web"]', /^c\.toml:3: profiles\.0\.repositories\.0: .*without/],
    ['[[profiles]]\nrepositories = ["web"]', /^c\.toml:1: profiles\.0\.name: /],
    [
      '[[profiles]]\nname = "a"\npermissions = {}',
      /^c\.toml:3: profiles\.0\.permissions: must not be empty \(profile a\)$/,
    ],
    ['[[profiles]]\nname = "a"\npermissions = { Contents = "read" }', /^c\.toml:3: .*are spelt with a-z/],
    ['[[profiles]]\nname = "a"\ninstallation = 0', /^c\.toml:3: profiles\.0\.installation: /],
    ['[[profiles]]\nname = ""', /^c\.toml:2: profiles\.0\.name: /],
    [
      '[[profiles]]\nname = "a"\nallow = { user = ["git"] }',
      /^c\.toml:3: profiles\.0\.allow\.user: there is no such key/,
    ],
    [
      '[[profiles]]\nname = "a"\nallow = { units = ["cron"] }',
      /^c\.toml:3: profiles\.0\.allow\.units\.0: must be the full/,
    ],
    ['[[sinks]]\nname = "a"\nprofile = "p"\npath = "/x"', /^c\.toml:3: sinks\.0\.profile: there is no such profile/],
    [
      '[[profiles]]\nname = "p"\n[[sinks]]\nname = "a"\nprofile = "p"\npath = "/x"\nmode = 600',
      /^c\.toml:7: sinks\.0\.mode: /,
    ],
    [
      '[[profiles]]\nname = "p"\n[[sinks]]\nname = "a"\nprofile = "p"\npath = "/x"\nmode = "0999"',
      /^c\.toml:7: sinks\.0\.mode: must be an octal/,
    ],
    // Neither of another's rights, nor below the folder that the daemon happens to be in.
    [
      '[[profiles]]\nname = "p"\n[[sinks]]\nname = "a"\nprofile = "p"\npath = "x"\nmode = "4755"',
      /^c\.toml:6: sinks\.0\.path: must be an absolute path \(sink a\); .*c\.toml:7: sinks\.0\.mode: must be an octal/,
    ],
  ]
  for (const [text, expected] of wrong) t.regex(complaint(text), expected, text)
})

test('what is no TOML names its line', t => {
  t.regex(complaint('[web]\nlisten = \n'), /^c\.toml:2: /)
  t.regex(complaint('[web\n'), /^c\.toml:1: /)
  t.regex(complaint('a = 1\na = 2\n'), /^c\.toml:2: /)
})

test('a user or group that does not exist is an error, not somebody else', t => {
  const profile = (allow: string) => `[[profiles]]\nname = "a"\nallow = { ${allow} }`
  t.regex(complaint(profile('users = ["git", "gti"]')), /^c\.toml:3: profiles\.0\.allow\.users\.1: .*gti/)
  t.regex(complaint(profile('groups = ["git"]')), /^c\.toml:3: profiles\.0\.allow\.groups\.0: .*git/)
  t.is(read(profile('users = ["root"]')).policy.profiles[0]?.allow.users[0]?.id, 0)
})

test('a profile that stands twice is an error at the second', t => {
  t.regex(
    complaint('[[profiles]]\nname = "a"\n[[profiles]]\nname = "b"\n[[profiles]]\nname = "a"\n'),
    /^c\.toml:6: profiles\.2\.name: stands twice/,
  )
})

test('times are whole numbers of seconds, minutes or hours, within their bounds', t => {
  const before = (text: string) => read(`[refresh]\nbefore_expiry = "${text}"`).refresh.beforeExpiryMs
  t.is(before('90s'), 90_000)
  t.is(before('20m'), 20 * 60_000)
  t.is(before('55m'), 55 * 60_000)
  t.is(read('[refresh]\nsettle = "0s"').refresh.settleMs, 0)
  for (const text of ['20', '20 m', '-1m', '1.5m', '59s', '56m', '1h', '20M', '', '1e3s', '999999m']) {
    t.regex(
      complaint(`[refresh]\nbefore_expiry = "${text}"`),
      /^c\.toml:2: refresh\.before_expiry: must be a time/,
      text,
    )
  }
  t.regex(complaint('[refresh]\nbefore_expiry = 20'), /^c\.toml:2: refresh\.before_expiry: /)
  t.regex(complaint('[refresh]\nsettle = "11m"'), /^c\.toml:2: refresh\.settle: /)
})

test('the page is reached by https, or by http on loopback', t => {
  for (const url of [
    'https://ghe.example.com',
    'http://127.0.0.1:9',
    'http://127.9.9.9',
    'http://[::1]:8470',
    'http://localhost:8470',
  ]) {
    t.is(read(`[web]\npublic_url = "${url}"`).web.publicUrl, url)
  }
  for (const url of [
    'http://ghe.example.com',
    'http://127.0.0.1.example.com',
    'http://localhost.example.com',
    'ftp://x',
    'ghe',
    'javascript:alert(1)',
    'https://u:p@ghe.example.com',
    'https://ghe.example.com?a',
    'https://ghe.example.com#a',
  ]) {
    t.regex(complaint(`[web]\npublic_url = "${url}"`), /^c\.toml:2: web\.public_url: must be https/, url)
  }
  t.regex(complaint('[web]\nlisten = "0.0.0.0:8470"'), /web\.public_url: must be https/)
  t.is(read('[web]\nlisten = "[::1]:8470"').web.publicUrl, 'http://[::1]:8470')
})

test('of very many mistakes the first are told, and how many there are more', t => {
  const keys = (count: number): string => Array.from({ length: count }, (_, at) => `x${at} = 1`).join('\n')
  t.regex(complaint(keys(23)), /; c\.toml:20: x19: there is no such key; and 3 more$/)
  t.regex(complaint(keys(20)), /; c\.toml:20: x19: there is no such key$/)
})

test('a snapshot is for at most 20 recipients', t => {
  const recipient = '"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"'
  const text = (count: number): string => `[snapshot]\nrecipients = [${Array(count).fill(recipient).join(', ')}]`
  t.is(read(text(20)).snapshot.recipients.length, 20)
  t.regex(complaint(text(21)), /^c\.toml:2: snapshot\.recipients: are too many: 20 at most$/)
})

test('a file that cannot be read is an error', t => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-config-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const error = t.throws(() => loadConfig(join(folder, 'absent.toml'), surroundings), { instanceOf: Failure })
  t.is(error?.code, 'configuration')
  t.is(error?.message, `${join(folder, 'absent.toml')} does not exist`)
  // The one that the package may do without.
  if (!existsSync(DEFAULT_CONFIG_FILE)) t.is(loadConfig(DEFAULT_CONFIG_FILE, surroundings).app.name, 'ghe-example-com')
  t.is(t.throws(() => loadConfig(folder, surroundings), { instanceOf: Failure })?.code, 'configuration')
  writeFileSync(join(folder, 'config.toml'), '[app]\nname = "mine"\n')
  t.is(loadConfig(join(folder, 'config.toml'), surroundings).app.name, 'mine')
  // Beside one that can.
  mkdirSync(join(folder, 'config.features.toml'))
  const beside = t.throws(() => loadConfig(join(folder, 'config.toml'), surroundings), { instanceOf: Failure })
  t.true(beside?.message.includes('config.features.toml'))
})

test('whatever the file says, it is a configuration or a complaint', t => {
  const key = fc.constantFrom(
    'web',
    'listen',
    'profiles',
    'name',
    'proxy',
    'allow',
    'users',
    '__proto__',
    'constructor',
    'x',
  )
  const value = fc.constantFrom('"a"', '1', 'true', '[]', '{}', '["git"]', '{ users = ["git"] }', '"127.0.0.1:1"')
  const line = fc.oneof(
    key.map(one => `[${one}]`),
    key.map(one => `[[${one}]]`),
    fc.tuple(key, value).map(([one, is]) => `${one} = ${is}`),
    fc.string({ maxLength: 12 }),
  )
  let complaints = 0
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), lines => {
      const said = complaint(lines.join('\n'))
      if (said !== 'no complaint') complaints += 1
      return said === 'no complaint' || said.startsWith('c.toml')
    }),
    { numRuns: 2_000 },
  )
  t.true(complaints > 1_000)
})
