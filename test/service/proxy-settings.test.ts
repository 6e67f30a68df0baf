import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import test from 'ava'
import { parseProxyAddress } from '../../src/service/proxy-address.ts'
import { createExclusions } from '../../src/service/proxy-exclusions.ts'
import { createAuthority } from '../support/certificates.ts'
import { examineProxy, type ProxyKeys, proxySettingsFrom } from '../../src/service/proxy-settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'settings-'))
test.after.always(() => {
  rmSync(folder, { recursive: true })
})

const NONE: ProxyKeys = { url: undefined, exclude: [], caFile: undefined, passwordFile: undefined }
const file = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

test('without keys and environment all is direct', t => {
  t.deepEqual(proxySettingsFrom(NONE, {}), { proxy: undefined, exclude: [], ca: undefined })
})

const url = (env: NodeJS.ProcessEnv) => proxySettingsFrom(NONE, env).proxy?.toString()
const proxyAt = parseProxyAddress

test('the environment serves where no url is set', t => {
  t.is(url({ HTTPS_PROXY: 'http://a:1', ALL_PROXY: 'http://b:1', HTTP_PROXY: 'http://c:1' }), 'http://a:1')
  t.is(url({ https_proxy: 'a:1' }), 'http://a:1')
  t.is(url({ https_proxy: 'http://a:1', HTTPS_PROXY: 'http://b:1' }), 'http://a:1')
  t.is(url({ ALL_PROXY: 'socks5://b:1', HTTP_PROXY: 'http://c:1' }), 'socks5://b:1')
  t.is(url({ HTTPS_PROXY: '', http_proxy: 'http://c:1' }), 'http://c:1')
  t.is(url({ https_proxy: '', HTTPS_PROXY: 'http://a:1' }), 'http://a:1', 'an empty one says nothing')
  const NO_PROXY = { no_proxy: '', NO_PROXY: '.b.test' }
  t.deepEqual(proxySettingsFrom(NONE, { HTTPS_PROXY: 'http://a:1', ...NO_PROXY }).exclude, ['.b.test'])
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
  const own = proxySettingsFrom({ ...NONE, url: proxyAt('http://d:1'), exclude: ['c.test'] }, env)
  t.is(String(own.proxy), 'http://d:1')
  t.deepEqual(own.exclude, ['c.test'])
})

test('entries of NO_PROXY that are not understood are left aside with one warning, and stop nothing', t => {
  const NO_PROXY = '10.*,192.168.*, <local> foo*.corp "a.test";b.test,.ok.test:8443,*,10.0.0.0/99,http://u:hidden@h/'
  const { settings, faults, warnings } = examineProxy(NONE, { HTTPS_PROXY: 'http://a:1', NO_PROXY })
  t.deepEqual(faults, [])
  t.deepEqual(settings.exclude, ['.ok.test:8443', '*'])
  t.deepEqual(warnings, [
    {
      key: 'environment',
      message:
        'NO_PROXY: not used: "10.*", "192.168.*", "<local>", "foo*.corp", "\\"a.test\\";b.test", "10.0.0.0/99", an entry (not shown, as it may hold a password)',
    },
  ])
  t.deepEqual(examineProxy(NONE, { NO_PROXY }).warnings, [], 'without a proxy it means nothing')
  t.is(examineProxy({ ...NONE, url: proxyAt('http://p:1') }, { NO_PROXY }).warnings.length, 0)
  const { exclude } = proxySettingsFrom(NONE, { HTTPS_PROXY: 'http://a:1', NO_PROXY: 'corp.test:8080' })
  const isExcluded = createExclusions(exclude)
  t.true(isExcluded(new URL('https://git.corp.test:8080')), 'as Go does, a name with a port stands for all below it')
  t.false(isExcluded(new URL('https://git.corp.test')))
})

test('a password comes from its file, encoded, without byte order mark and line ends', t => {
  for (const [at, content] of ['p@ss:w/rd %41 \n', '\uFEFFp@ss:w/rd %41 \r\n\n'].entries()) {
    const keys = {
      ...NONE,
      url: proxyAt('http://robot@proxy.test:3128'),
      passwordFile: file(`password-${at}`, content),
    }
    const { proxy } = proxySettingsFrom(keys, {})
    t.is(decodeURIComponent(new URL(proxy?.reveal() ?? '').password), 'p@ss:w/rd %41 ')
    t.is(String(proxy), 'http://robot@proxy.test:3128')
  }
})

test('what cannot be used is an error of the configuration that shows no password', t => {
  const proxy = proxyAt('http://robot@proxy.test:3128')
  const wrong: [Partial<ProxyKeys>, NodeJS.ProcessEnv?][] = [
    [{}, { HTTPS_PROXY: 'http://x:hidden@a:99999' }],
    [{}, { HTTPS_PROXY: 'http://x:99/hidden@a:1' }],
    [{}, { ALL_PROXY: 'socks://hidden@127.0.0.1:1080/' }],
    [{ caFile: join(folder, 'absent') }],
    [{ url: proxy, passwordFile: join(folder, 'absent') }],
    [{ url: proxy, passwordFile: folder }],
    [{ url: proxy, passwordFile: file('empty-password', '\n') }],
    [{ url: proxyAt('http://proxy.test:3128'), passwordFile: file('hidden-password', 'hidden') }],
  ]
  for (const [keys, env = {}] of wrong) {
    const error = t.throws(() => proxySettingsFrom({ ...NONE, ...keys }, env), { code: 'configuration' })
    t.notRegex(`${error?.stack} ${inspect(error?.cause)}`, /hidden(?!-password)/)
  }
})

test('a file of certificates is read, and what of it is not used is a warning of its key', t => {
  const authority = createAuthority('Corporate CA')
  t.teardown(() => authority.remove())
  t.is(proxySettingsFrom({ ...NONE, caFile: authority.caFile }, {}).ca, authority.ca)
  const key = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'
  const caFile = file('ca-with-key.pem', authority.ca + key)
  const { settings, warnings } = examineProxy({ ...NONE, caFile }, {})
  t.is(settings.ca, authority.ca)
  t.deepEqual(warnings, [{ key: 'ca_file', message: `${caFile}: not used: PRIVATE KEY` }])
  const caught = t.throws(() => proxySettingsFrom({ ...NONE, caFile: join(folder, 'absent') }, {}))
  t.is(caught?.message, `[proxy] ca_file: ${join(folder, 'absent')} does not exist`)
})

test('a password serves a proxy of the environment as well, and of very many entries ten are shown', t => {
  const passwordFile = file('password-of-environment', 'p')
  const NO_PROXY = Array.from({ length: 13 }, (_, at) => `10.${at}.*`).join()
  const { settings, warnings } = examineProxy({ ...NONE, passwordFile }, { HTTPS_PROXY: 'http://u@a:1', NO_PROXY })
  t.is(settings.proxy?.reveal(), 'http://u:p@a:1')
  t.regex(warnings[0]?.message ?? '', /"10\.9\.\*", 3 more$/)
})

test('all faults are found at once, each with its key', t => {
  const keys = { ...NONE, caFile: join(folder, 'absent'), passwordFile: join(folder, 'absent-too') }
  const { faults } = examineProxy({ ...keys, url: proxyAt('http://u@p:1') }, {})
  t.deepEqual(
    faults.map(({ key }) => key),
    ['ca_file', 'password_file'],
  )
})
