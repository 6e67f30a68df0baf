// The fuzzer's command: how many requests, with which seed, to which socket; findings go to a file that it can send again.

import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Finding, fuzz, replay, RSS_GROWTH } from '../test/support/fuzz-http.ts'
import { FUZZ_SOCKETS } from '../test/support/fuzz-target.ts'

const { values } = parseArgs({
  options: {
    socket: { type: 'string', default: 'token' },
    requests: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    replay: { type: 'string' },
  },
})
const socket = FUZZ_SOCKETS.find(name => name === values.socket)
const requests = Number(values.requests)
const seed = Number(values.seed)
if (socket === undefined || !(requests > 0) || !Number.isInteger(seed)) {
  console.error('usage: fuzz-http [--socket token|admin|page] [--requests N] [--seed S] [--replay FILE]')
  process.exit(64)
}

if (values.replay !== undefined) {
  const findings: Finding[] = JSON.parse(readFileSync(values.replay, 'utf8'))
  for (const answer of await replay(socket, findings)) console.log(`${answer}\n`)
} else {
  const { findings, ...result } = await fuzz(socket, { requests, seed })
  console.log(JSON.stringify({ socket, seed, ...result }, undefined, 1))
  if (findings.length > 0) {
    const file = join(tmpdir(), `fuzz-http-${socket}-${seed}.json`)
    writeFileSync(file, JSON.stringify(findings, undefined, 1))
    for (const { what, bytes } of findings.slice(0, 5))
      console.log(`${what}\n  ${JSON.stringify(Buffer.from(bytes, 'base64').toString('latin1').slice(0, 600))}`)
    console.log(`seed ${seed}; all findings are in ${file}: --socket ${socket} --replay ${file}`)
  }
  const { exits, internal, late, hangs, unreadable, rssBeforeMb, rssAfterMb } = result
  process.exitCode =
    exits + internal + late + hangs + unreadable === 0 && rssAfterMb <= rssBeforeMb * RSS_GROWTH ? 0 : 1
}
