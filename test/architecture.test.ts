// Holds the house together: imports point down, and the outside world is reached from platform/ alone.

import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import test from 'ava'

/** Each room lists the rooms that it may import. `type:` means `import type` only. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  domain: ['domain'],
  platform: ['platform', 'domain'],
  github: ['github', 'platform', 'domain'],
  store: ['store', 'platform', 'domain'],
  snapshot: ['snapshot', 'platform', 'domain'],
  cluster: ['cluster', 'platform', 'domain'],
  operations: ['operations', 'domain', 'type:platform', 'type:github', 'type:store', 'type:snapshot', 'type:cluster'],
  api: ['api', 'domain', 'type:operations', 'type:platform'],
  web: ['web', 'domain', 'type:operations', 'type:platform'],
  cli: ['cli', 'domain', 'platform'],
  sandbox: ['sandbox'],
  'doctor.ts': ['unlock.ts', 'platform', 'store', 'operations', 'domain'],
  'config-check.ts': ['unlock.ts', 'platform', 'cluster', 'domain'],
  'daemon.ts': [
    'config-check.ts',
    'doctor.ts',
    'engine.ts',
    'engine-keeper.ts',
    'settings-page.ts',
    'platform',
    'github',
    'store',
    'snapshot',
    'cluster',
    'operations',
    'api',
    'web',
    'domain',
  ],
  'unlock.ts': ['platform', 'store', 'snapshot', 'operations', 'domain'],
  'salvage.ts': ['platform', 'store', 'snapshot', 'type:operations', 'domain'],
  'rotate-store-key.ts': ['unlock.ts', 'platform', 'store', 'domain'],
  'engine-keeper.ts': ['engine.ts', 'salvage.ts', 'unlock.ts', 'platform', 'type:operations', 'domain'],
  'settings-page.ts': ['type:engine-keeper.ts', 'api', 'web', 'domain', 'platform', 'type:operations'],
  'engine.ts': [
    'engine-changes.ts',
    'engine-forms.ts',
    'engine-github.ts',
    'engine-seat.ts',
    'engine-snapshots.ts',
    'unlock.ts',
    'platform',
    'github',
    'store',
    'snapshot',
    'operations',
    'domain',
    'type:web',
  ],
  'engine-changes.ts': ['github', 'operations', 'type:platform', 'domain'],
  'engine-github.ts': ['domain', 'github', 'operations', 'platform', 'type:store'],
  'engine-forms.ts': ['github', 'type:platform', 'type:web', 'domain'],
  'engine-snapshots.ts': ['platform', 'github', 'store', 'snapshot', 'operations', 'domain'],
  'engine-seat.ts': ['engine-cluster.ts', 'operations', 'type:platform', 'type:store', 'domain'],
  'engine-cluster.ts': ['cluster', 'operations', 'platform', 'type:github', 'type:store', 'domain'],
  'proof.ts': ['offline-proxy.ts', 'platform', 'github', 'snapshot', 'domain'],
  'offline.ts': [
    'offline-proxy.ts',
    'proof.ts',
    'engine.ts',
    'engine-snapshots.ts',
    'rotate-store-key.ts',
    'salvage.ts',
    'unlock.ts',
    'platform',
    'store',
    'snapshot',
    'operations',
    'domain',
  ],
  'offline-proxy.ts': ['unlock.ts', 'platform', 'domain'],
  'offline-check.ts': ['config-check.ts', 'offline-proxy.ts', 'unlock.ts', 'platform', 'store', 'operations', 'domain'],
  'run.ts': ['daemon.ts', 'platform', 'domain'],
  'ghconnectd.ts': ['run.ts', 'platform', 'domain'],
  'debug-bundle.ts': ['platform', 'snapshot', 'domain'],
  'ghconnect.ts': [
    'cli',
    'config-check.ts',
    'debug-bundle.ts',
    'offline.ts',
    'offline-check.ts',
    'run.ts',
    'sandbox',
    'platform',
    'domain',
  ],
}

/** A package with an owner is imported there and nowhere else. */
const OWNERS: Record<string, string> = {
  '@grpc/grpc-js': 'src/cluster/etcd-channel.ts',
  '@hono/node-server': 'src/web/server.ts',
  '@octokit/auth-app': 'src/github/request.ts',
  '@octokit/core': 'src/github/request.ts',
  '@primer/primitives': 'src/web/style.ts',
  'age-encryption': 'src/snapshot/encryption.ts',
  'better-sqlite3': 'src/store/sqlite.ts',
  commander: 'src/cli/program.ts',
  etcd3: 'src/cluster/etcd.ts',
  koffi: 'src/platform/libc.ts',
  'node-cron': 'src/platform/clock.ts',
  pino: 'src/platform/log.ts',
  'prom-client': 'src/api/metrics.ts',
  'proxy-agent': 'src/platform/outbound-pool.ts',
  'smol-toml': 'src/platform/config-parse.ts',
  tar: 'src/snapshot/archive.ts',
}

const ROOT = resolve(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')
const IMPORT = /(?:^(?:import|export)\s+(type\s+)?(?:[^'"]*?from\s+)?|\bimport\()'([^']+)'/gm
const roomOf = (file: string): string => relative(SRC, file).split('/')[0] ?? ''

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

test('clock, environment, network and timers are reached from platform/ alone', t => {
  const outside =
    /\bDate\.now\(|\bnew Date\(\)|\bprocess\.env\b|\bset(Timeout|Interval)\(|[^.\w]fetch\(|performance\.now\(/
  const found: string[] = []
  for (const [file, text] of sources) {
    if (/^src\/(platform|sandbox)\/|^src\/(ghconnectd?|run)\.ts$/.test(file)) continue
    for (const line of text.split('\n'))
      if (outside.test(line) && !/^\s*(\/\/|\*|\/\*)/.test(line)) found.push(`${file}: ${line.trim()}`)
  }
  t.deepEqual(found, [])
})
