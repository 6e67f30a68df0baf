// The gateway's addresses: what is sent on, what is refused, and how links lead back.

import test from 'ava'
import fc from 'fast-check'
import { Failure } from '../../../src/protocol/errors.ts'
import {
  addressOf,
  rewriteAddress,
  rewriteLinks,
  readGatewayTarget,
  readGitHubRequest,
} from '../../../src/core/tokens/gateway-target.ts'

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

test('names of files and branches may hold an encoded slash or percent sign, and paths may end with a slash', t => {
  for (const path of [
    '/repos/o/r/contents/src%2Fa.ts',
    '/repos/o/r/branches/feature%2fx/protection',
    '/repositories/1/contents/src%2Fa.ts',
    '/repos/o/r/contents/',
    '/repos/o/r/contents/src/',
    '/repos/o/r/contents//README.md',
    '/repos/o/r/contents/100%25.txt',
    '/repos/o/r/contents/a%252Fb',
    '/repos/o/r/contents/pages/[id].tsx',
    '/repos/o/r/git/ref/heads/50%25-off',
    '/repos/o/r/compare/main...50%25-off',
    '/repos/o/r/',
  ])
    t.is(read(path).path, path)
  t.deepEqual(read('/repos/o/r/').repository, { owner: 'o', name: 'r' })
})

test('a repository may be named by its id', t => {
  t.is(read('/repositories/1100000125/issues').repositoryId, 1_100_000_125)
  t.is(read('/repositories/1/').repositoryId, 1)
  for (const path of [
    '/repositories',
    '/repositories/01',
    '/repositories/1e3/issues',
    '/repositories/1000000000000000',
    '/repositories/99999999999999999',
  ])
    t.is(read(path).repositoryId, undefined, path)
})

test('credentials in the query are left behind', t => {
  t.is(read('/meta', 'access_token=a&b=1&client_secret=c&%61ccess_token=d').query, 'b=1')
})

test('however often a path is decoded further on, it is for the same repository and route', t => {
  const plain = fc.constantFrom('..', '.', '/', '\\', 'app', 'repos', 'o', 'web', 'contents', '100%', ';', '\n')
  const written = fc
    .tuple(plain, fc.nat({ max: 4 }))
    .map(([text, times]) => Array.from({ length: times }).reduce<string>(encodeAll, text))
  const start = fc.constantFrom('', '/repos/o/web', '/repos/o/web/contents/', '/repositories/7/contents/')
  let accepted = 0
  fc.assert(
    fc.property(start, fc.array(written, { maxLength: 5 }), (head, pieces) => {
      const path = head + pieces.join('')
      if (codeOf(() => read(path)) !== undefined) return true
      accepted += 1
      let layer = decodeLoosely(path)
      const named = routeOf(layer)
      const { repository } = read(path)
      if (repository && (named[1] !== repository.owner || named[2] !== repository.name)) return false
      for (let times = 0; times < 8; times++) {
        layer = decodeLoosely(layer)
        if (JSON.stringify(routeOf(layer)) !== JSON.stringify(named)) return false
      }
      return true
    }),
    { numRuns: 5_000 },
  )
  t.true(accepted > 100, `${accepted} paths were accepted`)
})

const encodeAll = (text: string): string =>
  [...Buffer.from(text)].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join('')

/** As a server would that decodes once more than it should, and leaves alone what it cannot read. */
const decodeLoosely = (text: string): string =>
  text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))

/** What a server that joins slashes and takes steps up would call the route. */
const routeOf = (path: string): string[] => {
  const parts: string[] = []
  for (const part of path.split(/[\\/]+/)) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.slice(0, parts[0] === 'repositories' ? 3 : 4)
}

test('a path that could be read as another one is refused', t => {
  for (const path of [
    '//repos/o/r',
    '/repos//o/r',
    '/repos/o//contents/x',
    '/repos/o/r//x',
    '//',
    '/repos/o/../x',
    '/repos/o/r/contents/%2e%2e/%2E%2E/x',
    '/repos/o/r/contents/.%2e/x',
    '/repos/o/r/contents/a%2F..%2Fb',
    '/repos/o/r/contents/%252e%252e',
    '/repos/o/r/contents/%25252e%25252e',
    '/repos/o/r/contents/%%32e%2e',
    '/repos/o/r/contents/a%252F..%252Fb',
    '/repos/o/r/contents/a%255Cb',
    '/repos/o/r/contents/a%2525252525252525',
    '/repos/o/100%25/contents/x',
    '/repos/o/%2577eb',
    '/%2569nstallation/token',
    '/%252561pp',
    '/repositories/1%252F2/issues',
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
  t.deepEqual(read('/meta', '%70rofile=c%2Di'), { path: '/meta', query: '', profile: 'c-i' })
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
  const way = { apiUrl: API, ours: 'http://localhost/v1/github', profile: 'c i' }
  t.is(
    rewriteLinks(`<${API}/repositories/1/issues?page=2>; rel="next", <https://example.com/x>; rel="x"`, way),
    '<http://localhost/v1/github/repositories/1/issues?page=2&profile=c%20i>; rel="next", <https://example.com/x>; rel="x"',
  )
  t.is(rewriteAddress(`${API}/repositories/1#f`, way), 'http://localhost/v1/github/repositories/1?profile=c%20i#f')
  t.is(
    rewriteAddress(`${API}/x`, { apiUrl: `${API}/`, ours: 'http://ghconnect/v1/github' }),
    'http://ghconnect/v1/github/x',
  )
  for (const other of [`${API}.evil.example/x`, 'https://codeload.github.com/x', '/relative', `${API}:8443/x`])
    t.is(rewriteAddress(other, way), other)
})

test('further pages are of the repository asked for, whose name leads to a profile where an id would have to be looked up', t => {
  const way = { apiUrl: API, ours: API, profile: 'ci', repository: { owner: 'octo-org', name: 'web' } }
  t.is(
    rewriteLinks(`<${API}/repositories/1/issues?page=2>; rel="next", <${API}/repositories/2>; rel="x"`, way),
    `<${API}/repos/octo-org/web/issues?page=2&profile=ci>; rel="next", <${API}/repositories/2?profile=ci>; rel="x"`,
  )
  t.is(rewriteAddress(`${API}/repositories/1/issues`, way), `${API}/repositories/1/issues?profile=ci`)
  t.is(
    rewriteLinks(`<${API}/repositories/1/issues>`, { ...way, apiUrl: `${API}/` }),
    `<${API}/repos/octo-org/web/issues?profile=ci>`,
  )
  t.is(rewriteAddress(API, { apiUrl: API, ours: 'http://localhost/v1/github' }), 'http://localhost/v1/github')
})

test("a request for the host of GitHub's API is the gateway's, whichever GitHub it is", t => {
  const path = (host: string, asked: string, apiUrl = API) => readGitHubRequest({ host, path: asked }, apiUrl)
  t.is(path('api.github.com', '/repos/o/r'), '/v1/github/repos/o/r')
  t.is(path('API.github.com:443', '/'), '/v1/github/')
  t.is(path('api.github.com', '/graphql'), '/v1/github/graphql')
  t.is(path('api.octo.ghe.com', '/meta', 'https://api.octo.ghe.com'), '/v1/github/meta')
  const server = 'https://ghe.example.com:8443/api/v3'
  t.is(path('ghe.example.com:8443', '/api/v3/meta', server), '/v1/github/meta')
  t.is(path('ghe.example.com:8443', '/api/v3', server), '/v1/github')
  t.is(path('ghe.example.com:8443', '/api/graphql', `${server}/`), '/v1/github/graphql')
  for (const host of [
    'github.com',
    'api.github.com.evil.example',
    'x@api.github.com',
    'api.github.com/',
    'api.github.com:8443',
    '',
  ])
    t.is(path(host, '/meta'), undefined, host)
  for (const asked of ['/api/v3x/meta', '/meta', '/login/oauth/access_token', '/api/uploads/x'])
    t.is(
      codeOf(() => path('ghe.example.com:8443', asked, server)),
      'unknown-route',
      asked,
    )
})
