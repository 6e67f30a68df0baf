// The documents: their tables are those of the code, and what they point at exists.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import test from 'ava'
import { z } from 'zod'
import { METRICS } from '../src/core/api/metrics.ts'
import { openApiDocument } from '../src/core/api/openapi.ts'
import { COMMANDS } from '../src/cli/commands.ts'
import type { DaemonState } from '../src/protocol/connection.ts'
import { CATALOGUE } from '../src/protocol/errors.ts'
import { FEATURES } from '../src/protocol/features.ts'
import { describePermissions } from '../src/protocol/scope.ts'
import { File } from '../src/service/config-schema.ts'

const ROOT = resolve(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

const FOLDER = join(ROOT, 'docs')
const further = existsSync(FOLDER) ? readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }) : []
const DOCUMENTS = new Map(
  ['README.md', 'ARCHITECTURE.md', 'SECURITY.md', 'CHANGELOG.md', ...further.map(name => `docs/${name}`)]
    .filter(name => name.endsWith('.md'))
    .map(name => [name, read(name)]),
)
const README = read('README.md')

/** What stands between the markers of that name, in the README unless another document is named. */
const sectionOf = (name: string, document = README): string => {
  const [, text] = document.split(new RegExp(`<!-- /?${name} -->\n`))
  return (text ?? '').trim()
}

/** Cells of a table's rows, without its head. */
const rowsOf = (name: string): string[][] =>
  sectionOf(name)
    .split('\n')
    .filter(line => line.startsWith('| '))
    .slice(1)
    .map(line => line.split(/(?<!\\)\|/).slice(1, -1))
    .map(cells => cells.map(cell => cell.trim()))

const namesOf = (name: string): string[] => rowsOf(name).map(([first = '']) => first.replaceAll('`', ''))

test('the table of problems is the catalogue', t => {
  const rows = Object.entries(CATALOGUE).map(
    ([code, { status, exit, title }]) => `| \`${code}\` | ${status} | ${exit} | ${title} |`,
  )
  t.is(sectionOf('catalogue'), ['| code | status | exit | title |', '|---|---|---|---|', ...rows].join('\n'))
})

const JsonSchema = z.object({
  default: z.unknown().optional(),
  type: z.string().optional(),
  get properties() {
    return z.record(z.string(), JsonSchema).optional()
  },
  get items() {
    return JsonSchema.optional()
  },
})
type Key = { readonly name: string; readonly value: unknown }

/** Tables and lists of tables are gone into; maps, such as permissions, are one key. */
const keysOf = (schema: z.infer<typeof JsonSchema>, name: string): Key[] => {
  const table = schema.properties ?? schema.items?.properties
  if (!table) return [{ name, value: schema.default }]
  return Object.entries(table).flatMap(([key, inner]) => keysOf(inner, name === '' ? key : `${name}.${key}`))
}

const keys = keysOf(JsonSchema.parse(z.toJSONSchema(File, { io: 'input', unrepresentable: 'any' })), '')

const toToml = (value: unknown): string => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return JSON.stringify(value)
  const pairs = Object.entries(value).map(([key, inner]) => `${key} = ${toToml(inner)}`)
  if (pairs.length === 0) return '{}'
  return `{ ${pairs.join(', ')} }`
}

test('each key of the configuration has its row, and no other has', t => {
  t.true(keys.length > 30)
  t.deepEqual(
    namesOf('configuration'),
    keys.map(key => key.name),
  )
})

test('the defaults in the README are those of the code', t => {
  const told = new Map(rowsOf('configuration').map(([name = '', value = '']) => [name.replaceAll('`', ''), value]))
  for (const { name, value } of keys) {
    if (value !== undefined) t.is(told.get(name), `\`${toToml(value)}\``, name)
    else t.notRegex(told.get(name) ?? '', /^`"|^$/, `${name} has no default of its own`)
  }
})

test('each command has its row, with all of its options', t => {
  const options = new Map(rowsOf('commands').map(([name = '', flags = '']) => [name.replaceAll('`', ''), flags]))
  t.deepEqual(
    [...options.keys()],
    COMMANDS.map(command => command.name),
  )
  for (const command of COMMANDS) {
    for (const flags of Object.keys(command.options ?? {})) {
      const [flag = ''] = flags.split(' ')
      if (flag !== '--json') t.true(options.get(command.name)?.includes(`\`${flag}`), `${command.name} ${flag}`)
    }
  }
})

test('each route has its row, with its sockets', t => {
  const routesOf = (socket: 'token' | 'admin'): string[] =>
    Object.entries(openApiDocument({ socket, version: '' })['paths'] ?? {}).flatMap(([path, methods]) =>
      Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`),
    )
  const onToken = new Set(routesOf('token'))
  const onAdmin = routesOf('admin')
  const expected = onAdmin.map(route => `${route} ${onToken.has(route) ? 'both' : 'admin'}`)
  t.true(onToken.isSubsetOf(new Set(onAdmin)))
  t.deepEqual(
    rowsOf('routes')
      .map(([route = '', socket = '']) => `${route.replaceAll('`', '')} ${socket}`)
      .toSorted(),
    expected.toSorted(),
  )
})

/** Complete, or it does not compile. */
const STATES: Readonly<Record<DaemonState, true>> = {
  disconnected: true,
  'awaiting-app': true,
  'key-lost': true,
  'awaiting-installation': true,
  connected: true,
  suspended: true,
  uninstalled: true,
  'app-deleted': true,
  'key-rejected': true,
  blocked: true,
  quarantined: true,
  disconnecting: true,
  locked: true,
  'awaiting-unlock': true,
  isolated: true,
}

test('each state has its row', t => {
  t.deepEqual(namesOf('states'), Object.keys(STATES))
})

test('each feature has its row, with what it may do and what it moves, and each remark stands below', t => {
  const document = DOCUMENTS.get('docs/features.md') ?? ''
  const rows = Object.entries(FEATURES).map(
    ([name, { permissions, reads, sends, consumer }]) =>
      `| \`${name}\` | ${describePermissions(permissions)} | ${reads} | ${sends} | ${consumer} |`,
  )
  const head = ['| feature | permissions | reads | sends | by |', '|---|---|---|---|---|']
  t.is(sectionOf('features', document), [...head, ...rows].join('\n'))
  const remarks = Object.entries(FEATURES).flatMap(([name, { remark }]) => (remark ? [`- \`${name}\`: ${remark}`] : []))
  t.is(sectionOf('remarks', document), remarks.join('\n'))
})

test('each metric has its row, with its type and labels', t => {
  const rows = Object.entries(METRICS).map(
    ([name, { type, labels, help }]) =>
      `| \`${name}\` | ${type} | ${labels.map(label => `\`${label}\``).join(' ')} | ${help} |`,
  )
  const head = ['| metric | type | labels | meaning |', '|---|---|---|---|']
  t.is(sectionOf('metrics', DOCUMENTS.get('docs/observability.md')), [...head, ...rows].join('\n'))
})

const Package = z.object({
  version: z.string(),
  dependencies: z.record(z.string(), z.string()),
  optionalDependencies: z.record(z.string(), z.string()),
})

test('each package has its row, with the file that owns it', t => {
  const { dependencies, optionalDependencies } = Package.parse(JSON.parse(read('package.json')))
  const [, table = ''] =
    /const OWNERS: Record<string, string> = {\n([^}]*)}/.exec(read('test/architecture.test.ts')) ?? []
  const owners = new Map(
    [...table.matchAll(/^ {2}'?([^':]+)'?: '([^']+)',$/gm)].map(([, name = '', file = '']) => [name, file]),
  )
  t.true(owners.size > 10)
  t.deepEqual(namesOf('dependencies'), Object.keys({ ...dependencies, ...optionalDependencies }).toSorted())
  for (const [name = '', owner = '', why = ''] of rowsOf('dependencies')) {
    const file = owners.get(name.replaceAll('`', ''))
    if (file !== undefined) t.is(owner, `\`${file}\``, name)
    t.not(why, '', name)
  }
})

test('each room of the sources is in ARCHITECTURE.md', t => {
  const text = DOCUMENTS.get('ARCHITECTURE.md') ?? ''
  for (const entry of readdirSync(join(ROOT, 'src'), { withFileTypes: true })) {
    if (entry.isDirectory()) t.true(text.includes(`\`${entry.name}/\``), entry.name)
    else t.true(text.includes(`\`${entry.name}\``), entry.name)
  }
})

test('each file that a document names exists, and none is named by line', t => {
  let count = 0
  for (const [name, text] of DOCUMENTS) {
    for (const [, path = ''] of text.matchAll(/`((?:src|test|scripts)\/[\w./-]*)[^`]*`/g)) {
      count += 1
      t.true(existsSync(join(ROOT, path)), `${name}: ${path}`)
    }
    t.notRegex(text, /\.(?:ts|js|json|toml):\d|\bline \d/i, name)
  }
  t.true(count > 40)
})

/** As GitHub makes it of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

test('each link within the repository leads somewhere', t => {
  let count = 0
  for (const [name, text] of DOCUMENTS) {
    for (const [, target = ''] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      count += 1
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? name : join(dirname(name), path)
      t.true(existsSync(join(ROOT, file)), `${name}: ${target}`)
      if (anchor === undefined) continue
      const headings = [...(DOCUMENTS.get(file) ?? '').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading)
      t.true(headings.map(anchorOf).includes(anchor), `${name}: ${target}`)
    }
  }
  t.true(count > 4)
})

test('the changelog begins with this version, and says whether it is released', t => {
  const { version } = Package.parse(JSON.parse(read('package.json')))
  const [, first] = /^## (.+)$/m.exec(DOCUMENTS.get('CHANGELOG.md') ?? '') ?? []
  t.true([`${version} (unreleased)`, `[${version}]`].includes(first ?? ''), first)
})
