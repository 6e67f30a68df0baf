// The debug bundle: secrets are planted wherever they could be met, and none of them leaves.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { debugBundle } from '../../src/core/debug-bundle.ts'

const URL_PASSWORD = 'hunter2 @proxy'
const FILE_PASSWORD = 'correct"horse'
const ETCD_PASSWORD = 'battery/staple'
const CLUSTER_SECRET = 'all nodes of the cluster know this one'
const ENV_PASSWORD = 'of-the-environment'
const STORE_KEY = Buffer.alloc(32, 0xab)
const TOKEN = `ghs_${'A1b2'.repeat(9)}`
const PEM = ['-----BEGIN RSA', 'PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA', 'PRIVATE KEY-----'].join(' ')
const IDENTITY = `AGE-SECRET-KEY-1${'QPZRY9X8'.repeat(7)}GF`
const LINK = '0123456789abcdef'.repeat(2)
const SESSION = 'Zm9vYmFyYmF6'.repeat(4).slice(0, 43)

const SECRETS = [
  URL_PASSWORD,
  encodeURIComponent(URL_PASSWORD),
  Buffer.from(`user:${URL_PASSWORD}`).toString('base64'),
  FILE_PASSWORD,
  ETCD_PASSWORD,
  CLUSTER_SECRET,
  ENV_PASSWORD,
  STORE_KEY.toString('hex'),
  STORE_KEY.toString('base64'),
  TOKEN,
  'MIIEpAIBAAKCAQEA',
  IDENTITY,
  LINK,
  SESSION,
]

const unpack = (bytes: Uint8Array): Record<string, string> => {
  const folder = mkdtempSync(join(tmpdir(), 'debug-'))
  try {
    const names = execFileSync('tar', ['xzvf', '-', '-C', folder], { input: bytes, encoding: 'utf8' })
      .trim()
      .split('\n')
    return Object.fromEntries(
      names.map(name => [name, execFileSync('cat', [join(folder, name)], { encoding: 'utf8' })]),
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const sceneOf = (t: ExecutionContext, proxyUrl: string): string => {
  const folder = mkdtempSync(join(tmpdir(), 'debug-config-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const put = (name: string, content: string | Buffer): string => {
    writeFileSync(join(folder, name), content, { mode: 0o600 })
    return join(folder, name)
  }
  mkdirSync(join(folder, 'state'))
  writeFileSync(join(folder, 'state', TOKEN.slice(0, 3)), TOKEN)
  return put(
    'config.toml',
    `# ${IDENTITY}
[paths]
state = "${join(folder, 'state')}"
runtime = "${folder}"
[store]
key_file = "${put('store.key', STORE_KEY)}"
[proxy]
url = "${proxyUrl}"
password_file = "${put('proxy.password', `${FILE_PASSWORD}\n`)}"
[cluster]
name = "c"
endpoints = ["http://127.0.0.1:1"]
user = "root"
password_file = "${put('etcd.password', ETCD_PASSWORD)}"
secret_file = "${put('cluster.secret', CLUSTER_SECRET)}"
`,
  )
}

/** Each secret as plain text, in JSON, and in an address. */
/** A part of a private key is known by what is around it, and so are a link and a session. */
const PARTS = new Set(['MIIEpAIBAAKCAQEA', LINK, SESSION])
const WHOLE = SECRETS.filter(secret => !PARTS.has(secret))

const planted = [
  ...WHOLE.map(secret => `said ${secret} aloud`),
  ...WHOLE.map(secret => JSON.stringify({ secret })),
  `http://user:${ETCD_PASSWORD}@host/ Proxy-Authorization: Basic anything`,
  `http://127.0.0.1:8470/#${LINK} http://127.0.0.1:8470/s/${LINK}/ cookie: session=${SESSION}`,
  PEM,
].join('\n')
for (const [what, url] of [
  ['with a usable configuration', `http://user:${encodeURIComponent(URL_PASSWORD)}@proxy:3128`],
  ['with a configuration that the daemon refuses', `ftp://user:${encodeURIComponent(URL_PASSWORD)}@proxy:3128`],
] as const) {
  test(`no secret leaves ${what}, and what helps does`, t => {
    const configFile = sceneOf(t, url)
    const env = { HTTPS_PROXY: `http://user:${ENV_PASSWORD}@other:3128` }
    // What a daemon that knows no secret of a configuration could not have said is left out where it is refused.
    const said = url.startsWith('http:') ? planted : planted.replaceAll(/^.*(?:hunter2|dXNlcjpo).*$/gm, '')
    const bytes = debugBundle({ configFile, env, answers: { status: { said }, check: {} }, readJournal: () => said })
    const files = unpack(bytes)
    t.deepEqual(
      Object.keys(files).map(name => name.replace('ghconnect-debug/', '')),
      ['versions.json', 'status.json', 'check.json', 'configuration.json', 'sizes.json', 'journal.txt'],
    )
    const all = Object.values(files).join('\n')
    for (const secret of SECRETS) {
      t.false(all.includes(secret), secret)
      t.false(all.includes(JSON.stringify(secret).slice(1, -1)), secret)
    }
    t.true(all.includes('said [secret] aloud'))
    t.true(all.includes('password_file = '), 'the configuration can be read')
    t.regex(files['ghconnect-debug/versions.json'] ?? '', /"node": "\d+/)
    t.regex(files['ghconnect-debug/sizes.json'] ?? '', /"size": 40,\n +"mode": "644"/)
  })
}

test('what cannot be had says so in its file', t => {
  const readJournal = (): string => {
    throw new Error('no journal here')
  }
  const files = unpack(debugBundle({ configFile: '/nonexistent/config.toml', env: {}, answers: {}, readJournal }))
  t.regex(files['ghconnect-debug/configuration.json'] ?? '', /"error": ".*\/nonexistent\/config\.toml/)
  t.regex(files['ghconnect-debug/journal.txt'] ?? '', /no journal here/)
  t.regex(files['ghconnect-debug/sizes.json'] ?? '', /not known/)
})
