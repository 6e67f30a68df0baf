// The OpenAPI document: each route as its socket serves it, with what it takes, what it answers, and which problems there are.

import test from 'ava'
import { openApiDocument } from '../../../src/core/api/openapi.ts'
import { type EndpointName, endpointNames, endpointOf } from '../../../src/protocol/endpoints.ts'
import { CATALOGUE } from '../../../src/protocol/errors.ts'
import { createChecker } from '../../support/openapi-answers.ts'

type Json = { readonly [name: string]: Json } & { readonly [name: number]: Json }
const documentOf = (socket: 'admin' | 'token') => openApiDocument({ socket, version: '1.2.3' }) as Json
const admin = documentOf('admin')
const token = documentOf('token')
const operation = (document: Json, path: string, method = 'get'): Json | undefined =>
  document['paths']?.[path]?.[method]
const plain = (json: Json | undefined): unknown => json
const parametersOf = (of: Json | undefined): readonly Json[] => Object.values(of?.['parameters'] ?? {})
const contentOf = (of: Json | undefined, status: string): readonly string[] =>
  Object.keys(of?.['responses']?.[status]?.['content'] ?? {})

const GATEWAY: EndpointName = 'ANY /v1/github/{path}'
const GATEWAY_NAMES = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].map(method => `${method} /v1/github/{path}`)

test('each socket describes what it serves, in a document of OpenAPI', t => {
  for (const [socket, document] of [
    ['admin', admin],
    ['token', token],
  ] as const) {
    const served = endpointNames.filter(name => name !== GATEWAY && endpointOf(name).sockets.includes(socket))
    t.deepEqual([...createChecker(document).operations].toSorted(), [...served, ...GATEWAY_NAMES].toSorted(), socket)
    t.like(document['info'], { title: `ghconnectd, ${socket}.sock`, version: '1.2.3' })
  }
})

test('each endpoint is described with its summary, its status, its name and what it takes', t => {
  for (const name of endpointNames) {
    if (name === GATEWAY) continue
    const endpoint = endpointOf(name)
    const [method = '', path = ''] = name.split(' ')
    const found = operation(admin, path, method.toLowerCase())
    t.is(plain(found?.['summary']), endpoint.summary, name)
    const also = name === 'POST /v1/tokens' ? ['204'] : name === 'GET /readyz' ? ['503'] : []
    t.deepEqual(
      Object.keys(found?.['responses'] ?? {}).toSorted(),
      [String(endpoint.status ?? 200), ...also, 'default'],
      name,
    )
    t.deepEqual(contentOf(found, 'default'), ['application/problem+json'], name)
    t.is((found?.['requestBody'] as unknown) !== undefined, endpoint.body !== undefined, name)
    t.is((found?.['parameters'] as unknown) !== undefined, endpoint.query !== undefined, name)
  }
  t.is(plain(operation(admin, '/v1/connection/import', 'post')?.['operationId']), 'postV1ConnectionImport')
})

test('what a route takes is described as it is sent, and what it gives in each form that it may have', t => {
  const tokens = operation(token, '/v1/tokens', 'post')
  const forms = ['application/json', 'text/x-git-credential']
  t.deepEqual(Object.keys(tokens?.['requestBody']?.['content'] ?? {}), forms)
  t.is(plain(tokens?.['requestBody']?.['required']), true)
  t.deepEqual(contentOf(tokens, '200'), forms)
  t.deepEqual(contentOf(operation(admin, '/v1/snapshots', 'post'), '200'), ['application/octet-stream'])
  t.deepEqual(contentOf(operation(admin, '/v1/check'), '200'), ['application/json', 'text/event-stream'])
  t.deepEqual(contentOf(operation(admin, '/v1/events'), '200'), ['text/event-stream'])
  t.deepEqual(contentOf(operation(admin, '/metrics'), '200'), ['text/plain'])
  for (const status of ['200', '503']) t.deepEqual(contentOf(operation(token, '/readyz'), status), ['application/json'])
  t.deepEqual(
    parametersOf(operation(admin, '/v1/audit')).map(({ name, in: place, required }) => [
      name,
      place,
      required,
    ]) as unknown,
    ['after', 'limit', 'follow'].map(name => [name, 'query', false]),
  )
  t.deepEqual(
    parametersOf(operation(token, '/v1/github/{path}', 'patch')).map(({ name, in: place, required }) => [
      name,
      place,
      required,
    ]) as unknown,
    [
      ['path', 'path', true],
      ['profile', 'query', false],
    ],
  )
})

test('on token.sock the status is described as what everybody may see, on admin.sock as the whole of it', t => {
  const schemaOf = (document: Json) =>
    operation(document, '/v1/status')?.['responses']?.['200']?.['content']?.['application/json']?.['schema']
  t.deepEqual(Object.keys(schemaOf(token)?.['properties'] ?? {}), ['state', 'since', 'meaning', 'next', 'version'])
  t.true(JSON.stringify(schemaOf(admin)).includes('recovery_recipients'))
})

test('each problem is listed by its type, with its status, its exit code and what to do', t => {
  const listed = admin['x-problems'] ?? {}
  t.is(Object.keys(listed).length, Object.keys(CATALOGUE).length)
  t.deepEqual(listed['urn:ghconnect:problem:rate-limited'] as unknown, { ...CATALOGUE['rate-limited'] })
})
