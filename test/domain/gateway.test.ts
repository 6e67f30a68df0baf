// The gateway's addresses: what is sent on, what is refused, and how links lead back.

import test from 'ava'
import fc from 'fast-check'
import { Failure } from '../../src/domain/errors.ts'
import { addressOf, leadBack, leadLinksBack, readGatewayTarget } from '../../src/domain/gateway.ts'

const API = 'https://api.github.com'
const read = (path: string, query = '') => readGatewayTarget(`/v1/github${path}`, query)
const codeOf = (act: () => unknown): string | undefined => {
  try {
    act()
    return undefined
  } catch (error) {
    return error instanceof Failure ? error.code : 'another error'
  }
}

test('a path goes on as it came, and names the repository', t => {
  t.deepEqual(read('/repos/octo-org/web/issues', 'state=open&per_page=2'), {
    path: '/repos/octo-org/web/issues',
    query: 'state=open&per_page=2',
    repository: { owner: 'octo-org', name: 'web' },
  })
  for (const path of [
    '/meta',
    '/apps/octo-app',
    '/repos/o/r/contents/a%20b/%C3%A9.txt',
    '/repos/o/r/compare/a...b',
    '/repos/o/r/git/ref/heads/v1.0',
  ])
    t.is(read(path).path, path)
  for (const root of ['', '/']) t.is(read(root).path, '/')
})

test('names of files and branches may hold an encoded slash', t => {
  for (const path of ['/repos/o/r/contents/src%2Fa.ts', '/repos/o/r/branches/feature%2fx/protection'])
    t.is(read(path).path, path)
})

test('a path that could be read as another one is refused', t => {
  for (const path of [
    '//repos/o/r',
    '/repos//o/r',
    '/repos/o/r/',
    '/repos/o/../x',
    '/repos/o/r/contents/%2e%2e/%2E%2E/x',
    '/repos/o/r/contents/.%2e/x',
    '/repos/o/r/contents/a%2F..%2Fb',
    '/repos/o/r/contents/a%2F%2Fb',
    '/repos/o/r/contents/%252e%252e',
    '/repos/o/r/contents/a%252Fb',
    '/repos/o/r/contents/..;x',
    '/repos/./o/r',
    '/repos%2Fo/r',
    '/repos/o%2Fr',
    '/installation%2Ftoken',
    '/repos/o/r/contents/a%5Cb',
    '/repos/o/r/contents/a%00',
    '/repos/o/r/contents/a%0d%0ax',
    '/repos/o/r/contents/%C3',
    '/repos/o/r/contents/%zz',
    '/repos/o/r/{path}',
    '/repos/o/r/a b',
    '/repos/o/r/a\\b',
    '/repos/o/r/é',
    '/repos/o/r#x',
  ])
    t.is(
      codeOf(() => read(path)),
      'invalid-request',
      path,
    )
})

test("the App's own routes and the end of the token are refused", t => {
  for (const path of [
    '/app',
    '/app/installations/1/access_tokens',
    '/%61pp',
    '/App',
    '/app-manifests/x/conversions',
    '/applications/x/token',
    '/installation/token',
    '/installation/TOKEN',
    '/%69nstallation/%74oken',
    '/installation/token.json',
  ])
    t.is(
      codeOf(() => read(path)),
      'not-permitted',
      path,
    )
  t.is(read('/installation/repositories').path, '/installation/repositories')
})

test('the profile is taken out of the query, and the rest stays as it is', t => {
  t.deepEqual(read('/meta', 'a=%20b&profile=ci&c'), { path: '/meta', query: 'a=%20b&c', profile: 'ci' })
  t.deepEqual(read('/meta', '%70rofile=c%2Bi'), { path: '/meta', query: '', profile: 'c+i' })
  t.is(
    codeOf(() => read('/meta', 'profile=a&profile=b')),
    'invalid-request',
  )
  t.is(
    codeOf(() => read('/meta', 'profile=')),
    'invalid-request',
  )
})

test('no path steps out of the API, whatever it is made of', t => {
  const piece = fc.constantFrom(
    '..',
    '.',
    '/',
    '%2e',
    '%2F',
    '%252e',
    '\\',
    '%5c',
    'app',
    'repos',
    'o',
    ';',
    '@',
    ':',
    '?',
    '#',
    '%00',
    'installation',
    'token',
  )
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 10 }), pieces => {
        let target: ReturnType<typeof read>
        try {
          target = read(`/${pieces.join('')}`)
        } catch (error) {
          return error instanceof Failure
        }
        const address = addressOf(target, `${API}/api/v3`)
        const { href, pathname, origin } = new URL(address)
        return (
          href === address &&
          origin === API &&
          pathname.startsWith('/api/v3/') &&
          !/^\/api\/v3\/(?:app|installation\/token)(?:[/.;]|$)/.test(decodeURIComponent(pathname))
        )
      }),
      { numRuns: 2_000 },
    ),
  )
})

test("the address is GitHub's, with GraphQL beside the third version", t => {
  t.is(addressOf(read('/meta', 'a=1'), API), `${API}/meta?a=1`)
  t.is(addressOf(read('/meta'), 'https://ghe.example.com/api/v3/'), 'https://ghe.example.com/api/v3/meta')
  t.is(addressOf(read('/graphql'), 'https://ghe.example.com/api/v3'), 'https://ghe.example.com/api/graphql')
  t.is(addressOf(read('/graphql'), API), `${API}/graphql`)
})

test('links lead back to the socket, with the profile; others stay', t => {
  const way = { apiUrl: API, host: 'localhost', profile: 'c i' }
  t.is(
    leadLinksBack(`<${API}/repositories/1/issues?page=2>; rel="next", <https://example.com/x>; rel="x"`, way),
    '<http://localhost/v1/github/repositories/1/issues?page=2&profile=c%20i>; rel="next", <https://example.com/x>; rel="x"',
  )
  t.is(leadBack(`${API}/repositories/1#f`, way), 'http://localhost/v1/github/repositories/1?profile=c%20i#f')
  t.is(leadBack(`${API}/x`, { apiUrl: `${API}/`, host: 'ghconnect' }), 'http://ghconnect/v1/github/x')
  for (const other of [`${API}.evil.example/x`, 'https://codeload.github.com/x', '/relative', `${API}:8443/x`])
    t.is(leadBack(other, way), other)
})
