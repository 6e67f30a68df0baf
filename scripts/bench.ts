// The benchmark: each row measures the daemon and a floor in turn, in one run, and prints the ratio beside its budget.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { openStore } from '../src/core/store/database.ts'
import { createTokens } from '../src/core/tokens/tokens.ts'
import { type Appliance, createAppliance } from '../test/support/appliance.ts'
import { benchCluster } from './bench-cluster.ts'
import { benchPage } from './bench-page.ts'
import { INSTALLATIONS, median, quietLog, type Row, SCOPES, stillClock, tokensOf, TURNS } from './bench-parts.ts'
import { benchSnapshot } from './bench-snapshot.ts'
import { asInUnit, type Build, buildAt, openWebSocket } from './bench-start.ts'

const ROOT = resolve(import.meta.dirname, '..')
const CONNECTIONS = 32
const REQUESTS = 60_000

const pinned = (core: number, command: readonly string[]): string[] => ['taskset', '-c', String(core), ...command]

/** A child that is ready when its output matches; resolves to it and to the milliseconds that took. */
const launch = async (
  command: readonly string[],
  options: { ready: RegExp; env?: NodeJS.ProcessEnv; fd?: number },
): Promise<{ child: ChildProcess; ms: number }> => {
  const [program = '', ...args] = command
  const began = performance.now()
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe', options.fd ?? 'ignore'],
    env: { ...process.env, ...options.env },
  })
  const { promise, resolve: isReady, reject } = Promise.withResolvers<number>()
  let text = ''
  const read = (chunk: Buffer): void => {
    text += chunk.toString()
    if (options.ready.test(text)) isReady(performance.now() - began)
  }
  child.stdout?.on('data', read)
  child.stderr?.on('data', read)
  child.once('exit', () => reject(new Error(text)))
  return { child, ms: await promise }
}

const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null) return
  const { promise, resolve: ended } = Promise.withResolvers<void>()
  child.removeAllListeners('exit').once('exit', () => ended())
  child.kill('SIGTERM')
  await promise
}

const rssMb = (pid: number | undefined): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

/** The bare floor: node:http that reads the body and answers the same JSON. */
const floorServer = (socket: string, answer: string): string[] => [
  process.execPath,
  '-e',
  `require('http').createServer((q,s)=>{q.on('data',()=>{});q.on('end',()=>{s.writeHead(200,{'content-type':'application/json'});s.end(${JSON.stringify(answer)})})}).listen(${JSON.stringify(socket)},()=>console.log('ready'))`,
]

type Load = { requestsPerSecond: number; p99Ms: number }

const BODY = '{"repositories":["web"],"permissions":{"contents":"read"}}'

/** h2load reports no p99, so each run logs its requests: start, status, microseconds. */
const load = (socket: string, folder: string): Load => {
  const body = join(folder, 'body.json')
  const log = join(folder, 'requests.log')
  writeFileSync(body, BODY)
  rmSync(log, { force: true })
  const args = [
    '--h1',
    '-n',
    String(REQUESTS),
    '-c',
    String(CONNECTIONS),
    '-t',
    '1',
    '-d',
    body,
    '-H',
    'content-type: application/json',
  ]
  const command = pinned(1, [
    'h2load',
    ...args,
    `--log-file=${log}`,
    '-B',
    `unix:${socket}`,
    'http://localhost/v1/tokens',
  ])
  const [program = '', ...rest] = command
  const text = execFileSync(program, rest, { encoding: 'utf8' })
  const failed = /(\d+) failed, (\d+) errored/.exec(text)
  const good = /status codes: (\d+) 2xx/.exec(text)?.[1]
  if (Number(good) !== REQUESTS) throw new Error(`${failed?.[0] ?? 'unreadable'}, ${good} answered 2xx\n${text}`)
  const micros = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map(line => Number(line.split('\t')[2]))
    .toSorted((a, b) => a - b)
  return {
    requestsPerSecond: Number(/([\d.]+) req\/s/.exec(text)?.[1]),
    p99Ms: (micros[Math.floor(micros.length * 0.99)] ?? Number.NaN) / 1000,
  }
}

const benchToken = async (appliance: Appliance): Promise<Row[]> => {
  const floorSocket = join(appliance.folder, 'floor.sock')
  await appliance.start()
  await appliance.enable()
  // A daemon serves for months after the one start in which it was enabled: what only that needed is not in its memory.
  await appliance.kill()
  await appliance.start()
  const { text } = await appliance.ask('POST', '/v1/tokens', JSON.parse(BODY))
  const { child: floor } = await launch(pinned(0, floorServer(floorSocket, text)), { ready: /ready/ })
  execFileSync('taskset', ['-a', '-cp', '0', String(appliance.pid())], { stdio: 'ignore' })
  const ours: Load[] = []
  const bare: Load[] = []
  for (let turn = 0; turn <= TURNS; turn++) {
    const [a, b] = [load(floorSocket, appliance.folder), load(join(appliance.runtime, 'token.sock'), appliance.folder)]
    // The first turn warms both up.
    if (turn > 0) [bare, ours].forEach((list, at) => list.push(at === 0 ? a : b))
  }
  await end(floor)
  const ratio = median(ours.map((o, at) => o.requestsPerSecond / (bare[at]?.requestsPerSecond ?? Number.NaN)))
  const tail = median(ours.map((o, at) => o.p99Ms / (bare[at]?.p99Ms ?? Number.NaN)))
  const figure = (loads: Load[]): string =>
    `${Math.round(median(loads.map(l => l.requestsPerSecond)))} req/s, p99 ${median(loads.map(l => l.p99Ms)).toFixed(2)} ms`
  return [
    {
      name: `cached token, ${CONNECTIONS} connections, req/s`,
      floor: figure(bare),
      ours: figure(ours),
      ratio: ratio.toFixed(2),
      budget: '>= 0.7',
      within: ratio >= 0.7,
    },
    { name: 'cached token, p99', floor: '', ours: '', ratio: tail.toFixed(2), budget: '<= 2', within: tail <= 2 },
  ]
}

const benchStart = async (appliance: Appliance, build: Build): Promise<Row[]> => {
  const env = { NODE_COMPILE_CACHE: join(appliance.folder, 'cache') }
  const ours = asInUnit([process.execPath, build.daemon, '--config', appliance.configFile], build)
  const floor = floorServer(join(appliance.folder, 'floor.sock'), '{}')
  const times: { ours: number[]; bare: number[]; rss: number[] } = { ours: [], bare: [], rss: [] }
  for (let turn = 0; turn <= TURNS * 2; turn++) {
    rmSync(join(appliance.folder, 'floor.sock'), { force: true })
    const bare = await launch(floor, { ready: /ready/ })
    await end(bare.child)
    const { fd, wrap, close, ...passed } = await openWebSocket()
    const started = await launch([...wrap, ...ours], { ready: /"message":"ready"/, env: { ...env, ...passed.env }, fd })
    close()
    // Memory is read after a first use, not of a process that has done nothing yet.
    await appliance.call('GET', '/v1/status')
    const rss = rssMb(started.child.pid)
    await end(started.child)
    if (turn === 0) continue
    times.bare.push(bare.ms)
    times.ours.push(started.ms)
    times.rss.push(rss)
  }
  const ratio = median(times.ours.map((ms, at) => ms / (times.bare[at] ?? Number.NaN)))
  const rss = median(times.rss)
  return [
    {
      name: 'start to READY',
      floor: `${median(times.bare).toFixed(0)} ms`,
      ours: `${median(times.ours).toFixed(0)} ms`,
      ratio: ratio.toFixed(2),
      budget: '<= 3.5',
      within: ratio <= 3.5,
    },
    {
      name: 'RSS when ready',
      floor: '',
      ours: `${rss.toFixed(0)} MB`,
      ratio: '',
      budget: '<= 90 MB',
      within: rss <= 90,
    },
  ]
}

/** What git waits for a password, by git's own helper that reads a file, and by ours. */
const benchGit = async (appliance: Appliance, build: Build): Promise<Row[]> => {
  await appliance.start()
  await appliance.enable()
  // At hand from here on: the sandbox lives in this process, which stands still while git runs.
  await appliance.ask('POST', '/v1/tokens', {})
  const { protocol, host } = new URL(appliance.sandbox.url)
  const input = `protocol=${protocol.slice(0, -1)}\nhost=${host}\n`
  const file = join(appliance.folder, 'git-credentials')
  writeFileSync(file, `${protocol}//x-access-token:ghs_${'x'.repeat(36)}@${host}\n`)
  const env = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0' }
  const fill = (helper: string): number => {
    const began = performance.now()
    const text = execFileSync('git', ['-c', `credential.helper=${helper}`, 'credential', 'fill'], { input, env })
    if (!/^password=ghs_/m.test(text.toString())) throw new Error(`no password by ${helper}`)
    return performance.now() - began
  }
  const ours = `${build.gitHelper} --socket ${appliance.runtime}`
  const times: { ours: number[]; bare: number[] } = { ours: [], bare: [] }
  for (let turn = 0; turn <= TURNS * 20; turn++) {
    const [bare, helper] = [fill(`store --file ${file}`), fill(ours)]
    if (turn === 0) continue
    times.bare.push(bare)
    times.ours.push(helper)
  }
  const more = median(times.ours.map((ms, at) => ms - (times.bare[at] ?? Number.NaN)))
  return [
    {
      name: 'git credential fill',
      floor: `${median(times.bare).toFixed(1)} ms`,
      ours: `${median(times.ours).toFixed(1)} ms`,
      ratio: `+${more.toFixed(1)} ms`,
      budget: '<= +15 ms',
      within: more <= 15,
    },
  ]
}

const SCOPES_MB = SCOPES > 10_000 ? 120 : 80

const benchScopes = async (appliance: Appliance, build: Build): Promise<Row[]> => {
  const command = asInUnit([process.execPath, build.daemon, '--config', appliance.configFile], build)
  const storeKey = readFileSync(join(appliance.folder, 'store.key'))
  const measure = async (): Promise<number> => {
    const { child } = await launch(command, { ready: /"message":"ready"/ })
    await appliance.call('GET', '/v1/status')
    const rss = rssMb(child.pid)
    await end(child)
    return rss
  }
  const empty = await measure()
  const store = openStore({ folder: join(appliance.state, 'store'), storeKey, log: quietLog })
  void store.tokens.write([...tokensOf({ scopes: SCOPES, installations: INSTALLATIONS, nowMs: Date.now() })])
  const ticks = await measureTicks(store)
  store.close()
  const full = await measure()
  const more = full - empty
  return [
    {
      name: `${SCOPES} live scopes, memory`,
      floor: `${empty.toFixed(0)} MB`,
      ours: `${full.toFixed(0)} MB`,
      ratio: `+${more.toFixed(0)} MB`,
      budget: `<= +${SCOPES_MB} MB`,
      within: more <= SCOPES_MB,
    },
    {
      name: `refresh tick, nothing due`,
      floor: '',
      ours: `${ticks.toFixed(1)} ms`,
      ratio: '',
      budget: '<= 50 ms',
      within: ticks <= 50,
    },
  ]
}

const measureTicks = async (store: ReturnType<typeof openStore>): Promise<number> => {
  const tokens = createTokens({ ...stillClock(store) })
  const samples: number[] = []
  for (let turn = 0; turn < 20; turn++) {
    const began = performance.now()
    await tokens.refresh()
    samples.push(performance.now() - began)
  }
  return median(samples)
}

const benchPolicy = async (appliance: Appliance): Promise<Row[]> => {
  const sockets = { bare: join(appliance.folder, 'bare.sock'), with: join(appliance.folder, 'with.sock') }
  const script = join(ROOT, 'scripts/bench-issuer.ts')
  const start = async (kind: 'bare' | 'with'): Promise<ChildProcess> =>
    (await launch(pinned(0, [process.execPath, script, sockets[kind], kind]), { ready: /ready/ })).child
  const children = [await start('bare'), await start('with')]
  const bare: Load[] = []
  const whole: Load[] = []
  for (let turn = 0; turn <= TURNS; turn++) {
    const [a, b] = [load(sockets.bare, appliance.folder), load(sockets.with, appliance.folder)]
    if (turn > 0) [bare, whole].forEach((list, at) => list.push(at === 0 ? a : b))
  }
  for (const child of children) await end(child)
  const rate = (loads: Load[]): string => `${Math.round(median(loads.map(l => l.requestsPerSecond)))} req/s`
  const more = median(bare.map((b, at) => b.requestsPerSecond / (whole[at]?.requestsPerSecond ?? Number.NaN) - 1))
  return [
    {
      name: 'authorization, audit and rate limit, on a cached token',
      floor: rate(bare),
      ours: rate(whole),
      ratio: `+${(more * 100).toFixed(1)} %`,
      budget: '<= +15 %',
      within: more <= 0.15,
    },
  ]
}

type Bench = (appliance: Appliance, build: Build) => Promise<Row[]>

const ROWS: Readonly<Record<string, Bench>> = {
  token: benchToken,
  policy: benchPolicy,
  git: benchGit,
  start: benchStart,
  scopes: benchScopes,
  snapshot: appliance => benchSnapshot(appliance, SCOPES),
  page: benchPage,
  cluster: benchCluster,
}

/** What any version shows by its sockets and commands alone. */
const COMPARED: Readonly<Record<string, Bench>> = {
  token: benchToken,
  git: benchGit,
  start: benchStart,
  snapshot: appliance => benchSnapshot(appliance, 0),
  page: benchPage,
}
const ROUNDS = 3

const measure = async (bench: Bench, build: Build): Promise<Row[]> => {
  const appliance = await createAppliance({ entry: build.daemon, wrap: command => asInUnit(command, build) })
  try {
    return await bench(appliance, build)
  } finally {
    await appliance.close()
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    old: { type: 'string' },
    new: { type: 'string', default: ROOT },
  },
})
const benches = values.old === undefined ? ROWS : COMPARED
const chosen = (positionals.length > 0 ? positionals : Object.keys(benches)).map(name => {
  const bench = benches[name]
  if (!bench) throw new Error(`there is no row ${name}: ${Object.keys(benches).join(', ')}`)
  return bench
})

const compare = async (old: Build, current: Build): Promise<object[]> => {
  const table = new Map<string, { budget: string; old: string[]; new: string[] }>()
  for (let round = 0; round < ROUNDS; round++) {
    for (const bench of chosen) {
      for (const side of ['old', 'new'] as const) {
        for (const { name, ratio, ours, budget } of await measure(bench, side === 'old' ? old : current)) {
          const key = name.replace(/,? \(.*|,? \d+(?:\.\d+)? MB$/, '')
          const row = table.get(key) ?? { budget, old: [], new: [] }
          table.set(key, row)
          row[side].push(ratio || ours)
        }
      }
    }
  }
  return [...table].map(([name, row]) => ({
    name,
    budget: row.budget,
    old: row.old.join('  '),
    new: row.new.join('  '),
  }))
}

const rows: object[] = []
if (values.old === undefined) for (const bench of chosen) rows.push(...(await measure(bench, buildAt(values.new))))
else rows.push(...(await compare(buildAt(values.old), buildAt(values.new))))
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
else console.table(rows)
