// Checks requests to GitHub, and answers in its name, against GitHub's own OpenAPI description.

import { Ajv, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import { atVersion, isObject, readSlice, text, type Json, type JsonObject } from './openapi-slice.ts'

export type RequestToCheck = { method: string; path: string; body?: unknown; version?: string }
export type ResponseToCheck = { method: string; path: string; status: number; body?: unknown; version?: string }

const CURRENT = '2026-03-10'
const BASIC_ERROR = '#/components/schemas/basic-error'

/** What is wrong with a request, in sentences; nothing where GitHub would understand it. */
export const checkRequest = ({ method, path, body, version = CURRENT }: RequestToCheck): string[] => {
  const found = find(version, method, path)
  if (typeof found === 'string') return [found]
  const { operation, pointer, query } = found
  const known = new Set(parametersOf(version, operation, 'query'))
  const errors = [...query.keys()].filter(name => !known.has(name)).map(name => `unknown query parameter ${name}`)
  const content = child(child(child(operation, 'requestBody'), 'content'), 'application/json')
  if (body === undefined || body === null || body === '') {
    const required = child(operation, 'requestBody')?.['required'] === true
    return required ? [...errors, 'a body is required'] : errors
  }
  if (!content) return [...errors, 'no body is taken here']
  const at = `${pointer}/requestBody/content/application~1json/schema`
  return [...errors, ...unknownFields(version, child(content, 'schema'), body), ...validate(version, at, body)]
}

/** What is wrong with an answer. Statuses that GitHub does not describe for a path must be plain errors. */
export const checkResponse = ({ method, path, status, body, version = CURRENT }: ResponseToCheck): string[] => {
  const found = find(version, method, path)
  if (typeof found === 'string') return status === 404 ? validate(version, BASIC_ERROR, body) : [found]
  const { operation, pointer } = found
  const described = child(child(operation, 'responses'), String(status))
  // 307 is described for all of the API, in GitHub's "best practices".
  if (!described && (status >= 400 || status === 307)) return validate(version, BASIC_ERROR, body)
  if (!described) return [`status ${status} is not described`]
  const ref = described['$ref']
  const at = typeof ref === 'string' ? ref : `${pointer}/responses/${status}`
  const content = child(follow(version, described), 'content')
  if (!content || Object.keys(content).length === 0)
    return body === undefined || body === null || body === '' ? [] : ['a body where none belongs']
  return validate(version, `${at}/content/application~1json/schema`, body)
}

type Prepared = { document: JsonObject; ajv: Ajv; validators: Map<string, ValidateFunction> }
type Found = { operation: JsonObject; pointer: string; query: URLSearchParams }

const slice = await readSlice()
const prepared = new Map<string, Prepared>()

const prepare = (version: string): Prepared => {
  const known = prepared.get(version)
  if (known) return known
  const document = atVersion(slice, version)
  const ajv = new Ajv({ strict: false, allErrors: true, validateSchema: false, logger: false })
  addFormats.default(ajv)
  ajv.addSchema(document, 'github')
  const fresh = { document, ajv, validators: new Map() }
  prepared.set(version, fresh)
  return fresh
}

const validate = (version: string, pointer: string, body: unknown): string[] => {
  const { ajv, validators } = prepare(version)
  const check = validators.get(pointer) ?? ajv.compile({ $ref: `github${escapePointer(pointer)}` })
  validators.set(pointer, check)
  if (check(body)) return []
  return (check.errors ?? []).map(e => `${e.instancePath || 'body'} ${e.message ?? ''} ${JSON.stringify(e.params)}`)
}

/** Pointers are fragments of an address: braces must be written as percent signs. */
const escapePointer = (pointer: string): string => pointer.replaceAll('{', '%7B').replaceAll('}', '%7D')

const find = (version: string, method: string, address: string): Found | string => {
  const url = new URL(address, 'http://github')
  // A repository's routes by its id are not described; they are those by its name.
  const path =
    url.pathname.replace(/^\/api\/v3(?=\/|$)/, '').replace(/^\/repositories\/\d+(?=\/|$)/, '/repos/OWNER/NAME') || '/'
  const paths = child(prepare(version).document, 'paths') ?? {}
  const template = Object.keys(paths)
    .toSorted((a, b) => a.split('{').length - b.split('{').length)
    .find(one => patternOf(one).test(path))
  if (template === undefined) return `no path ${path}`
  const operation = child(child(paths, template), method.toLowerCase())
  if (!operation) return `no ${method} on ${template}`
  const pointer = `#/paths/${template.replaceAll('/', '~1')}/${method.toLowerCase()}`
  return { operation, pointer, query: url.searchParams }
}

/** Only a file's path may be empty or have slashes in it; ids are numbers. */
const patternOf = (template: string): RegExp => {
  const pattern = template
    .replace('/{path}', '(?:/.*)?')
    .replace(/\{(\w+)\}/g, (_, name: string) => (/_id$|_number$/.test(name) ? '\\d+' : '[^/]+'))
  return new RegExp(`^${pattern}$`)
}

const parametersOf = (version: string, operation: JsonObject, where: string): string[] => {
  const listed = operation['parameters']
  return (Array.isArray(listed) ? listed : [])
    .map(one => (isObject(one) ? follow(version, one) : {}))
    .filter(one => one['in'] === where)
    .map(one => text(one['name']))
}

/** GitHub ignores fields that it does not know; we want to hear of them, since they are misspelt. */
const unknownFields = (version: string, schema: JsonObject | undefined, body: unknown): string[] => {
  if (!schema || typeof body !== 'object' || body === null) return []
  const known = child(follow(version, schema), 'properties') ?? {}
  return Object.keys(body)
    .filter(name => !Object.hasOwn(known, name))
    .map(name => `unknown field ${name}`)
}

const follow = (version: string, node: JsonObject): JsonObject => {
  const ref = node['$ref']
  if (typeof ref !== 'string') return node
  let here: JsonObject | undefined = prepare(version).document
  for (const key of ref.slice(2).split('/')) here = child(here, key)
  return here ?? {}
}

const child = (node: JsonObject | undefined, key: string): JsonObject | undefined => {
  const value: Json | undefined = node?.[key]
  return isObject(value) ? value : undefined
}
