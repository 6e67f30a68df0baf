// The benchmark's row of the settings page: what it costs the daemon to make the overview of a live connection.

import { readFileSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, request } from 'node:http'
import type { Appliance } from '../test/support/appliance.ts'
import { freePort } from '../test/support/ports.ts'
import type { Row } from './bench-parts.ts'

const REQUESTS = 300
const BUDGET_MS = 20

const at = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN

type Call = { method?: string; headers?: Record<string, string> }

const call = (agent: Agent, url: URL, { method = 'GET', headers = {} }: Call = {}) => {
  const { promise, resolve, reject } = Promise.withResolvers<{ answer: IncomingMessage; text: string; ms: number }>()
  const beganMs = performance.now()
  const sent = request(url, { agent, method, headers }, answer => {
    const chunks: Buffer[] = []
    answer.on('data', (chunk: Buffer) => chunks.push(chunk))
    answer.once('end', () =>
      resolve({ answer, text: Buffer.concat(chunks).toString(), ms: performance.now() - beganMs }),
    )
  })
  sent.once('error', reject)
  sent.end()
  return promise
}

/** The floor answers with the same bytes, over the same kind of connection. */
export const benchPage = async (appliance: Appliance): Promise<Row[]> => {
  await appliance.start()
  await appliance.enable()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const link = new URL(String((await appliance.call('POST', '/v1/ui-links')).body['url']))
  const { answer } = await call(agent, link, { method: 'POST', headers: { origin: link.origin } })
  const cookie = (answer.headers['set-cookie'] ?? []).map(text => text.split(';')[0]).join('; ')
  const page = new URL(answer.headers.location ?? '', link)
  const headers = { cookie, 'sec-fetch-dest': 'document' }
  const { text } = await call(agent, page, { headers })
  if (!text.includes('data-state="connected"')) throw new Error(`no overview:\n${text}`)

  const floor = createServer((_incoming, outgoing) => outgoing.end(text))
  const port = await freePort()
  await new Promise<void>(resolve => void floor.listen(port, '127.0.0.1', resolve))
  const ours: number[] = []
  const bare: number[] = []
  for (let turn = 0; turn < REQUESTS; turn++) {
    bare.push((await call(agent, new URL(`http://127.0.0.1:${port}/`))).ms)
    ours.push((await call(agent, page, { headers })).ms)
  }
  const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${appliance.pid()}/status`, 'utf8'))?.[1]) / 1024
  agent.destroy()
  floor.close()
  await appliance.kill()
  const more = at(ours, 0.95) - at(bare, 0.5)
  return [
    {
      name: `settings page, overview, p95 (${Math.round(rss)} MB with its code loaded)`,
      floor: `${at(bare, 0.5).toFixed(1)} ms`,
      ours: `${at(ours, 0.5).toFixed(1)} ms, p95 ${at(ours, 0.95).toFixed(1)} ms`,
      ratio: `+${more.toFixed(1)} ms`,
      budget: `<= +${BUDGET_MS} ms`,
      within: more <= BUDGET_MS,
    },
  ]
}
