// Addresses of proxies: read as curl reads them or refused, and never printed with a password.

import { inspect } from 'node:util'
import test from 'ava'
import * as fc from 'fast-check'
import { asFailure } from '../../src/protocol/errors.ts'
import { parseProxyAddress } from '../../src/service/proxy-address.ts'

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
