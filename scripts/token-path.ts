// Which files of src/ run while one cached token is answered, over a new connection and over one that is kept: counted by V8, in a daemon of its own.

import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join, relative, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { type Appliance, createAppliance, PROFILE } from '../test/support/appliance.ts'

const SRC = resolve(import.meta.dirname, '../src')
const BODY = '{"repositories":["web"],"permissions":{"contents":"read"}}'
const REQUEST = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`

/** Runs in the daemon: with one signal it begins to count calls, with the next it writes which functions were called since. */
const counter = (file: string): string => `
  import { Session } from 'node:inspector/promises'
  import { renameSync, writeFileSync } from 'node:fs'
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  let counting = false
  process.on('SIGUSR2', async () => {
    if (counting) writeFileSync('${file}.new', JSON.stringify((await session.post('Profiler.takePreciseCoverage')).result))
    else await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
    if (counting) renameSync('${file}.new', '${file}')
    else writeFileSync('${file}.begun', '')
    counting = !counting
  })`

const Coverage = z.array(
  z.object({
    url: z.string(),
    functions: z.array(z.object({ functionName: z.string(), ranges: z.array(z.object({ count: z.number() })) })),
  }),
)

const awaited = async (file: string): Promise<void> => {
  while (!existsSync(file)) await pause(20)
}

const ask = async (appliance: Appliance) => {
  const client = connect(join(appliance.runtime, 'token.sock'))
  await once(client, 'connect')
  return {
    async request(): Promise<void> {
      client.write(REQUEST)
      const [answer] = await once(client, 'data')
      if (!String(answer).includes('ghs_')) throw new Error(String(answer))
    },
    close: () => client.destroy(),
  }
}

const filesRun = async (appliance: Appliance, file: string, work: () => Promise<void>): Promise<string[]> => {
  appliance.signal('SIGUSR2')
  await awaited(`${file}.begun`)
  await work()
  appliance.signal('SIGUSR2')
  await awaited(file)
  const scripts = Coverage.parse(JSON.parse(readFileSync(file, 'utf8')))
  for (const path of [file, `${file}.begun`]) rmSync(path)
  return scripts
    .filter(({ url, functions }) => url.includes('/src/') && functions.some(one => (one.ranges[0]?.count ?? 0) > 0))
    .map(({ url }) => relative(SRC, new URL(url).pathname))
    .toSorted()
}

const file = join(import.meta.dirname, `../node_modules/.token-path-${process.pid}.json`)
const preload = `data:text/javascript,${encodeURIComponent(counter(file))}`
const appliance = await createAppliance({
  toml: PROFILE,
  entry: join(SRC, 'ghconnectd.ts'),
  wrap: ([node = '', ...args]) => [node, '--import', preload, ...args],
})
try {
  await appliance.start()
  await appliance.enable()
  const kept = await ask(appliance)
  for (let turn = 0; turn < 10; turn += 1) await kept.request()
  const onKept = await filesRun(appliance, file, () => kept.request())
  const onNew = await filesRun(appliance, file, async () => {
    const fresh = await ask(appliance)
    await fresh.request()
    fresh.close()
  })
  kept.close()
  const print = (what: string, files: readonly string[]): void => {
    process.stdout.write(`${what}: ${files.length} files\n${files.map(one => `  ${one}\n`).join('')}`)
  }
  print('a cached token over a connection that is kept', onKept)
  print('a cached token over a new connection', onNew)
} finally {
  await appliance.close()
}
