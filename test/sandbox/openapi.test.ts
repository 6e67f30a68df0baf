// The checks against GitHub's description find what is wrong, in requests and in answers, under each version.

import test from 'ava'
import { checkRequest, checkResponse } from '../support/github-openapi.ts'

const MINT = '/app/installations/1/access_tokens'

test('good requests pass', t => {
  for (const body of [undefined, {}, { repositories: ['a'], repository_ids: [1], permissions: { contents: 'read' } }])
    t.deepEqual(checkRequest({ method: 'POST', path: MINT, body }), [])
  t.deepEqual(checkRequest({ method: 'GET', path: '/api/v3/app/installations?per_page=100&page=2' }), [])
  t.deepEqual(checkRequest({ method: 'POST', path: '/app-manifests/abc/conversions' }), [])
  t.deepEqual(checkRequest({ method: 'GET', path: '/repos/o/r/contents/a/b/c.txt' }), [])
})

test('requests that GitHub would not understand are told', t => {
  const wrong = (method: string, path: string, body?: unknown): number => checkRequest({ method, path, body }).length
  t.is(wrong('POST', MINT, { repository: ['a'] }), 1)
  t.is(wrong('POST', MINT, { repositories: 'a' }), 1)
  t.is(wrong('POST', MINT, { permissions: { contents: 'admin' } }), 1)
  t.is(wrong('PUT', MINT), 1)
  t.is(wrong('POST', '/app/installations/abc/access_tokens'), 1)
  t.is(wrong('GET', '/app/instalations'), 1)
  t.is(wrong('GET', '/app/installations?perpage=1'), 1)
  t.is(wrong('POST', '/app-manifests/abc/conversions', { code: 'abc' }), 1)
  t.is(wrong('POST', '/repos/o/r/issues'), 1)
})

test('answers are told by their status, shape and version', t => {
  const good = (status: number, body?: unknown, version?: string): boolean =>
    checkResponse({ method: 'DELETE', path: '/app/installations/1', status, body, ...(version ? { version } : {}) })
      .length === 0
  t.true(good(202))
  t.false(good(204))
  t.true(good(204, '', '2022-11-28'))
  t.false(good(202, { a: 1 }))
  t.true(good(404, { message: 'Not Found' }))
  t.false(good(404, { message: 404 }))
  t.true(good(503, { message: 'No server' }))
  const token = { token: 'ghs_x', expires_at: '2026-01-01T00:00:00Z' }
  t.deepEqual(checkResponse({ method: 'POST', path: MINT, status: 201, body: token }), [])
  t.not(checkResponse({ method: 'POST', path: MINT, status: 201, body: { ...token, token: null } }).length, 0)
})
