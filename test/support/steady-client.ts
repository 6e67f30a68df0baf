// A client that asks for a token again and again, on eight connections, until its standard input ends; then says how it went.
// A request that broke before any byte of an answer is sent once more; nothing else is.

import { Agent, request } from 'node:http'

const SOCKET = '/run/ghconnectd/token.sock'
const AT_ONCE = 8
const PATIENCE_MS = 20_000
const counts = { answered: 0, retried: 0, failed: 0 }
const failures: string[] = []
let slowestMs = 0
const over = new AbortController()

/** Resolves to the status; `untouched` tells of an error that no byte of an answer went before. */
const ask = (agent: Agent | undefined): Promise<{ status: number; error: string; untouched: boolean }> =>
  new Promise(resolve => {
    let touched = false
    const body = '{"permissions":{"contents":"read"}}'
    const headers = { host: 'localhost', 'content-type': 'application/json', 'content-length': String(body.length) }
    const options = { socketPath: SOCKET, method: 'POST', path: '/v1/tokens', headers, timeout: PATIENCE_MS }
    const sent = request({ ...options, ...(agent && { agent }) }, answer => {
      touched = true
      answer.resume()
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, error: '', untouched: false }))
      answer.once('error', error => resolve({ status: 0, error: String(error), untouched: false }))
    })
    sent.once('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.once('error', error => resolve({ status: 0, error: String(error), untouched: !touched }))
    sent.end(body)
  })

const loop = async (): Promise<void> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (!over.signal.aborted) {
    const began = performance.now()
    let outcome = await ask(agent)
    if (outcome.untouched) {
      counts.retried += 1
      outcome = await ask(undefined)
    }
    slowestMs = Math.max(slowestMs, performance.now() - began)
    if (outcome.status === 200) counts.answered += 1
    else {
      counts.failed += 1
      failures.push(outcome.error || `status ${outcome.status}`)
    }
    await new Promise(pause => setTimeout(pause, 20))
  }
  agent.destroy()
}

process.stdin.once('end', () => over.abort()).resume()
await Promise.all(Array.from({ length: AT_ONCE }, loop))
process.stdout.write(
  `${JSON.stringify({ ...counts, slowestMs: Math.round(slowestMs), failures: failures.slice(0, 5) })}\n`,
)
