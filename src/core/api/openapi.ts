// The OpenAPI document of a socket, made from the endpoint table and its schemas.

import { z } from 'zod'
import { type Endpoint, endpointNames, endpointOf, type SocketName } from '../../protocol/endpoints.ts'
import { CATALOGUE, PROBLEM_PREFIX } from '../../protocol/errors.ts'
import { ProblemBody } from '../../protocol/wire.ts'
import { GATEWAY_METHODS } from './gateway.ts'

type Json = Record<string, unknown>

export const openApiDocument = ({ socket, version }: { socket: SocketName; version: string }): Json => {
  const paths: Record<string, Json> = {}
  for (const name of endpointNames) {
    const endpoint = endpointOf(name)
    if (!endpoint.sockets.includes(socket)) continue
    const [method = '', path = ''] = name.split(' ')
    const of = operation(endpoint, { method, path, socket })
    paths[path] ??= {}
    // HEAD goes with GET.
    const methods = method === 'ANY' ? GATEWAY_METHODS.filter(one => one !== 'HEAD') : [method]
    for (const one of methods) paths[path][one.toLowerCase()] = of
  }
  return {
    openapi: '3.1.0',
    info: { title: `ghconnectd, ${socket}.sock`, version, description: 'HTTP over a unix socket; Host: localhost.' },
    servers: [{ url: 'http://localhost' }],
    paths,
    components: { schemas: { Problem: schema(ProblemBody, 'output') } },
    'x-problems': Object.fromEntries(
      Object.entries(CATALOGUE).map(([code, { status, exit, title, next }]) => [
        PROBLEM_PREFIX + code,
        { status, exit, title, next },
      ]),
    ),
  }
}

type Place = { readonly method: string; readonly path: string; readonly socket: SocketName }

const operation = (endpoint: Endpoint, { method, path, socket }: Place): Json => {
  const { summary, status = 200, query, body, event, media } = endpoint
  const answer = socket === 'token' ? (endpoint.reducedAnswer ?? endpoint.answer) : endpoint.answer
  const text = media === undefined ? {} : { [media]: { schema: mediaSchema(media) } }
  const content = {
    ...(answer && json(answer, 'output')),
    ...text,
    ...(event && { 'text/event-stream': { schema: schema(event, 'output') } }),
  }
  const parameters = [...pathParameters(path), ...(query ? queryParameters(query) : [])]
  return {
    summary,
    ...(method !== 'ANY' && {
      operationId: `${method.toLowerCase()}${path.replaceAll(/[/{.]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    }),
    ...(body && { requestBody: { required: true, content: { ...json(body, 'input'), ...text } } }),
    ...(parameters.length > 0 && { parameters }),
    responses: {
      ...(method === 'ANY'
        ? { '200': { description: "GitHub's answer, whatever its status" } }
        : { [String(status)]: { description: 'Done', content } }),
      ...(answer && media !== undefined && { '204': { description: `For ${media}: nothing to say` } }),
      // The same body either way, so that a probe that reads nothing but the status will do.
      ...(path === '/readyz' && { '503': { description: 'They cannot', content } }),
      default: PROBLEM,
    },
  }
}

const schema = (type: z.ZodType, io: 'input' | 'output'): Json => {
  const { $schema: _, ...rest } = z.toJSONSchema(type, { io, unrepresentable: 'any' })
  return rest
}

const json = (type: z.ZodType, io: 'input' | 'output') => ({ 'application/json': { schema: schema(type, io) } })

const mediaSchema = (media: string): Json =>
  media.startsWith('text/') ? { type: 'string' } : { type: 'string', format: 'binary' }

const PROBLEM = {
  description: 'A problem (RFC 9457)',
  content: { 'application/problem+json': { schema: schema(ProblemBody, 'output') } },
}

const pathParameters = (path: string): Json[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))

const queryParameters = (query: z.ZodType): Json[] => {
  const { properties = {} } = schema(query, 'input') as { properties?: Record<string, Json> }
  return Object.entries(properties).map(([name, of]) => ({ name, in: 'query', required: false, schema: of }))
}
