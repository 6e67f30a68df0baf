// The table [cluster]: a single node leaves it out, and each mistake in it and in the files that it names is named; the secret is never taken from a file that others may read.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { etcdOptionsOf, secretsOf } from '../../src/service/cluster-config.ts'
import { Failure } from '../../src/protocol/errors.ts'
import { parseConfig, type Surroundings } from '../../src/service/config.ts'
import { createAuthority } from '../support/certificates.ts'
import { thrownBy } from '../support/fakes.ts'

const surroundings: Surroundings = { hostname: 'ghe.example.com', findUser: () => 1, findGroup: () => 1 }
const read = (text: string) => parseConfig(text, { file: 'c.toml', surroundings }).cluster
const complaint = (text: string): string => {
  try {
    read(text)
  } catch (error) {
    if (error instanceof Failure && error.code === 'configuration') return error.message
    throw error
  }
  return 'no complaint'
}

test('without it there is no cluster', t => {
  t.like(read(''), { name: '', endpoints: [], secret_file: '', user: '' })
})

test('the whole of it is read', t => {
  const config = read(`[cluster]
name = "ghe"
endpoints = ["https://etcd-1.example.com:2379/", "https://10.0.0.2:2379"]
ca_file = "/ca"
cert_file = "/cert"
key_file = "/key"
user = "ghconnect"
password_file = "/password"
secret_file = "/secret"`)
  t.deepEqual(config, {
    name: 'ghe',
    endpoints: ['https://etcd-1.example.com:2379', 'https://10.0.0.2:2379'],
    ca_file: '/ca',
    cert_file: '/cert',
    key_file: '/key',
    user: 'ghconnect',
    password_file: '/password',
    secret_file: '/secret',
  })
})

test('etcd on this machine is reached without TLS, and a name has 64 characters at most', t => {
  const name = 'a'.repeat(64)
  const text = (called: string): string => `[cluster]\nname = "${called}"\nendpoints = ["http://127.0.0.1:2379"]`
  t.like(read(text(name)), { name, endpoints: ['http://127.0.0.1:2379'] })
  t.regex(complaint(text(`${name}a`)), /cluster\.name: must be a name/)
  t.regex(complaint(text('../x')), /cluster\.name: must be a name/)
})

test('each mistake is named, with its line', t => {
  const table = (...lines: string[]): string =>
    ['[cluster]', 'endpoints = ["https://a:2379"]', 'name = "x"', ...lines].join('\n')
  t.regex(complaint('[cluster]\nendpoints = ["https://a:2379"]'), /^c\.toml:1: cluster\.name: must be a name/)
  t.regex(complaint('[cluster]\nname = "a b"\nendpoints = ["https://a:2379"]'), /^c\.toml:2: cluster\.name/)
  t.regex(
    complaint('[cluster]\nname = "x"\nendpoints = ["http://etcd.example.com:2379"]'),
    /:3: cluster\.endpoints: must be https, or http on loopback/,
  )
  t.regex(complaint('[cluster]\nname = "x"\nendpoints = ["https://a:2379/v3"]'), /must be https:\/\/HOST:PORT/)
  t.regex(
    complaint('[cluster]\nname = "x"\nendpoints = ["https://user@a:2379"]'),
    /must have no user, password, query or fragment/,
  )
  t.regex(
    complaint('[cluster]\nname = "x"\nendpoints = ["https://127.0.0.1:1", "http://127.0.0.1:2"]'),
    /all be https, or all http/,
  )
  // A name in another table is not that of this one.
  t.regex(complaint('[cluster]\nendpoints = ["https://a:2379"]\n[app]\nname = "x"'), /^c\.toml:1: cluster\.name/)
  t.regex(complaint(table('cert_file = "/c"', 'ca_file = "/c"')), /^c\.toml:4: cluster\.cert_file: .*belong together$/)
  t.regex(complaint(table('key_file = "/k"')), /^c\.toml:4: cluster\.key_file: .*belong together$/)
  t.regex(complaint(table('cert_file = "/c"', 'key_file = "/k"')), /ca_file/)
  t.regex(complaint(table('user = "u"')), /^c\.toml:4: cluster\.user: .*belong together$/)
  t.regex(complaint(table('password_file = "/p"')), /^c\.toml:4: cluster\.password_file: .*belong together$/)
  t.regex(complaint(table('secret = "s"')), /there is no such key/)
})

const folder = mkdtempSync(join(tmpdir(), 'cluster-settings-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

const authority = createAuthority('etcd')
test.after.always(() => authority.remove())
const issued = authority.issue('127.0.0.1')

const NONE = {
  name: 'x',
  endpoints: ['https://a:2379'],
  ca_file: '',
  cert_file: '',
  key_file: '',
  user: '',
  password_file: '',
  secret_file: '',
}
const SECRET = 'a'.repeat(64)
const write = (name: string, text: string, mode = 0o600): string => {
  const path = join(folder, name)
  writeFileSync(path, text, { mode })
  return path
}
const secretComplaint = (secret_file: string, credential?: Buffer): string | undefined =>
  thrownBy(() => secretsOf({ ...NONE, secret_file }, credential))?.message

test('one line is the secret, a second one the former, and a third the one of before', t => {
  const both = secretsOf({ ...NONE, secret_file: write('both', `${SECRET}\n${'b'.repeat(64)}\n`) }, undefined)
  t.deepEqual(both.map(String), [SECRET, 'b'.repeat(64)])
  const three = ['a', 'b', 'c'].map(letter => letter.repeat(64))
  t.deepEqual(secretsOf({ ...NONE, secret_file: write('three', three.join('\n')) }, undefined).map(String), three)
  // As an editor of another system ends its lines; and as short as may be.
  const windows = secretsOf({ ...NONE, secret_file: write('crlf', `${'a'.repeat(32)}\r\n`) }, undefined)
  t.deepEqual(windows.map(String), ['a'.repeat(32)])
})

test("systemd's credential goes before the file", t => {
  const [secret] = secretsOf({ ...NONE, secret_file: '/nowhere' }, Buffer.from(`${'c'.repeat(40)}\n`))
  t.is(String(secret), 'c'.repeat(40))
})

test('without a secret, with a short one, or one that others may read, nothing is sealed', t => {
  t.regex(secretComplaint('') ?? '', /secret_file: there is no secret; make one with `openssl rand -hex 32`/)
  t.regex(secretComplaint(write('short', `${'a'.repeat(31)}\n`)) ?? '', /at least 32 characters/)
  t.regex(secretComplaint(write('short-second', `${SECRET}\nabc\n`)) ?? '', /at least 32 characters/)
  t.regex(
    secretComplaint(write('many', `${SECRET}\n`.repeat(4))) ?? '',
    /^\[cluster\] secret_file: .*, or up to 3 while it is changed$/,
  )
  t.regex(secretComplaint(write('empty', '')) ?? '', /at least 32 characters/)
  for (const mode of [0o644, 0o640, 0o604]) {
    t.regex(secretComplaint(write(`open-${mode}`, SECRET, mode)) ?? '', /open to others; run `chmod 600`/)
  }
  t.regex(secretComplaint(join(folder, 'absent')) ?? '', /secret_file: .*absent does not exist/)
})

test('certificates and the password are read, and the password is no text', t => {
  const options = etcdOptionsOf({
    ...NONE,
    ca_file: authority.caFile,
    cert_file: write('cert', issued.cert),
    key_file: write('key', issued.key),
    user: 'u',
    password_file: write('password', '\uFEFFpass\r\n\n'),
  })
  t.deepEqual(options.tls, { ca: authority.ca, ...issued })
  t.is(options.auth?.password.reveal(), 'pass')
  t.false(JSON.stringify(options).includes('pass"'))
  t.regex(
    thrownBy(() => etcdOptionsOf({ ...NONE, ca_file: '/nowhere' }))?.message ?? '',
    /\[cluster\] ca_file: \/nowhere/,
  )
})

test('each file is explained as those of [proxy] are, by its key', t => {
  const of = (more: Partial<typeof NONE> | Record<string, string>): string =>
    thrownBy(() => etcdOptionsOf({ ...NONE, ...more }))?.message ?? ''
  t.regex(
    of({ ca_file: write('not-a-ca', 'CA') }),
    /^\[cluster\] ca_file: .*not-a-ca holds no certificate in PEM or DER$/,
  )
  t.regex(of({ ca_file: folder }), /^\[cluster\] ca_file: .* is not a file$/)
  const none = join(folder, 'none')
  t.regex(of({ cert_file: none }), /^\[cluster\] cert_file: .*none does not exist$/)
  t.regex(of({ key_file: none }), /^\[cluster\] key_file: .*none does not exist$/)
  const login = { user: 'u', password_file: none }
  t.regex(of(login), /^\[cluster\] password_file: .*none does not exist$/)
})
