// The way to GitHub, built over an engine's store: its clock, which is remembered, and the calls, which are counted.

import { offsetSchema, timeSchema } from './store/record-shapes.ts'
import { createGitHubClock, type GitHubClock } from './github/clock.ts'
import { createGitHub, type GitHub } from './github/request.ts'
import { type CallTally, createCallTally } from './github/call-tally.ts'
import type { Clock } from '../service/clock.ts'
import type { Config } from '../service/config.ts'
import type { Log } from '../service/log.ts'
import type { Outbound } from './outbound/outbound.ts'
import { VERSION } from '../service/version.ts'
import type { Store } from './store/database.ts'

export const USER_AGENT = `ghconnectd/${VERSION}`

const CLOCK_OFFSET = 'clock-offset-ms'
const CLOCK_LEAST = 'clock-least-ms'

export const createWayToGitHub = (deps: {
  config: () => Config
  store: Store
  outbound: Outbound
  clock: Clock
  log: Log
}): { github: GitHub; githubClock: GitHubClock; calls: CallTally; keepTime: () => void } => {
  const { config, outbound, clock, log } = deps
  const { facts } = deps.store
  const offset = facts.find(CLOCK_OFFSET)
  const least = facts.find(CLOCK_LEAST)
  const githubClock = createGitHubClock({
    clock,
    // What is out of bounds counts as not learned.
    offsetMs: offsetSchema.safeParse(offset).data ?? 0,
    leastMs: timeSchema.safeParse(least).data,
    onChange(offsetMs) {
      log.warn("GitHub's clock differs from this machine's", { seconds: Math.round(offsetMs / 1000) })
      facts.put(CLOCK_OFFSET, offsetMs)
    },
  })
  const calls = createCallTally({ clock })
  const github = createGitHub({
    outbound,
    clock,
    githubClock,
    log,
    settings: () => config().github,
    userAgent: USER_AGENT,
    onCall: calls.note,
  })
  const keepTime = (): void => {
    const told = githubClock.findTold()
    if (told !== undefined) facts.put(CLOCK_LEAST, told)
  }
  return { github, githubClock, calls, keepTime }
}
