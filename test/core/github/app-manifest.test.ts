// The manifest is one that GitHub takes, the addresses are GitHub's own, and a pasted redirect is read in every form.

import test from 'ava'
import * as fc from 'fast-check'
import type { Account } from '../../../src/protocol/connection.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { appManifest, enterprisePrefill, manifestAction, readRedirect } from '../../../src/core/github/app-manifest.ts'

const GITHUB = 'https://github.com'
const organization: Account = { type: 'organization', login: 'octo-org' }
const outline = {
  name: 'ghe-example-com',
  url: 'https://ghe.example.com',
  description: 'Connects ghe.example.com',
  permissions: { metadata: 'read', contents: 'write' },
} as const
const redirectUrl = 'http://127.0.0.1:8470/callback'

const nameOf = (name: string): string => appManifest({ ...outline, name, redirectUrl }).name

test('the manifest has what GitHub needs, and nothing that would ask for a webhook', t => {
  t.deepEqual(appManifest({ ...outline, redirectUrl, setupUrl: 'http://127.0.0.1:8470/setup' }), {
    name: 'ghe-example-com',
    url: 'https://ghe.example.com',
    description: 'Connects ghe.example.com',
    redirect_url: redirectUrl,
    setup_url: 'http://127.0.0.1:8470/setup',
    public: false,
    default_permissions: { metadata: 'read', contents: 'write' },
  })
  t.false('setup_url' in appManifest({ ...outline, redirectUrl }))
})

test('a name of 34 characters stays, a longer one keeps its head and a digest of the whole', t => {
  t.is(nameOf('a'.repeat(34)), 'a'.repeat(34))
  t.is(nameOf('github.engineering.corp.example.com'), nameOf('github.engineering.corp.example.com'))
  t.regex(nameOf('github.engineering.corp.example.com'), /^github\.engineering\.corp\.exa-[0-9a-f]{6}$/)
  t.not(nameOf('github.engineering.corp.example.com'), nameOf('github.engineering.corp.example.org'))
  t.is(nameOf('  two\n words\t'), 'two words')
})

test('whatever the name, it fits, has no blanks around it and can be typed, or is refused', t => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.string({ minLength: 35 })), wanted => {
      try {
        const name = nameOf(wanted)
        t.true(name.length >= 1 && name.length <= 34)
        t.is(name, name.trim())
        t.true(name.isWellFormed())
        t.notRegex(name, /\p{Cc}/u)
        t.is(nameOf(name), name)
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        t.notRegex(wanted, /[\p{L}\p{N}]/u)
      }
    }),
  )
})

test('the form is posted to the settings of the organization or the user, with the state', t => {
  const action = 'https://github.com/organizations/octo-org/settings/apps/new?state=5afe'
  t.is(manifestAction(GITHUB, organization, '5afe'), action)
  t.is(manifestAction(`${GITHUB}/`, organization, '5afe'), action)
  t.is(
    manifestAction('https://octo.ghe.com', { type: 'user', login: 'mona' }, '5afe'),
    'https://octo.ghe.com/settings/apps/new?state=5afe',
  )
})

test('no account name leads out of its place in the address', t => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string(), (login, state) => {
      fc.pre(login.isWellFormed() && login !== '.' && login !== '..')
      const url = new URL(manifestAction(GITHUB, { type: 'organization', login }, state))
      t.is(url.origin, GITHUB)
      t.is(decodeURIComponent(url.pathname), `/organizations/${login}/settings/apps/new`)
      t.is(url.searchParams.get('state'), state.toWellFormed())
    }),
  )
})

test('enterprises have no manifest flow, but a form that is filled in', t => {
  const enterprise: Account = { type: 'enterprise', login: 'octo-corp' }
  const failure = t.throws(() => manifestAction(GITHUB, enterprise, '5afe'), { instanceOf: Failure })
  t.is(failure.code, 'invalid-request')
  const url = new URL(enterprisePrefill(GITHUB, enterprise, outline))
  t.is(url.origin + url.pathname, 'https://github.com/enterprises/octo-corp/settings/apps/new')
  t.deepEqual(Object.fromEntries(url.searchParams), {
    name: 'ghe-example-com',
    url: 'https://ghe.example.com',
    description: 'Connects ghe.example.com',
    public: 'false',
    webhook_active: 'false',
    metadata: 'read',
    contents: 'write',
  })
})

test('a permission that poses as a field of the form is refused', t => {
  for (const name of ['webhook_url', 'public', 'Contents', 'a b', 'events[]', '']) {
    const permissions = { [name]: 'read' } as const
    t.throws(() => enterprisePrefill(GITHUB, organization, { ...outline, permissions }), { instanceOf: Failure })
  }
})

const code = fc.string({ unit: fc.constantFrom(...'abcdef0123456789'.split('')), minLength: 20, maxLength: 40 })
const state = fc.string({ unit: fc.constantFrom(...'abcdef0123456789'.split('')), minLength: 32, maxLength: 32 })
const blanks = fc.constantFrom('', ' ', '\n', '  \r\n', '"', "'", '\t')

test('the code is read from the whole address, its query or alone, with blanks or quotes around', t => {
  fc.assert(
    fc.property(code, state, blanks, (theCode, theState, around) => {
      const query = `code=${theCode}&state=${theState}`
      for (const text of [
        `${redirectUrl}?${query}`,
        `${redirectUrl}?${query}#top`,
        `/callback?${query}`,
        `?${query}`,
        query,
      ]) {
        t.deepEqual(readRedirect(around + text + around), { code: theCode, state: theState })
      }
      t.deepEqual(readRedirect(`${redirectUrl}?state=${theState}&code=${theCode}`), { code: theCode, state: theState })
      t.deepEqual(readRedirect(`${redirectUrl}?code=${theCode}`), { code: theCode })
      t.deepEqual(readRedirect(around + theCode + around), { code: theCode })
    }),
  )
})

test('an address that a terminal broke into lines is joined', t => {
  const text = `${redirectUrl}?code=a180b1a3d263c81b\n  c6441d7b990bae27d4c10679&state=00ff\r\n`
  t.deepEqual(readRedirect(text), { code: 'a180b1a3d263c81bc6441d7b990bae27d4c10679', state: '00ff' })
})

test('what holds no code, or two, is refused, and the text is not repeated', t => {
  const secret = 'a180b1a3d263c81bc6441d7b990bae27d4c10679'
  for (const text of [
    '',
    'yes',
    redirectUrl,
    `${redirectUrl}?state=00ff`,
    `code=${secret}&code=${secret}`,
    `code=${secret}&state=1&state=2`,
    `code=${secret}&state=%0a`,
    `code=${secret}%2f..%2f`,
    `../${secret}`,
    `${secret} ${secret}`,
    `http://[?code=${secret}`,
    'x'.repeat(100_000),
  ]) {
    const failure = t.throws(() => readRedirect(text), { instanceOf: Failure }, text.slice(0, 60))
    t.is(failure.code, 'invalid-request')
    t.false(failure.message.includes(secret))
  }
})

test('whatever is pasted gives a code fit for a path, or invalid-request', t => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.webUrl({ withQueryParameters: true }), fc.webQueryParameters()), text => {
      try {
        t.regex(readRedirect(text).code, /^[\w-]{8,200}$/)
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        t.is(error.code, 'invalid-request')
      }
    }),
  )
})

test('the form of an enterprise has the address for after the installation where there is one, and a name that fits', t => {
  const enterprise: Account = { type: 'enterprise', login: 'octo-corp' }
  const setupUrl = 'http://127.0.0.1:8470/setup'
  const name = 'github.engineering.corp.example.com'
  const form = new URL(enterprisePrefill(`${GITHUB}//`, enterprise, { ...outline, setupUrl, name })).searchParams
  t.is(form.get('setup_url'), setupUrl)
  t.is(form.get('name'), nameOf(name))
  t.false(new URL(enterprisePrefill(GITHUB, enterprise, outline)).searchParams.has('setup_url'))
})

test('an address in the brackets or quotes of a mail is read, and what is wrong with one is told', t => {
  const secret = 'a180b1a3d263c81bc6441d7b990bae27d4c10679'
  for (const [before, after] of [
    ['<', '>'],
    ['`', '`'],
    [' "', '" '],
  ] as const)
    t.deepEqual(readRedirect(`${before}${redirectUrl}?code=${secret}&state=00ff${after}`), {
      code: secret,
      state: '00ff',
    })
  t.throws(() => readRedirect(`?code=${secret}&state=%2f`), { message: 'the state in the address is not one of ours' })
  t.throws(() => readRedirect(`?code=${secret}&state=`), { message: 'the state in the address is not one of ours' })
  t.throws(() => readRedirect(`?code=short`), { message: /^the text holds no code of GitHub: paste the whole address/ })
  t.is(readRedirect(`${' '.repeat(8_000)}${secret}`).code, secret)
  t.throws(() => readRedirect(`${' '.repeat(9_000)}${secret}`), { instanceOf: Failure })
})
