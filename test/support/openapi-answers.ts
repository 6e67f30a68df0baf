// Holds the daemon to the OpenAPI document that it serves: the document itself, and each answer against it.

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { z } from 'zod'
import type { Appliance } from './appliance.ts'
import type { Answer } from './unix-http.ts'

const Media = z.record(z.string(), z.strictObject({ schema: z.record(z.string(), z.unknown()) }))
const Response = z.strictObject({ description: z.string().min(1), content: Media.optional() })
const Operation = z.strictObject({
  summary: z.string().min(1),
  operationId: z.string().optional(),
  requestBody: z.strictObject({ required: z.boolean(), content: Media }).optional(),
  parameters: z
    .array(
      z.strictObject({
        name: z.string(),
        in: z.enum(['query', 'path', 'header']),
        required: z.boolean(),
        schema: z.record(z.string(), z.unknown()),
      }),
    )
    .optional(),
  responses: z.record(z.string().regex(/^([1-5]\d\d|default)$/), Response),
})
/** What of OpenAPI 3.1 the document uses; `x-` members besides. */
const Document = z.looseObject({
  openapi: z.literal('3.1.0'),
  info: z.strictObject({ title: z.string(), version: z.string(), description: z.string() }),
  servers: z.array(z.strictObject({ url: z.string() })),
  paths: z.record(
    z.string().startsWith('/'),
    z.partialRecord(z.enum(['get', 'post', 'put', 'patch', 'delete']), Operation),
  ),
  components: z.strictObject({ schemas: z.record(z.string(), z.record(z.string(), z.unknown())) }),
})

export type AnswerCheck = { readonly method: string; readonly path: string; readonly answer: Answer }

export type Checker = {
  /** Paths of the document with their methods: `GET /v1/status`. */
  readonly operations: readonly string[]
  /** What is wrong with an answer, in sentences. */
  check(seen: AnswerCheck): string[]
}

/** Throws where the document is none of OpenAPI, or one of its schemas none of JSON Schema 2020-12. */
export const createChecker = (body: unknown): Checker => {
  const document = Document.parse(body)
  const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true })
  addFormats.default(ajv)
  // Of zod's; it says no more than `contentEncoding` beside it.
  ajv.addFormat('base64', true)
  const validators = new Map<string, ValidateFunction>()
  const ids = new Set<string>()
  const operations: string[] = []
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (!operation) continue
      const name = `${method.toUpperCase()} ${path}`
      operations.push(name)
      if (operation.operationId !== undefined && ids.has(operation.operationId)) throw new Error(`twice: ${name}`)
      if (operation.operationId !== undefined) ids.add(operation.operationId)
      for (const { schema } of Object.values(operation.requestBody?.content ?? {})) ajv.compile(schema)
      for (const { schema } of operation.parameters ?? []) ajv.compile(schema)
      for (const [status, { content = {} }] of Object.entries(operation.responses)) {
        for (const [type, { schema }] of Object.entries(content))
          validators.set(`${name} ${status} ${type}`, ajv.compile(schema))
      }
    }
  }
  const problem = ajv.compile(document.components.schemas['Problem'] ?? {})
  return {
    operations,
    check({ method, path, answer }) {
      const name = `${method} ${path.split('?')[0]}`
      const type = (answer.headers['content-type'] ?? '').split(';')[0] ?? ''
      const known = operations.includes(name)
      const validate = known
        ? (validators.get(`${name} ${answer.status} ${type}`) ?? validators.get(`${name} default ${type}`))
        : problem
      if (!validate) return [`${name} ${answer.status} ${type} is not described`]
      if (type === 'application/problem+json' && answer.body['status'] !== answer.status)
        return [`${name} ${answer.status} bears a problem of status ${String(answer.body['status'])}`]
      if (!/json/.test(type) || validate(answer.body)) return []
      return (validate.errors ?? []).map(error => `${name} ${answer.status}${error.instancePath}: ${error.message}`)
    },
  }
}

/** The appliance with each of its answers checked; what is wrong is in `wrong`. Started before. */
export const checkAnswers = async (appliance: Appliance): Promise<Appliance & { wrong: string[] }> => {
  const wrong: string[] = []
  const watched = async (call: Appliance['call']): Promise<Appliance['call']> => {
    const checker = createChecker((await call('GET', '/v1/openapi.json')).body)
    return async (method, path, body) => {
      const answer = await call(method, path, body)
      wrong.push(...checker.check({ method, path, answer }))
      return answer
    }
  }
  return { ...appliance, call: await watched(appliance.call), ask: await watched(appliance.ask), wrong }
}
