// Cuts our paths out of GitHub's OpenAPI description, and makes plain JSON Schema of them for one API version.

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

/** What the daemon calls or the sandbox serves, and what stands close to it. */
export const PATHS = [
  '/',
  '/meta',
  '/rate_limit',
  '/versions',
  '/zen',
  '/app-manifests/{code}/conversions',
  '/app',
  '/app/hook/config',
  '/app/hook/deliveries',
  '/app/hook/deliveries/{delivery_id}',
  '/app/hook/deliveries/{delivery_id}/attempts',
  '/app/installation-requests',
  '/app/installations',
  '/app/installations/{installation_id}',
  '/app/installations/{installation_id}/access_tokens',
  '/app/installations/{installation_id}/suspended',
  '/apps/{app_slug}',
  '/orgs/{org}/installation',
  '/users/{username}/installation',
  '/repos/{owner}/{repo}/installation',
  '/enterprises/{enterprise}/installation',
  '/installation/token',
  '/installation/repositories',
  '/orgs/{org}/installations',
  '/repos/{owner}/{repo}',
  '/repos/{owner}/{repo}/branches',
  '/repos/{owner}/{repo}/contents/{path}',
  '/repos/{owner}/{repo}/issues',
  '/repos/{owner}/{repo}/issues/{issue_number}',
  '/repos/{owner}/{repo}/readme',
]

const ROOT = resolve(import.meta.dirname, '../..')
const PACKAGE = resolve(ROOT, 'node_modules/@octokit/openapi')
const KEYS_OF_NO_USE = new Set(['example', 'examples', 'discriminator', 'externalDocs', 'x-github', 'x-octokit'])

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '')

export const parse = (source: string): JsonObject => {
  const value: Json = JSON.parse(source)
  if (!isObject(value)) throw new Error('not a JSON object')
  return value
}

/** The slice as GitHub wrote it; cut once for each version of the package, and kept under node_modules/.cache. */
export const readSlice = async (): Promise<JsonObject> => {
  const { version } = parse(await readFile(`${PACKAGE}/package.json`, 'utf8'))
  const cached = resolve(ROOT, `node_modules/.cache/ghconnectd/github-openapi-${text(version)}-${PATHS.length}.json`)
  try {
    return parse(await readFile(cached, 'utf8'))
  } catch {
    const cut = slice(parse(await readFile(`${PACKAGE}/generated/ghec.json`, 'utf8')))
    await mkdir(dirname(cached), { recursive: true })
    // Several test processes may do this at once.
    const part = `${cached}.${process.pid}`
    await writeFile(part, JSON.stringify(cut))
    await rename(part, cached)
    return cut
  }
}

/** Brings the slice to one API version, and its dialect to JSON Schema's. */
export const atVersion = (document: JsonObject, version: string): JsonObject => {
  const plain = plainSchema(evolve(document, version))
  if (!isObject(plain)) throw new Error('the slice is not an object')
  return plain
}

const slice = (whole: JsonObject): JsonObject => {
  const paths: JsonObject = {}
  for (const path of PATHS) {
    const item = at(whole, ['paths', path])
    if (item === undefined) throw new Error(`GitHub does not describe ${path}`)
    paths[path] = strip(item)
  }
  const kept = new Map<string, Json>()
  const collect = (node: Json): void => {
    if (Array.isArray(node)) node.forEach(collect)
    if (!isObject(node)) return
    const ref = node['$ref']
    if (typeof ref === 'string' && !kept.has(ref)) {
      // A few references lead nowhere: those admit anything.
      const target = strip(at(whole, ref.slice(2).split('/')) ?? {})
      kept.set(ref, target)
      collect(target)
    }
    Object.values(node).forEach(collect)
  }
  collect(paths)
  const components: Record<string, JsonObject> = {}
  for (const [ref, target] of kept) {
    const [, , kind = '', name = ''] = ref.split('/')
    components[kind] = { ...components[kind], [name]: target }
  }
  return { paths, components }
}

const at = (node: Json, keys: readonly string[]): Json | undefined => {
  let here: Json | undefined = node
  for (const key of keys) here = isObject(here) ? here[key] : undefined
  return here
}

const strip = (node: Json): Json => {
  if (Array.isArray(node)) return node.map(strip)
  if (!isObject(node)) return node
  const entries = Object.entries(node).filter(([key, value]) => !KEYS_OF_NO_USE.has(key) || isNamed(key, value))
  return Object.fromEntries(entries.map(([key, value]) => [key, strip(value)]))
}

/** A property that happens to be called `example` is a schema, not an example. */
const isNamed = (key: string, value: Json): boolean => key === 'example' && isObject(value) && 'type' in value

/** Applies GitHub's breaking changes: merge patches, or lists of removals. */
const evolve = (node: Json, version: string): Json => {
  if (Array.isArray(node)) return node.map(one => evolve(one, version))
  if (!isObject(node)) return node
  const { 'x-github-breaking-changes': changes, ...rest } = node
  let current: Json = rest
  for (const change of Array.isArray(changes) ? changes : []) {
    if (!isObject(change) || text(change['version']) > version) continue
    current = Array.isArray(change['patch'])
      ? change['patch'].reduce(applyOperation, current)
      : merge(current, change['patch'] ?? {})
  }
  if (!isObject(current)) return current
  return Object.fromEntries(Object.entries(current).map(([key, value]) => [key, evolve(value, version)]))
}

/** RFC 7386. */
const merge = (target: Json, patch: Json): Json => {
  if (!isObject(patch)) return patch
  const merged: JsonObject = isObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key]
    else merged[key] = merge(merged[key] ?? null, value)
  }
  return merged
}

/** Of RFC 6902 the slice has removals only. */
const applyOperation = (target: Json, operation: Json): Json => {
  if (!isObject(operation) || operation['op'] !== 'remove') throw new Error('an operation that is no removal')
  const keys = text(operation['path']).slice(1).split('/')
  const last = keys.pop() ?? ''
  const copy = structuredClone(target)
  let here: Json | undefined = copy
  for (const key of keys) here = isObject(here) ? here[key] : undefined
  if (Array.isArray(here)) here.splice(Number(last), 1)
  else if (isObject(here)) delete here[last]
  return copy
}

/** `nullable`, with or without a type beside it, becomes a choice with null. */
const plainSchema = (node: Json): Json => {
  if (Array.isArray(node)) return node.map(plainSchema)
  if (!isObject(node)) return node
  const { nullable, ...rest } = eitherAccount(node)
  const mapped = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, plainSchema(value)]))
  if (typeof nullable !== 'boolean') return nullable === undefined ? mapped : { ...mapped, nullable }
  return nullable ? { anyOf: [{ type: 'null' }, mapped] } : mapped
}

/** In the list of installations an account is described as a user *and* an enterprise; it is one of them. */
const eitherAccount = (node: JsonObject): JsonObject => {
  const { allOf, ...rest } = node
  const titles = Array.isArray(allOf) ? allOf.map(one => (isObject(one) ? text(one['title']) : '')) : []
  return allOf !== undefined && titles.join() === 'Simple User,Enterprise' ? { ...rest, anyOf: allOf } : node
}
