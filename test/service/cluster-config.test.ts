// The table [cluster]: a single node leaves it out, and each mistake in it is named.

import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { parseConfig, type Surroundings } from '../../src/service/config.ts'

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
  t.like(read(''), { name: '', endpoints: [], secretFile: undefined, user: undefined })
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
    caFile: '/ca',
    certFile: '/cert',
    keyFile: '/key',
    user: 'ghconnect',
    passwordFile: '/password',
    secretFile: '/secret',
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
