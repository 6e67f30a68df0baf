// The addresses of GitHub: one follows from the other, and two of different GitHubs are refused.

import test from 'ava'
import type { Connection } from '../../src/protocol/connection.ts'
import { Failure } from '../../src/protocol/errors.ts'
import { assertSameGithub, isLoopback, resolveAddresses } from '../../src/protocol/github-addresses.ts'

const resolve = (url?: string, apiUrl?: string) => {
  const found = resolveAddresses({ url, apiUrl })
  return 'message' in found ? `${found.key}: ${found.message}` : `${found.url} ${found.apiUrl}`
}

test('what is not given follows from what is', t => {
  t.is(resolve(), 'https://github.com https://api.github.com')
  t.is(resolve('https://github.com/'), 'https://github.com https://api.github.com')
  t.is(resolve('https://octo.ghe.com'), 'https://octo.ghe.com https://api.octo.ghe.com')
  t.is(resolve(undefined, 'https://api.octo.ghe.com/'), 'https://octo.ghe.com https://api.octo.ghe.com')
  t.is(resolve(undefined, 'https://api.github.com'), 'https://github.com https://api.github.com')
  t.is(resolve('https://ghe.example.com'), 'https://ghe.example.com https://ghe.example.com/api/v3')
  t.is(
    resolve(undefined, 'https://ghe.example.com:8443/api/v3'),
    'https://ghe.example.com:8443 https://ghe.example.com:8443/api/v3',
  )
  t.is(resolve('http://127.0.0.1:8471'), 'http://127.0.0.1:8471 http://127.0.0.1:8471/api/v3')
})

test('two that belong together are taken as they are', t => {
  for (const [url, apiUrl] of [
    ['https://github.com', 'https://api.github.com'],
    ['https://octo.ghe.com', 'https://api.octo.ghe.com'],
    ['https://GHE.example.com', 'https://ghe.example.com/api/v3'],
    ['https://github.test', 'https://api.github.test'],
    ['http://127.0.0.1:1', 'http://localhost:1/anything'],
    ['http://127.0.0.1:1', 'http://127.0.0.1:2/api/v3'],
  ] as const) {
    t.is(resolve(url, apiUrl), `${url} ${apiUrl}`)
  }
})

test('two of different GitHubs are refused, with the address that would be right', t => {
  const other = (url: string, expected: string): string =>
    `api_url: belongs to another GitHub than [github] url (${url}), whose API is ${expected}`
  t.is(
    resolve('https://octo.ghe.com', 'https://api.github.com'),
    other('https://octo.ghe.com', 'https://api.octo.ghe.com'),
  )
  t.is(resolve('https://github.com', 'https://api.octo.ghe.com'), other('https://github.com', 'https://api.github.com'))
  t.is(
    resolve('https://ghe.example.com', 'https://ghe.example.com'),
    other('https://ghe.example.com', 'https://ghe.example.com/api/v3'),
  )
  t.is(resolve('https://a.ghe.com', 'https://api.b.ghe.com'), other('https://a.ghe.com', 'https://api.a.ghe.com'))
  t.is(resolve('https://api.github.com'), 'url: is an address of the API: write https://github.com, or set api_url')
})

test('a bundle belongs to the configured GitHub by the address of its API', t => {
  const account = { type: 'organization', login: 'octo-org' } as const
  const connection: Connection = { kind: 'key-lost', sinceMs: 0, account, evidence: '' }
  const verdict = (url: string, apiUrl: string | undefined, bundleUrl = url): string => {
    const configured = resolveAddresses({ url, apiUrl: undefined })
    if ('message' in configured) throw new Error(configured.message)
    const settings = { github_url: bundleUrl, ...(apiUrl !== undefined && { api_url: apiUrl }) }
    try {
      return assertSameGithub({ connection, settings }, configured, { force: false }).join() || 'same'
    } catch (error) {
      return error instanceof Failure ? error.code : String(error)
    }
  }
  const other = 'bundle-other-github'
  t.is(verdict('https://github.com', 'https://api.github.com/'), 'same')
  t.is(verdict('https://www.github.com', 'https://api.github.com', 'https://github.com'), 'same')
  t.is(verdict('https://ghe.example.com', 'https://api.ghe.example.com'), 'same', 'with subdomain isolation')
  t.is(verdict('https://ghe.example.com', 'https://ghe.example.com/api/v3', 'https://github.com'), 'same')
  t.is(verdict('https://github.com', 'https://api.octo.ghe.com'), other)
  t.is(verdict('https://a.ghe.com', 'https://api.b.ghe.com'), other)
  t.is(verdict('https://github.com', 'https://api.github.com.example.com'), other)
  t.is(verdict('http://127.0.0.1:1', 'http://127.0.0.1:2/api/v3'), other)
  t.is(verdict('https://github.com', 'http://127.0.0.1/api/v3'), other, 'neither names a port')
  t.is(verdict('https://github.com', 'nonsense'), other)
  t.is(verdict('https://github.com', undefined), other)
})

test('a bundle without a connection belongs to no GitHub', t => {
  const settings = { github_url: 'https://a.ghe.com', api_url: 'https://api.a.ghe.com' }
  const configured = { url: 'https://github.com', apiUrl: 'https://api.github.com' }
  const connection: Connection = { kind: 'disconnected', sinceMs: 0 }
  t.deepEqual(assertSameGithub({ connection, settings }, configured, { force: false }), [])
})

test('a bundle of another GitHub is refused with both of them named, and with force it is a warning', t => {
  const account = { type: 'organization', login: 'octo-org' } as const
  const connection: Connection = { kind: 'key-lost', sinceMs: 0, account, evidence: '' }
  const configured = { url: 'https://github.com', apiUrl: 'https://api.github.com' }
  const settings = { github_url: 'https://a.ghe.com', api_url: 'https://api.a.ghe.com' }
  const told =
    'he bundle belongs to https://a.ghe.com (API https://api.a.ghe.com), the configuration names https://github.com (API https://api.github.com)'
  t.throws(() => assertSameGithub({ connection, settings }, configured, { force: false }), {
    code: 'bundle-other-github',
    message: `t${told}`,
  })
  t.deepEqual(assertSameGithub({ connection, settings }, configured, { force: true }), [`T${told}.`])
  const own = { ...settings, api_url: 'https://api.github.com' }
  t.deepEqual(assertSameGithub({ connection, settings: own }, configured, { force: true }), [])
  const [unknown = ''] = assertSameGithub({ connection, settings: {} }, configured, { force: true })
  t.true(unknown.startsWith('The bundle belongs to an unknown GitHub (API unknown), '))
  const long = { github_url: `https://${'x'.repeat(193)}`, api_url: `https://${'y'.repeat(5_000)}` }
  const [cut = ''] = assertSameGithub({ connection, settings: long }, configured, { force: true })
  t.true(cut.includes(` https://${'x'.repeat(192)}... (API https://${'y'.repeat(192)}...), `))
})

test('this machine is called by its loopback addresses, and by no name that only looks so', t => {
  for (const host of ['127.0.0.1', '127.8.9.10', '[::1]', 'localhost']) t.true(isLoopback(host), host)
  for (const host of ['127.0.0.1.example.com', '128.0.0.1', 'localhost.example.com', 'x127.0.0.1', '::2', ''])
    t.false(isLoopback(host), host)
})
