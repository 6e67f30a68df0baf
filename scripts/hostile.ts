// Measures what a well-behaved client sees while hostile ones are at work: its 99th percentile with them and without them.

import { execFileSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { createAppliance } from '../test/support/appliance.ts'
import { median } from './bench-parts.ts'
import { unitFlags } from './bench-start.ts'
import { behaveWell, startHostile, type Tallies } from '../test/support/hostile.ts'

const TURNS = 5
const REQUESTS = 2_000
const MOST = 3

const kinds = process.argv.slice(2).filter(arg => !arg.startsWith('--'))
const users = [...new Set([userInfo().username, 'nobody'])].map(name => `"${name}"`).join(', ')
const toml = `[[profiles]]
name = "test"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = [${users}] }
`

// As the service runs it (systemd/ghconnectd.service): what a flood leaves behind is cleared away in short pauses.
const wrap = ([node = '', ...args]: readonly string[]): string[] => [node, ...unitFlags(), ...args]
const appliance = await createAppliance({ toml, wrap })
try {
  chmodSync(appliance.folder, 0o755)
  await appliance.start()
  await appliance.enable()
  const socket = join(appliance.runtime, 'token.sock')
  const asked = await appliance.ask('POST', '/v1/tokens', { repositories: ['web'], permissions: { contents: 'read' } })
  const good = { requests: REQUESTS, pauseMs: 2, expected: String(asked.body['token']) }
  // The others have one core, and the daemon has one: what they cost it is what is seen.
  execFileSync('taskset', ['-a', '-cp', '0', String(appliance.pid())], { stdio: 'ignore' })
  await behaveWell(socket, good)
  const ratios: number[] = []
  const wrong: string[] = []
  let tallies: Tallies = {}
  for (let turn = 1; turn <= TURNS; turn += 1) {
    const alone = await behaveWell(socket, good)
    const hostile = await startHostile(socket, { core: 1, kinds })
    await new Promise(pause => void setTimeout(pause, 1_000))
    const among = await behaveWell(socket, good)
    tallies = await hostile.stop()
    wrong.push(...alone.wrong, ...among.wrong)
    ratios.push(among.p99Ms / alone.p99Ms)
    const figures = [alone, among].map(seen => `p50 ${seen.p50Ms.toFixed(2)} p99 ${seen.p99Ms.toFixed(2)} ms`)
    console.log(
      `turn ${turn}: alone ${figures[0]}; among hostile clients ${figures[1]}; ratio ${ratios.at(-1)?.toFixed(2)}`,
    )
  }
  console.table(
    Object.fromEntries(
      Object.entries(tallies).map(([kind, { connections, statuses }]) => [kind, { connections, ...statuses }]),
    ),
  )
  const ratio = median(ratios)
  console.log(
    `p99 of the well-behaved client: ${ratio.toFixed(2)} times its p99 without them (at most ${MOST}); answered wrongly: ${wrong.length}`,
  )
  if (wrong.length > 0) console.log(wrong.slice(0, 5))
  process.exitCode = ratio <= MOST && wrong.length === 0 ? 0 : 1
} finally {
  await appliance.close()
}
