// The files that [cluster] names: the secret is never taken from a file that others may read, and a mistake names its key.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { etcdOptionsOf, secretsOf } from '../../src/service/cluster-files.ts'
import { createAuthority } from '../support/certificates.ts'
import { thrownBy } from '../support/fakes.ts'

const folder = mkdtempSync(join(tmpdir(), 'cluster-settings-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

const authority = createAuthority('etcd')
test.after.always(() => authority.remove())
const issued = authority.issue('127.0.0.1')

const NONE = {
  name: 'x',
  endpoints: ['https://a:2379'],
  caFile: undefined,
  certFile: undefined,
  keyFile: undefined,
  user: undefined,
  passwordFile: undefined,
  secretFile: undefined,
}
const SECRET = 'a'.repeat(64)
const write = (name: string, text: string, mode = 0o600): string => {
  const path = join(folder, name)
  writeFileSync(path, text, { mode })
  return path
}
const complaint = (secretFile: string | undefined, credential?: Buffer): string | undefined =>
  thrownBy(() => secretsOf({ ...NONE, secretFile }, credential))?.message

test('one line is the secret, a second one the former, and a third the one of before', t => {
  const both = secretsOf({ ...NONE, secretFile: write('both', `${SECRET}\n${'b'.repeat(64)}\n`) }, undefined)
  t.deepEqual(both.map(String), [SECRET, 'b'.repeat(64)])
  const three = ['a', 'b', 'c'].map(letter => letter.repeat(64))
  t.deepEqual(secretsOf({ ...NONE, secretFile: write('three', three.join('\n')) }, undefined).map(String), three)
  // As an editor of another system ends its lines; and as short as may be.
  const windows = secretsOf({ ...NONE, secretFile: write('crlf', `${'a'.repeat(32)}\r\n`) }, undefined)
  t.deepEqual(windows.map(String), ['a'.repeat(32)])
})

test("systemd's credential goes before the file", t => {
  const [secret] = secretsOf({ ...NONE, secretFile: '/nowhere' }, Buffer.from(`${'c'.repeat(40)}\n`))
  t.is(String(secret), 'c'.repeat(40))
})

test('without a secret, with a short one, or one that others may read, nothing is sealed', t => {
  t.regex(complaint(undefined) ?? '', /secret_file: there is no secret; make one with `openssl rand -hex 32`/)
  t.regex(complaint(write('short', `${'a'.repeat(31)}\n`)) ?? '', /at least 32 characters/)
  t.regex(complaint(write('short-second', `${SECRET}\nabc\n`)) ?? '', /at least 32 characters/)
  t.regex(
    complaint(write('many', `${SECRET}\n`.repeat(4))) ?? '',
    /^\[cluster\] secret_file: .*, or up to 3 while it is changed$/,
  )
  t.regex(complaint(write('empty', '')) ?? '', /at least 32 characters/)
  for (const mode of [0o644, 0o640, 0o604]) {
    t.regex(complaint(write(`open-${mode}`, SECRET, mode)) ?? '', /open to others; run `chmod 600`/)
  }
  t.regex(complaint(join(folder, 'absent')) ?? '', /secret_file: .*absent does not exist/)
})

test('certificates and the password are read, and the password is no text', t => {
  const options = etcdOptionsOf({
    ...NONE,
    caFile: authority.caFile,
    certFile: write('cert', issued.cert),
    keyFile: write('key', issued.key),
    user: 'u',
    passwordFile: write('password', '\uFEFFpass\r\n\n'),
  })
  t.deepEqual(options.tls, { ca: authority.ca, ...issued })
  t.is(options.auth?.password.reveal(), 'pass')
  t.false(JSON.stringify(options).includes('pass"'))
  t.regex(
    thrownBy(() => etcdOptionsOf({ ...NONE, caFile: '/nowhere' }))?.message ?? '',
    /\[cluster\] ca_file: \/nowhere/,
  )
})

test('each file is explained as those of [proxy] are, by its key', t => {
  const of = (more: Partial<typeof NONE> | Record<string, string>): string =>
    thrownBy(() => etcdOptionsOf({ ...NONE, ...more }))?.message ?? ''
  t.regex(
    of({ caFile: write('not-a-ca', 'CA') }),
    /^\[cluster\] ca_file: .*not-a-ca holds no certificate in PEM or DER$/,
  )
  t.regex(of({ caFile: folder }), /^\[cluster\] ca_file: .* is not a file$/)
  const none = join(folder, 'none')
  t.regex(of({ certFile: none }), /^\[cluster\] cert_file: .*none does not exist$/)
  t.regex(of({ keyFile: none }), /^\[cluster\] key_file: .*none does not exist$/)
  const login = { user: 'u', passwordFile: none }
  t.regex(of(login), /^\[cluster\] password_file: .*none does not exist$/)
})
