// The fuzzer: sends mutated requests over kept connections and broken ones over connections of their own, and watches the daemon.

import type { Answered } from './fuzz-answers.ts'
import type { PageSession, Sample } from './fuzz-corpus.ts'
import { ended, HANG_MS, isHang, isUnanswered, type Line, openLine } from './fuzz-lines.ts'
import { broken, framed, mutate } from './fuzz-mutations.ts'
import {
  aim,
  createFuzzed,
  type FuzzSocket,
  isAlive,
  keepConnected,
  rssMb,
  settledMb,
  type Target,
} from './fuzz-target.ts'
import { INTERNAL } from './hostile.ts'
import { createSeeded, type Seeded } from './seeded.ts'

/** What was sent when something went wrong, to be sent again. */
export type Finding = { readonly what: string; readonly bytes: string }

export type Fuzzed = {
  readonly sent: number
  readonly answered: number
  readonly statuses: Readonly<Record<string, number>>
  /** The daemon ended. */
  readonly exits: number
  /** Answers with 500, and lines of the log that name an internal error. */
  readonly internal: number
  /** Answered after more than 4 s. */
  readonly late: number
  /** Never answered, though others were. */
  readonly hangs: number
  /** What came was no answer, or answers out of step. */
  readonly unreadable: number
  readonly findings: readonly Finding[]
  readonly enabledAgain: number
  readonly rssBeforeMb: number
  readonly rssAfterMb: number
  readonly seconds: number
}

/** Requests without a session wait for their refusal by the page. */
const KEPT = { token: 32, admin: 32, page: 192 } as const
const BROKEN = 96
/** Of a thousand requests so many are broken ones: each costs a connection, and the daemon makes it wait. */
const BROKEN_PER_MILLE = 20
const MAX_FINDINGS = 60
/** A daemon that has served each of its routes many times is what it is compared with: until then its code and its allocator grow. */
const WARM_UP = 50_000
export const RSS_GROWTH = 1.2

/** A finding of one session is sent again in another: its own values stand in the file by their names. */
const named = (bytes: Buffer, session: PageSession | undefined): Buffer =>
  Buffer.from(
    Object.entries(session ?? {}).reduce(
      (text, [name, value]) => text.replaceAll(value, `{{${name}}}`),
      bytes.toString('latin1'),
    ),
    'latin1',
  )
const unnamed = (bytes: Buffer, session: PageSession | undefined): Buffer =>
  Buffer.from(
    Object.entries(session ?? {}).reduce(
      (text, [name, value]) => text.replaceAll(`{{${name}}}`, value),
      bytes.toString('latin1'),
    ),
    'latin1',
  )

export const fuzz = async (
  socket: FuzzSocket,
  { requests, seed }: { requests: number; seed: number },
): Promise<Fuzzed> => {
  const appliance = await createFuzzed()
  try {
    const target = await aim(socket, appliance)
    const began = performance.now()
    const run = createRun(target, createSeeded(seed))
    let enabledAgain = 0
    const send = async (count: number): Promise<void> => {
      const keeper = keepConnected(target, run)
      await run.send(count)
      enabledAgain += await keeper.stop()
    }
    const warmUp = Math.min(WARM_UP, requests)
    await send(warmUp)
    // In use: how much of it the engine gives back in a pause differs by 20 MB from run to run.
    const rssBeforeMb = rssMb(appliance.pid())
    await send(requests - warmUp)
    const rssAfterMb = await settledMb(appliance.pid(), rssBeforeMb * RSS_GROWTH)
    const lines = appliance
      .log()
      .split('\n')
      .filter(line => INTERNAL.test(line))
    for (const line of lines.slice(0, MAX_FINDINGS)) run.found(`log: ${line.slice(0, 1_000)}`, '')
    const { counts, findings, statuses } = run
    return {
      ...counts,
      internal: counts.internal + lines.length,
      exits: isAlive(appliance.pid()) ? 0 : 1,
      statuses,
      findings,
      enabledAgain,
      rssBeforeMb,
      rssAfterMb,
      seconds: (performance.now() - began) / 1_000,
    }
  } finally {
    await appliance.close()
  }
}

/** Sends the bytes of findings again, one after the other, to a daemon of its own, and gives what was answered. */
export const replay = async (socket: FuzzSocket, findings: readonly Finding[]): Promise<string[]> => {
  const appliance = await createFuzzed()
  try {
    const target = await aim(socket, appliance)
    const answers: string[] = []
    for (const { bytes } of findings.filter(finding => finding.bytes !== '')) {
      const connection = target.open()
      let text = ''
      connection.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
      connection.on('error', error => (text += String(error)))
      connection.end(unnamed(Buffer.from(bytes, 'base64'), target.session))
      await ended(connection, HANG_MS)
      connection.destroy()
      answers.push(text.slice(0, 2_000))
      if (!isAlive(appliance.pid())) return [...answers, `the daemon ended:\n${appliance.log().slice(-3_000)}`]
    }
    return [
      ...answers,
      ...appliance
        .log()
        .split('\n')
        .filter(line => INTERNAL.test(line)),
    ]
  } finally {
    await appliance.close()
  }
}

type Run = {
  readonly counts: { sent: number; answered: number; internal: number; late: number; hangs: number; unreadable: number }
  readonly statuses: Record<string, number>
  readonly findings: readonly Finding[]
  found(what: string, bytes: Buffer | string): void
  /** So many requests; resolves when all are answered, or their connections over. */
  send(requests: number): Promise<void>
  /** Nothing is begun before this resolves. */
  hold(until: Promise<void>): void
}

const createRun = (target: Target, random: Seeded): Run => {
  const counts = { sent: 0, answered: 0, internal: 0, late: 0, hangs: 0, unreadable: 0 }
  const statuses: Record<string, number> = {}
  const findings: Finding[] = []
  let gate: Promise<void> = Promise.resolve()
  let chosen: readonly Sample[] = []
  let picks: readonly Sample[] = []

  const found = (what: string, bytes: Buffer | string): void => {
    if (findings.length < MAX_FINDINGS)
      findings.push({ what, bytes: named(Buffer.from(bytes), target.session).toString('base64') })
  }
  const pick = (): Sample => {
    if (chosen !== target.samples) {
      chosen = target.samples
      picks = chosen.flatMap(sample => Array.from({ length: Math.ceil(sample.weight * 1_000) }, () => sample))
    }
    return random.pick(picks)
  }
  const note = ({ status, text }: Answered, bytes: Buffer): void => {
    counts.answered += 1
    statuses[status] = (statuses[status] ?? 0) + 1
    if (status === 500 || text.includes('"type":"urn:ghconnect:problem:internal"')) {
      counts.internal += 1
      found(`answered ${status} ${text.slice(0, 300)}`, bytes)
    }
  }
  const hang = (bytes: Buffer): void => {
    counts.hangs += 1
    found('no answer, while others are answered', bytes)
  }
  const late = (bytes: Buffer): void => {
    counts.late += 1
    found(`no answer in ${HANG_MS} ms`, bytes)
  }

  const unreadable = (error: unknown, bytes: Buffer): void => {
    counts.unreadable += 1
    found(String(error), bytes)
  }

  const goesOn = (): boolean => isAlive(target.appliance.pid())
  /** Keeps a connection as long as the daemon keeps it, with some requests behind each other at times. */
  const keep = async (take: () => boolean): Promise<void> => {
    let line: Line | undefined
    while (take() && goesOn()) {
      await gate
      line = line?.isOpen() ? line : openLine(target.open, { note, late, hang, unreadable })
      const batch = [...Array(random.once(4) ? 1 + random.int(7) : 1).keys()].flatMap(at => {
        if (at > 0 && !take()) return []
        const draft = mutate(pick(), random)
        return [{ method: draft.method, bytes: framed(draft, random) }]
      })
      counts.sent += batch.length
      await line.ask(batch)
    }
    line?.close()
  }
  const breakOne = async (take: () => boolean): Promise<void> => {
    while (take() && goesOn()) {
      await gate
      const bytes = broken(mutate(pick(), random), random)
      counts.sent += 1
      const socket = target.open()
      let text = ''
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => {
        if (text.length < 300) text += chunk.toString('latin1')
        // A stream has no end of its own.
        if (text.includes('text/event-stream')) socket.destroy()
      })
      socket.end(bytes)
      if (!(await ended(socket, HANG_MS)) && goesOn() && (await isUnanswered(() => socket.closed))) {
        late(bytes)
        if (await isHang(target.open, () => socket.closed)) hang(bytes)
      }
      socket.destroy()
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1])
      if (status >= 100) note({ status, text, endless: false, closes: true }, bytes)
    }
  }

  return {
    counts,
    statuses,
    findings,
    found,
    async send(requests) {
      const takeOf = (count: number) => {
        let left = count
        return (): boolean => (left -= 1) >= 0
      }
      const brokenOnes = Math.floor((requests * BROKEN_PER_MILLE) / 1_000)
      const takeKept = takeOf(requests - brokenOnes)
      const takeBroken = takeOf(brokenOnes)
      await Promise.all([
        ...Array.from({ length: KEPT[target.socket] }, () => keep(takeKept)),
        ...Array.from({ length: BROKEN }, () => breakOne(takeBroken)),
      ])
    },
    hold(until) {
      gate = until
    },
  }
}
