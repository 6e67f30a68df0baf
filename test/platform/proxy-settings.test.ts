import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type ProxyKeys, proxySettingsFrom } from '../../src/platform/proxy-settings.ts'
import { createAuthority } from '../support/certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'settings-'))
const authority = createAuthority('Settings CA')
test.after.always(() => {
  rmSync(folder, { recursive: true })
  authority.remove()
})

const NONE: ProxyKeys = { url: undefined, exclude: [], caFile: undefined, passwordFile: undefined }
const file = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

test('without keys and environment all is direct', t => {
  t.deepEqual(proxySettingsFrom(NONE, {}), { url: undefined, exclude: [], ca: undefined })
})

const url = (env: NodeJS.ProcessEnv) => proxySettingsFrom(NONE, env).url

test('the environment serves where no url is set', t => {
  t.is(url({ HTTPS_PROXY: 'http://a:1', ALL_PROXY: 'http://b:1', HTTP_PROXY: 'http://c:1' }), 'http://a:1/')
  t.is(url({ https_proxy: 'a:1' }), 'http://a:1/')
  t.is(url({ ALL_PROXY: 'socks5://b:1', HTTP_PROXY: 'http://c:1' }), 'socks5://b:1')
  t.is(url({ HTTPS_PROXY: '', http_proxy: 'http://c:1' }), 'http://c:1/')
})

test('NO_PROXY counts with a proxy of the environment only, and its names stand for all below them', t => {
  const env = { HTTPS_PROXY: 'http://a:1', NO_PROXY: 'localhost, .b.test,10.0.0.0/8 ::1' }
  t.deepEqual(proxySettingsFrom({ ...NONE, exclude: ['c.test'] }, env).exclude, [
    'c.test',
    '.localhost',
    '.b.test',
    '10.0.0.0/8',
    '::1',
  ])
  t.deepEqual(proxySettingsFrom({ ...NONE, url: 'http://d:1', exclude: ['c.test'] }, env), {
    url: 'http://d:1/',
    exclude: ['c.test'],
    ca: undefined,
  })
})

test('a password comes from its file, encoded, without the line feed at its end', t => {
  const keys = { ...NONE, url: 'http://robot@proxy.test:3128', passwordFile: file('password', 'p@ss:w/rd %41 \n') }
  const settings = proxySettingsFrom(keys, {})
  t.is(decodeURIComponent(new URL(settings.url ?? '').password), 'p@ss:w/rd %41 ')
})

test('a file of certificates gives them all, and only them', t => {
  const caFile = file('ca.pem', `# Corporate\n${authority.ca}\r\nnonsense\n${authority.ca}`)
  t.is(proxySettingsFrom({ ...NONE, caFile }, {}).ca, authority.ca + authority.ca)
})

test('what cannot be used is an error of the configuration that shows no password', t => {
  const proxy = 'http://robot@proxy.test:3128'
  const damaged = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
  const wrong: [Partial<ProxyKeys>, NodeJS.ProcessEnv?][] = [
    [{ url: 'ftp://x:hidden@a' }],
    [{ url: 'http://x:hidden%zz@a:1' }],
    [{ url: 'http://x:hidden@' }],
    [{}, { HTTPS_PROXY: 'http://x:hidden@a:99999' }],
    [{}, { HTTPS_PROXY: 'http://a:1', NO_PROXY: '10.0.0.0/99' }],
    [{ exclude: ['a b'] }],
    [{ caFile: join(folder, 'absent') }],
    [{ caFile: file('empty.pem', '') }],
    [{ caFile: file('damaged.pem', damaged) }],
    [{ url: proxy, passwordFile: join(folder, 'absent') }],
    [{ url: proxy, passwordFile: file('empty-password', '\n') }],
    [{ url: 'http://proxy.test:3128', passwordFile: file('hidden-password', 'hidden') }],
  ]
  for (const [keys, env = {}] of wrong) {
    const error = t.throws(() => proxySettingsFrom({ ...NONE, ...keys }, env), { code: 'configuration' })
    t.false(`${error?.stack} ${JSON.stringify(error?.cause ?? '')}`.includes('hidden@'))
    t.false(error?.message.includes('hidden@'), error?.message)
  }
})
