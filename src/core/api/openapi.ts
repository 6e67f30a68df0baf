// The OpenAPI document, made from the route table and its schemas.

import { z } from 'zod'
import { CATALOGUE, PROBLEM_PREFIX } from '../../protocol/errors.ts'
import { EventBody, ProblemBody, PublicStatus, ReadyAnswer } from '../../protocol/wire.ts'
import type { Route, SocketName } from './route.ts'
import { GATEWAY_METHODS } from './gateway.ts'
import { ROUTES } from './routes.ts'

type Json = Record<string, unknown>

const schema = (type: z.ZodType, io: 'input' | 'output'): Json => {
  const { $schema: _, ...rest } = z.toJSONSchema(type, { io, unrepresentable: 'any' })
  return rest
}

const json = (type: z.ZodType, io: 'input' | 'output') => ({ 'application/json': { schema: schema(type, io) } })

const PROBLEM = {
  description: 'A problem (RFC 9457)',
  content: { 'application/problem+json': { schema: schema(ProblemBody, 'output') } },
}

const BYTES = { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } }

const operation = (route: Route, socket: SocketName): Json => ({
  summary: route.summary,
  operationId: `${route.method.toLowerCase()}${route.path.replaceAll(/[/{]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
  ...(route.body && { requestBody: { required: true, content: { ...json(route.body, 'input'), ...textOf(route) } } }),
  ...(route.query && { parameters: parametersOf(route.query) }),
  responses: {
    [String(route.status)]: {
      description: 'Done',
      content: route.binary
        ? BYTES
        : {
            ...json(route.path === '/v1/status' && socket === 'token' ? PublicStatus : route.answer, 'output'),
            ...textOf(route),
            ...(route.event && { 'text/event-stream': { schema: schema(route.event, 'output') } }),
          },
    },
    ...(route.textForm && { '204': { description: `For ${route.textForm.type}: nothing to say` } }),
    default: PROBLEM,
  },
})

const textOf = ({ textForm }: Route): Json => (textForm ? { [textForm.type]: { schema: { type: 'string' } } } : {})

const parametersOf = (query: z.ZodType): Json[] => {
  const { properties = {} } = schema(query, 'input') as { properties?: Record<string, Json> }
  return Object.entries(properties).map(([name, of]) => ({ name, in: 'query', required: false, schema: of }))
}

const plain = (summary: string, content: Json): Json => ({
  summary,
  responses: { '200': { description: 'Done', content }, default: PROBLEM },
})

/** The same body either way, so that a probe that reads nothing but the status will do. */
const readiness = (): Json => ({
  summary: 'Whether tokens can be served, with the reasons where not',
  responses: {
    '200': { description: 'Tokens can be served', content: json(ReadyAnswer, 'output') },
    '503': { description: 'They cannot', content: json(ReadyAnswer, 'output') },
    default: PROBLEM,
  },
})

/** HEAD goes with GET. */
const gateway = (): Json =>
  Object.fromEntries(
    GATEWAY_METHODS.filter(method => method !== 'HEAD').map(method => [
      method.toLowerCase(),
      {
        summary: "GitHub's API with a token of the profile, which the caller never sees; the answer is GitHub's",
        parameters: [
          { name: 'path', in: 'path', required: true, schema: { type: 'string' } },
          { name: 'profile', in: 'query', required: false, schema: { type: 'string' } },
        ],
        responses: { '200': { description: "GitHub's answer, whatever its status" }, default: PROBLEM },
      },
    ]),
  )

/** The routes that are streams or texts and stand outside the table. */
const others = (socket: SocketName): Json => ({
  '/v1/events': {
    get: plain('Server-sent events: state changes and refreshes, never a secret', {
      'text/event-stream': { schema: schema(EventBody, 'output') },
    }),
  },
  '/v1/github/{path}': gateway(),
  '/v1/openapi.json': { get: plain('This document', { 'application/json': { schema: { type: 'object' } } }) },
  '/livez': { get: plain('Whether the process answers', { 'application/json': { schema: { type: 'object' } } }) },
  '/readyz': { get: readiness() },
  ...(socket === 'admin' && {
    '/metrics': { get: plain('Metrics for Prometheus', { 'text/plain': { schema: { type: 'string' } } }) },
  }),
})

export const openApiDocument = ({ socket, version }: { socket: SocketName; version: string }): Json => {
  const paths: Record<string, Json> = {}
  for (const route of ROUTES) {
    if (!route.sockets.includes(socket)) continue
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route, socket) }
  }
  return {
    openapi: '3.1.0',
    info: { title: `ghconnectd, ${socket}.sock`, version, description: 'HTTP over a unix socket; Host: localhost.' },
    servers: [{ url: 'http://localhost' }],
    paths: { ...paths, ...others(socket) },
    components: {
      schemas: { Problem: schema(ProblemBody, 'output') },
    },
    'x-problems': Object.fromEntries(
      Object.entries(CATALOGUE).map(([code, { status, exit, title, next }]) => [
        PROBLEM_PREFIX + code,
        { status, exit, title, next },
      ]),
    ),
  }
}
