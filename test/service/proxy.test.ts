// The web proxy: addresses are read as curl reads them or refused, and never printed with a password.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import test from 'ava'
import * as fc from 'fast-check'
import { asFailure } from '../../src/protocol/errors.ts'
import {
  createExclusions,
  examineProxy,
  parseProxyAddress,
  type ProxyKeys,
  proxySettingsFrom,
} from '../../src/service/proxy.ts'
import { createAuthority } from '../support/certificates.ts'

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

const proxyUrl = (env: NodeJS.ProcessEnv) => proxySettingsFrom(NONE, env).proxy?.toString()
const proxyAt = parseProxyAddress

test('the environment serves where no url is set', t => {
  t.is(proxyUrl({ HTTPS_PROXY: 'http://a:1', ALL_PROXY: 'http://b:1', HTTP_PROXY: 'http://c:1' }), 'http://a:1')
  t.is(proxyUrl({ https_proxy: 'a:1' }), 'http://a:1')
  t.is(proxyUrl({ https_proxy: 'http://a:1', HTTPS_PROXY: 'http://b:1' }), 'http://a:1')
  t.is(proxyUrl({ ALL_PROXY: 'socks5://b:1', HTTP_PROXY: 'http://c:1' }), 'socks5://b:1')
  t.is(proxyUrl({ HTTPS_PROXY: '', http_proxy: 'http://c:1' }), 'http://c:1')
  t.is(proxyUrl({ https_proxy: '', HTTPS_PROXY: 'http://a:1' }), 'http://a:1', 'an empty one says nothing')
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

test('an address is read into its parts, and printed without the password', t => {
  const cases = [
    ['http://proxy', '', '', 'http://proxy'],
    ['HTTP://Proxy.Test:3128/', '', '', 'http://proxy.test:3128'],
    ['https://u:p@[::1]:8080', 'u', 'p', 'https://u@[::1]:8080'],
    ['socks5://u:p@proxy', 'u', 'p', 'socks5://u@proxy'],
    ['socks5h://proxy:1080', '', '', 'socks5://proxy:1080'],
    // A domain's user, with the backslash as curl takes it, and encoded.
    ['http://CORP\\jdoe:S3cret@proxy:3128', 'CORP\\jdoe', 'S3cret', 'http://CORP%5Cjdoe@proxy:3128'],
    ['http://CORP%5Cjdoe:S3cret@proxy:3128', 'CORP\\jdoe', 'S3cret', 'http://CORP%5Cjdoe@proxy:3128'],
    // The last @ ends user and password.
    ['http://jdoe@corp:p@ss:w@proxy:1', 'jdoe@corp', 'p@ss:w', 'http://jdoe%40corp@proxy:1'],
    ['http://u:%2F%23%3F%25@proxy:1', 'u', '/#?%', 'http://u@proxy:1'],
  ] as const
  for (const [text, user, password, shown] of cases) {
    const address = parseProxyAddress(text)
    t.is(address.user, user, text)
    t.is(String(address), shown)
    t.is(JSON.stringify({ address }), JSON.stringify({ address: shown }))
    t.is(inspect({ address }, { showHidden: true }), `{ address: ${shown} }`)
    const revealed = new URL(address.reveal())
    t.is(decodeURIComponent(revealed.username), user)
    t.is(decodeURIComponent(revealed.password), password)
    t.is(address.hasPassword, password !== '')
    // The proxy resolves names, whichever of its schemes was written.
    const { protocol, host } = new URL(shown)
    t.deepEqual([revealed.protocol, revealed.host], [protocol.replace('socks5:', 'socks5h:'), host])
  }
  t.is(parseProxyAddress('http://proxy:03128').reveal(), 'http://proxy:3128')
})

test('a text without a scheme is an address only where it comes from the environment', t => {
  t.is(
    String(parseProxyAddress('CORP\\jdoe:S3cret@proxy:3128', { defaultScheme: 'http' })),
    'http://CORP%5Cjdoe@proxy:3128',
  )
  t.throws(() => parseProxyAddress('u:S3cret@proxy:3128'), { message: /has no scheme: begin it with http:\/\// })
})

test('what is not an address of a proxy is refused with what to write in its place', t => {
  const cases = [
    ['http://jdoe:99/S3cret@proxy:3128', 'write %2F for it'],
    ['http://u:pa#ss@p:1', 'write %23 for it'],
    ['http://u:pa?ss@p:1', 'write %3F for it'],
    ['http://u:pa%zz@p:1', 'write %25 for it'],
    ['http://CORP\\jdoe', 'a user with its domain ends with "@"'],
    ['http://p:1/path', 'must end after the port'],
    ['http://p:1?q', 'must end after the port'],
    ['http://p:99999', 'a port that is not 1 to 65535'],
    ['http://p:0', 'a port that is not 1 to 65535'],
    ['http://p:12ab', 'with host and port'],
    ['http://', 'with host and port'],
    ['http://u:p@', 'with host and port'],
    ['http://a b:1', 'with host and port'],
    ['http://[::zz]:1', 'with host and port'],
    ['ftp://p:1', 'must begin with http://, https:// or socks5://'],
    ['socks://p:1', 'must begin with http://, https:// or socks5://'],
    ['http://:secret@p:1', 'a password without a user'],
    ['http://a%3Ab:c@p:1', 'a colon in the user'],
    ['http://a:b%0d%0a@p:1', 'a control character'],
  ] as const
  for (const [text, says] of cases) {
    const error = t.throws(() => parseProxyAddress(text), { code: 'configuration' }, text)
    t.true(error?.message.includes(says), `${text}: ${error?.message}`)
  }
})

test('no output shows any part of a password, written raw or encoded, whatever it is', t => {
  const MARK = 'S3CRET'
  const around = fc.string({ unit: fc.constantFrom(...Array.from('/#?%\\@:[] \t"\'<>&=+;,.-a1é💥\u0000\n')) })
  let taken = 0
  fc.assert(
    fc.property(around, around, fc.boolean(), fc.boolean(), (before, after, isEncoded, hasScheme) => {
      const password = `${before}${MARK}${after}`
      // Everything after the last @ is host and port, which is shown.
      fc.pre(isEncoded || !after.includes('@'))
      const written = isEncoded ? encodeURIComponent(password) : password
      const text = `${hasScheme ? 'http://' : ''}CORP\\jdoe:${written}@proxy.test:3128`
      let outputs: unknown
      try {
        const address = parseProxyAddress(text, { defaultScheme: 'http' })
        outputs = [String(address), JSON.stringify(address), inspect(address, { showHidden: true, depth: 9 })]
        if (isEncoded) t.is(decodeURIComponent(new URL(address.reveal()).password), password)
        t.is(address.host, 'proxy.test')
        taken += 1
      } catch (error) {
        const failure = asFailure(error)
        if (failure.code !== 'configuration') throw error
        outputs = [failure.message, failure.stack, inspect(failure, { showHidden: true, depth: 9 })]
      }
      return !String(outputs).includes(MARK)
    }),
    { numRuns: 10_000 },
  )
  t.true(taken > 1_000)
})

const excludes = (entry: string, url: string): boolean => createExclusions([entry])(new URL(url))

const CASES: readonly [entry: string, hits: readonly string[], misses: readonly string[]][] = [
  ['*', ['https://a.b', 'http://[::1]:1'], []],
  [
    'ghe.test',
    ['https://ghe.test', 'https://GHE.test:8443', 'http://ghe.test./'],
    ['https://a.ghe.test', 'https://ghe.test.evil'],
  ],
  ['Ghe.Test:8443', ['https://ghe.test:8443'], ['https://ghe.test']],
  [
    '.internal',
    ['https://a.internal', 'https://a.b.internal', 'https://internal'],
    ['https://ainternal', 'https://internal.a'],
  ],
  ['*.internal', ['https://a.internal'], ['https://internal']],
  ['10.0.0.1', ['https://10.0.0.1', 'https://[::ffff:10.0.0.1]'], ['https://10.0.0.2', 'https://10.0.0.1.test']],
  ['10.0.0.1:443', ['https://10.0.0.1'], ['http://10.0.0.1']],
  ['10.0.0.0/8', ['https://10.255.0.1'], ['https://11.0.0.1', 'https://ten.test']],
  ['0.0.0.0/0', ['https://1.2.3.4'], ['https://name.test']],
  ['::1', ['https://[::1]', 'https://[::1]:9'], ['https://[::2]', 'https://127.0.0.1']],
  ['[::1]', ['https://[::1]'], ['https://[::2]']],
  ['[fd00::1]:443', ['https://[fd00::1]'], ['https://[fd00::1]:444']],
  ['fd00::/8', ['https://[fd12:3456::1]'], ['https://[fe80::1]']],
]
for (const [entry, hits, misses] of CASES) {
  test(`${entry} matches what it should`, t => {
    t.deepEqual(
      hits.filter(url => !excludes(entry, url)),
      [],
    )
    t.deepEqual(
      misses.filter(url => excludes(entry, url)),
      [],
    )
  })
}

test('entries that are no host, suffix or block are refused', t => {
  for (const entry of [
    '',
    ' ',
    '10.0.0.0/33',
    '10.0.0',
    '10.*',
    '300.1.1.1',
    'fd00::/129',
    'a b',
    'http://a',
    'a/8',
    'a..b',
    '[::1',
    '.',
  ]) {
    t.throws(() => createExclusions([entry]), { code: 'configuration' }, entry)
  }
})

const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9]$/)
const host = fc.array(label, { minLength: 2, maxLength: 4 }).map(labels => labels.join('.'))

test('property: a name excludes itself alone, a suffix all below it and nothing beside it', t => {
  fc.assert(
    fc.property(host, label, (name, below) => {
      t.true(excludes(name, `https://${name}`))
      t.false(excludes(name, `https://${below}.${name}`))
      t.true(excludes(`.${name}`, `https://${below}.${name}`))
      t.false(excludes(`.${name}`, `https://${below}${name}`))
      t.false(excludes(`.${name}`, `https://${name}.${below}`))
    }),
  )
  t.pass()
})

const dotted = (n: number): string => [24, 16, 8, 0].map(shift => (n >>> shift) & 255).join('.')

test('property: a block excludes an address just where the first bits are alike', t => {
  const address = fc.nat(0xffffffff)
  fc.assert(
    fc.property(address, address, fc.integer({ min: 1, max: 32 }), (a, b, bits) => {
      const alike = a >>> (32 - bits) === b >>> (32 - bits)
      t.is(excludes(`${dotted(a)}/${bits}`, `https://${dotted(b)}`), alike)
      t.true(excludes(`${dotted(a)}/${bits}`, `https://${dotted(a)}`))
    }),
  )
  t.pass()
})

test('property: the list excludes what one of its entries does, in any order', t => {
  fc.assert(
    fc.property(fc.array(host, { maxLength: 5 }), host, (entries, name) => {
      const url = new URL(`https://${name}`)
      t.is(createExclusions(entries)(url), entries.includes(name))
      t.is(createExclusions(entries.toReversed())(url), entries.includes(name))
    }),
  )
  t.pass()
})
