// Holds the house together: imports point down, and the outside world is reached from service/.

import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import test from 'ava'

/** What the rooms of the key's process are built on. */
const GROUND = ['service', 'protocol']
/** Inside `core`, each room may import those before it. */
const CORE = [
  'core/policy',
  'core/outbound',
  'core/github',
  'core/store',
  'core/peers',
  'core/audit',
  'core/connection',
  'core/tokens',
  'core/cluster',
  'core/snapshot',
  'core/api',
]

/** Each room lists the rooms that it may import. `type:` means `import type` only. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  protocol: ['protocol'],
  service: ['service', 'protocol'],
  ...Object.fromEntries(CORE.map((room, at) => [room, [...CORE.slice(0, at + 1), ...GROUND]])),
  // What a disable revokes and what drift doubts are tokens, which stand on the connection.
  'core/connection': [...CORE.slice(0, CORE.indexOf('core/connection') + 1), 'type:core/tokens', ...GROUND],
  'core/api': [...CORE, 'type:core', ...GROUND],
  /** Puts the rooms together, and what works without a daemon. */
  core: ['core', ...CORE, 'doctor', 'page', ...GROUND],
  doctor: ['doctor', 'type:core/outbound', 'type:core/store', ...GROUND],
  // It is served by the daemon, whose operations it is given.
  page: ['page', 'type:core', 'type:core/audit', ...GROUND],
  cli: ['cli', ...GROUND],
  sandbox: ['sandbox'],
  'ghconnectd.ts': ['core', ...GROUND],
  'ghconnect.ts': ['cli', 'core', 'sandbox', ...GROUND],
}

/** A package with an owner is imported there and nowhere else. */
const OWNERS: Record<string, string> = {
  '@grpc/grpc-js': 'src/core/cluster/etcd-members.ts',
  '@hono/node-server': 'src/page/server.ts',
  '@octokit/auth-app': 'src/core/github/calls.ts',
  '@octokit/core': 'src/core/github/calls.ts',
  '@primer/primitives': 'src/page/assets.ts',
  'age-encryption': 'src/core/snapshot/encryption.ts',
  'better-sqlite3': 'src/core/store/sqlite.ts',
  commander: 'src/cli/program.ts',
  koffi: 'src/service/libc.ts',
  'node-cron': 'src/service/clock.ts',
  'proxy-agent': 'src/core/outbound/pool.ts',
  'smol-toml': 'src/service/config-parse.ts',
  tar: 'src/core/snapshot/archive.ts',
}

const ROOT = resolve(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')
const IMPORT = /(?:^(?:import|export)\s+(type\s+)?(?:[^'"]*?from\s+)?|\bimport\()'([^']+)'/gm
const roomOf = (file: string): string => {
  const [room = '', subject = '', rest] = relative(SRC, file).split('/')
  return rest !== undefined && room === 'core' ? `${room}/${subject}` : room
}

type Edge = { from: string; to: string; typeOnly: boolean }
const edges: Edge[] = []
const packages: { from: string; name: string }[] = []
const sources = new Map<string, string>()
for (const entry of await readdir(SRC, { recursive: true })) {
  if (!entry.endsWith('.ts')) continue
  const from = join(SRC, entry)
  const text = await readFile(from, 'utf8')
  sources.set(relative(ROOT, from), text)
  for (const [, type, spec = ''] of text.matchAll(IMPORT)) {
    if (spec.startsWith('.') && !spec.endsWith('.ts')) continue
    if (spec.startsWith('.')) edges.push({ from, to: resolve(dirname(from), spec), typeOnly: Boolean(type) })
    else if (!spec.startsWith('node:')) {
      packages.push({
        from: relative(ROOT, from),
        name: spec
          .split('/')
          .slice(0, spec.startsWith('@') ? 2 : 1)
          .join('/'),
      })
    }
  }
}

test('the sources were found', t => {
  t.true(sources.size > 20)
  t.true(edges.length > 20)
})

test('imports point down', t => {
  const upward = edges.filter(({ from, to, typeOnly }) => {
    const allowed = MAY_IMPORT[roomOf(from)] ?? []
    return !allowed.includes(roomOf(to)) && !(typeOnly && allowed.includes(`type:${roomOf(to)}`))
  })
  t.deepEqual(
    upward.map(e => `${relative(SRC, e.from)} -> ${relative(SRC, e.to)}`),
    [],
  )
})

test('no circles', t => {
  const next = Map.groupBy(edges, e => e.from)
  const done = new Set<string>()
  const visit = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    for (const { to } of next.get(file) ?? []) {
      const circle = visit(to, [...path, file])
      if (circle) return circle
    }
    done.add(file)
    return undefined
  }
  for (const file of next.keys()) {
    t.is(
      visit(file, [])
        ?.map(f => relative(SRC, f))
        .join(' -> '),
      undefined,
    )
  }
})

test('each package is imported by its one owner', t => {
  const strays = packages.filter(({ from, name }) => {
    const owner = OWNERS[name]
    return owner !== undefined && owner !== from && !from.startsWith('src/sandbox/')
  })
  t.deepEqual(strays, [])
})

test('clock, environment, network and timers are reached from service/ alone', t => {
  const outside =
    /\bDate\.now\(|\bnew Date\(\)|\bprocess\.env\b|\bset(Timeout|Interval)\(|[^.\w]fetch\(|performance\.now\(/
  const found: string[] = []
  for (const [file, text] of sources) {
    if (/^src\/(service|sandbox)\/|^src\/(ghconnectd?|core\/run)\.ts$/.test(file)) continue
    for (const line of text.split('\n'))
      if (outside.test(line) && !/^\s*(\/\/|\*|\/\*)/.test(line)) found.push(`${file}: ${line.trim()}`)
  }
  t.deepEqual(found, [])
})
