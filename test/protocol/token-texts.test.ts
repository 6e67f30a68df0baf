// A token as text: whose credential git asks for, and which repository is meant; what the readers of files read.

import test from 'ava'
import fc from 'fast-check'
import { Failure } from '../../src/protocol/errors.ts'
import { readGitCredential, writeGitCredential, writeToken } from '../../src/protocol/token-texts.ts'
import { TokenRequest } from '../../src/protocol/wire.ts'

const GITHUB = 'https://github.com'
const ask = (text: string, url = GITHUB) => readGitCredential(text, url)?.request
const forPath = (path: string) => ask(`protocol=https\nhost=github.com\npath=${path}\n`)

test('a host of ours is asked for with all that the profile holds', t => {
  t.deepEqual(ask('protocol=https\nhost=github.com\n'), { min_ttl_seconds: 600 })
  t.deepEqual(ask('capability[]=authtype\nprotocol=https\nhost=GitHub.com:443\nwwwauth[]=Basic realm="x"\n\n'), {
    min_ttl_seconds: 600,
  })
  t.deepEqual(ask('protocol=https\nhost=octo.ghe.com\nusername=x-access-token\n', 'https://octo.ghe.com'), {
    min_ttl_seconds: 600,
  })
})

test('what is not ours is left to other helpers', t => {
  for (const text of [
    'protocol=http\nhost=github.com\n',
    'protocol=https\nhost=gist.github.com\n',
    'protocol=https\nhost=github.com.evil.example\n',
    'protocol=https\nhost=github.com:444\n',
    'protocol=https\nhost=github.com@evil.example\n',
    'protocol=https\nhost=evil.example\\@github.com\n',
    'protocol=https\nhost=github.com/x\n',
    'protocol=ssh\nhost=github.com\n',
    'protocol=https\n',
    'host=github.com\n',
    'protocol=https\nhost=github.com\nusername=octocat\n',
    '',
  ])
    t.is(ask(text), undefined, text)
})

test('the path names installation and repository', t => {
  const expected = { installation: 'octo-org', repositories: ['web'], min_ttl_seconds: 600 }
  for (const path of [
    'octo-org/web',
    'octo-org/web.git',
    '/octo-org/web.git',
    'octo-org/web.git/info/lfs',
    'octo-org/web.wiki.git',
  ])
    t.deepEqual(forPath(path), expected, path)
  t.deepEqual(forPath('octo-org/.github')?.repositories, ['.github'])
  t.deepEqual(forPath('octo-org/a.git.b')?.repositories, ['a.git.b'])
})

test('a path that names no repository narrows nothing', t => {
  for (const path of ['octo-org', '', '/', 'a b/c', '-x/y', 'octo-org/.git', 'octo-org/%2e%2e'])
    t.deepEqual(forPath(path), { min_ttl_seconds: 600 }, path)
})

test('profile and rejected are handed on', t => {
  const rejected = 'A'.repeat(43)
  t.deepEqual(ask(`profile=ci\nprotocol=https\nhost=github.com\nrejected=${rejected}=\n`), {
    profile: 'ci',
    rejected: `${rejected}=`,
    min_ttl_seconds: 600,
  })
})

test('what is no attribute is refused', t => {
  for (const text of ['nonsense\n', '=x\n', 'protocol=https\nhost=github.com\0\n'])
    t.is(t.throws(() => ask(text), { instanceOf: Failure })?.code, 'invalid-request', text)
})

test('attributes behind the empty line, and all but the last of a key, do not count', t => {
  t.is(ask('protocol=https\n\nhost=github.com\n'), undefined)
  t.is(ask('protocol=https\nhost=github.com\nhost=evil.example\n'), undefined)
})

test('whatever the path is, the request is one that the API takes', t => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.string().filter(path => !/[\n\r\0]/.test(path)),
        path => {
          const request = forPath(path)
          return request !== undefined && TokenRequest.safeParse(request).success
        },
      ),
    ),
  )
})

test('a token bears its end, and is marked as ephemeral where git offers to understand that', t => {
  const answer = { token: 'ghs_x', expires_at: '2026-07-11T12:00:00Z' }
  const plain = 'username=x-access-token\npassword=ghs_x\npassword_expiry_utc=1783771200\n'
  t.is(writeGitCredential(answer, false), plain)
  t.is(writeGitCredential(answer, true), `capability[]=authtype\nephemeral=1\n${plain}`)
})

test('capabilities are a list, which an empty value begins anew', t => {
  const ours = 'protocol=https\nhost=github.com\n'
  const offers = (text: string) => readGitCredential(text + ours, GITHUB)?.knowsEphemeral
  t.true(offers('capability[]=authtype\ncapability[]=state\n'))
  t.true(offers('capability[]=state\ncapability[]=\ncapability[]=authtype\n'))
  for (const none of ['', 'capability[]=state\n', 'capability[]=authtype\ncapability[]=\n', 'capability=authtype\n'])
    t.false(offers(none), none)
})

test('the last line may lack its end', t => {
  t.deepEqual(ask('protocol=https\nhost=github.com'), { min_ttl_seconds: 600 })
})

test('lines may end as on Windows, and a value may hold an equals sign', t => {
  const text =
    'capability[]=authtype\r\nprotocol=https\r\nhost=github.com\r\npath=octo-org/web\r\n\r\nhost=evil.example\r\n'
  t.deepEqual(readGitCredential(text, GITHUB), {
    request: { installation: 'octo-org', repositories: ['web'], min_ttl_seconds: 600 },
    knowsEphemeral: true,
  })
  t.is(ask(`protocol=https\nhost=github.com\nrejected=a=b\n`)?.rejected, 'a=b')
})

test('the end of a token is told in whole seconds, and never later than it is', t => {
  const answer = { token: 'ghs_x', expires_at: '2026-07-11T12:00:00.999Z' }
  t.regex(writeGitCredential(answer, false), /^password_expiry_utc=1783771200$/m)
})

const ANSWER = {
  token: 'ghs_x',
  expires_at: '2026-07-11T13:00:00.000Z',
  installation: 7,
  account: 'octo-org',
  permissions: { metadata: 'read' },
} as const
const ADDRESSES = { url: 'https://github.com', apiUrl: 'https://api.github.com' }

test('a token is written for those who read it raw, as variables, as JSON or as .netrc', t => {
  t.is(writeToken('token', ANSWER, ADDRESSES), 'ghs_x')
  t.is(writeToken('env', ANSWER, ADDRESSES), 'GH_TOKEN=ghs_x\nGITHUB_TOKEN=ghs_x\n')
  t.deepEqual(JSON.parse(writeToken('json', ANSWER, ADDRESSES)), ANSWER)
  t.is(
    writeToken('netrc', ANSWER, ADDRESSES),
    'machine github.com login x-access-token password ghs_x\nmachine api.github.com login x-access-token password ghs_x\n',
  )
  const one = { url: 'https://ghe.example.com', apiUrl: 'https://ghe.example.com/api/v3' }
  t.is(writeToken('netrc', ANSWER, one), 'machine ghe.example.com login x-access-token password ghs_x\n')
})
