// What is fuzzed: a daemon as its unit runs it, connected and kept so, one of its sockets, and the memory it holds.

import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { asInUnit } from '../../scripts/bench-start.ts'
import { type Appliance, createAppliance, PROFILE } from './appliance.ts'
import { pageCorpus, type PageSession, type Sample, socketCorpus } from './fuzz-corpus.ts'
import { LOOK_MS } from './fuzz-lines.ts'

export const FUZZ_SOCKETS = ['token', 'admin', 'page'] as const
export type FuzzSocket = (typeof FUZZ_SOCKETS)[number]

export type Target = {
  readonly socket: FuzzSocket
  readonly appliance: Appliance
  readonly open: () => Socket
  samples: readonly Sample[]
  session?: PageSession
}

export const createFuzzed = async (): Promise<Appliance> => {
  const appliance = await createAppliance({ toml: PROFILE, wrap: command => asInUnit(command) })
  try {
    await appliance.start()
    // Far beyond what the fuzzer can use: refusals for want of quota would hide all else.
    await appliance.control('POST', 'settings', { hourly_quota: 10_000_000 })
    await appliance.enable()
    return appliance
  } catch (error) {
    await appliance.close()
    throw error
  }
}

export const aim = async (socket: FuzzSocket, appliance: Appliance): Promise<Target> => {
  if (socket === 'page') {
    const host = /"(127\.0\.0\.1:\d+)"/.exec(readFileSync(appliance.configFile, 'utf8'))?.[1] ?? ''
    const open = (): Socket => connect(Number(host.split(':')[1]), '127.0.0.1')
    const session = await signIn(appliance, host)
    return { socket, appliance, open, samples: pageCorpus(session), session }
  }
  const path = join(appliance.runtime, `${socket}.sock`)
  const { text } = await appliance.call('POST', '/v1/snapshots')
  return { socket, appliance, open: () => connect(path), samples: socketCorpus(socket, Buffer.from(text, 'latin1')) }
}

const signIn = async (appliance: Appliance, host: string): Promise<PageSession> => {
  const { body } = await appliance.call('POST', '/v1/ui-links')
  const origin = `http://${host}`
  const answer = await fetch(String(body['url']), { method: 'POST', headers: { origin }, redirect: 'manual' })
  const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  const prefix = (answer.headers.get('location') ?? '').replace(/\/$/, '')
  const page = await (await fetch(`${origin}${prefix}/`, { headers: { cookie } })).text()
  return { host, prefix, cookie, csrf: /name="csrf" value="([^"]+)"/.exec(page)?.[1] ?? '' }
}

type Keeping = {
  found(what: string, bytes: string): void
  /** Nothing is begun before this resolves. */
  hold(until: Promise<void>): void
}

/**
 * Requests of the fuzzer may disable, or end the session: then it waits until both are there again, at its end too. `stop` gives how often
 * that was.
 */
export const keepConnected = (target: Target, run: Keeping): { stop(): Promise<number> } => {
  const { appliance } = target
  const over = new AbortController()
  let times = 0
  const repair = async (): Promise<void> => {
    const { body } = await appliance.call('GET', '/v1/status')
    if (body['state'] !== 'connected') {
      times += 1
      // Its name is taken as long as it is there.
      for (const id of await appsOf(appliance)) await appliance.control('POST', `apps/${id}/delete`)
      if (body['state'] !== 'disconnected') await appliance.call('DELETE', '/v1/connection?local=true')
      await appliance.until('disconnected')
      await appliance.enable()
    }
    const { session } = target
    if (!session) return
    const { host, prefix, cookie } = session
    const answer = await fetch(`http://${host}${prefix}/`, { headers: { cookie } })
    await answer.text()
    if (answer.status === 200) return
    target.session = await signIn(appliance, host)
    target.samples = pageCorpus(target.session)
  }
  const attempt = async (): Promise<void> => {
    const repaired = repair().catch((error: unknown) => {
      if (isAlive(appliance.pid())) run.found(`could not be connected again: ${String(error)}`, '')
    })
    run.hold(repaired)
    await repaired
  }
  const looking = (async () => {
    while (!over.signal.aborted && isAlive(appliance.pid())) {
      await attempt()
      await new Promise(pause => void setTimeout(pause, LOOK_MS))
    }
  })()
  return {
    async stop() {
      over.abort()
      await looking
      await attempt()
      return times
    },
  }
}

const appsOf = async (appliance: Appliance): Promise<number[]> => {
  const { apps } = (await appliance.control('GET', 'state')) as { apps: readonly { id: number }[] }
  return apps.map(({ id }) => id)
}

export const isAlive = (pid: number): boolean => rssMb(pid) > 0

export const rssMb = (pid: number): number => {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  } catch {
    return Number.NaN
  }
}

/** The engine gives memory back some seconds after the last request, in several steps. */
const SETTLE_MS = 60_000

/** Of a daemon that has nothing to do, as soon as it is below the limit; else what is left once it gives no more back. */
export const settledMb = async (pid: number, limitMb: number): Promise<number> => {
  let least = rssMb(pid)
  for (let sinceMs = 0; least > limitMb && sinceMs < SETTLE_MS; sinceMs += LOOK_MS) {
    await new Promise(pause => void setTimeout(pause, LOOK_MS))
    const now = rssMb(pid)
    if (now > least - 1) continue
    least = now
    sinceMs = 0
  }
  return least
}
