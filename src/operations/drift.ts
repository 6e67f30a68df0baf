// Drift: what GitHub says of the App, turned into states that are entered on evidence and left unaided.

import { type Installation, isLive, isTrouble, type Live, type Trouble } from '../domain/connection.ts'
import { asFailure, type Code, type Failure } from '../domain/errors.ts'
import { foldName } from '../domain/scope.ts'
import type { Clock, Timer } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { AppLink } from './app-link.ts'
import type { Journey } from './journey.ts'

export type Drift = {
  /** Asks GitHub for the installations and settles the state. Never throws. */
  check(): Promise<void>
  /** Looks the installations up once more, after a 404 at mint; tells whether they changed. All who ask at once share a look, and looks are apart. */
  lookAgain(): Promise<boolean>
}

/** What a failure of GitHub's own means for the connection, where it means anything. */
const TROUBLE_OF: Partial<Record<Code, Trouble>> = {
  'key-rejected': 'key-rejected',
  'app-not-found': 'app-deleted',
  'ip-blocked': 'blocked',
}

/** One 401 or 404 proves nothing: so many in a row, spread over at least this time, do. */
const CONFIRMATIONS = 3
const CONFIRM_MS = 30_000
const LOOKS_APART_MS = 10_000

export const createDrift = (deps: { journey: Journey; link: AppLink; clock: Clock; log: Log }): Drift => {
  const { journey, link, clock, log } = deps
  let looking: Promise<boolean> | undefined
  let lookedAtMs = Number.NEGATIVE_INFINITY
  let confirmation: Timer | undefined
  let suspicion: { code: Code; count: number; firstAtMs: number } | undefined

  const enter = (trouble: Trouble, evidence: string): void => {
    const { connection } = journey.read()
    if (
      !isLive(connection) ||
      connection.kind === trouble ||
      !(connection.kind === 'connected' || isTrouble(connection.kind))
    )
      return
    journey.to({ ...established(connection), kind: trouble, sinceMs: clock.now(), evidence })
  }

  const recover = (installations: readonly Installation[]): void => {
    const { connection } = journey.read()
    if (!isLive(connection)) return
    const mine = installations.filter(
      i => connection.account.type === 'enterprise' || foldName(i.account.login) === foldName(connection.account.login),
    )
    const relevant = mine.length > 0 ? mine : installations
    if (relevant.length === 0) return enter('uninstalled', 'GitHub lists no installation of the App')
    if (relevant.every(i => i.suspendedAtMs !== undefined)) {
      return enter('suspended', `GitHub says so for ${relevant.map(i => i.account.login).join(', ')}`)
    }
    if (isTrouble(connection.kind)) journey.to({ ...established(connection), kind: 'connected', sinceMs: clock.now() })
  }

  const suspect = (failure: Failure): void => {
    const trouble = TROUBLE_OF[failure.code]
    if (!trouble) return
    // The allow list names itself; the other two need repeats.
    if (trouble === 'blocked') return enter(trouble, failure.message)
    const now = clock.monotonic()
    if (suspicion?.code !== failure.code) suspicion = { code: failure.code, count: 0, firstAtMs: now }
    suspicion.count += 1
    if (suspicion.count >= CONFIRMATIONS && now - suspicion.firstAtMs >= CONFIRM_MS)
      return enter(trouble, failure.message)
    // One timer, however many calls failed.
    confirmation?.cancel()
    confirmation = clock.after(CONFIRM_MS / 2 + 1_000, () => void check())
  }

  const learn = (found: readonly Installation[]): boolean => {
    suspicion = undefined
    const { installations, connection } = journey.read()
    const changed = JSON.stringify(installations) !== JSON.stringify(found)
    if (changed && isLive(connection)) journey.to(connection, { installations: found })
    recover(found)
    return changed
  }

  const watched = (): boolean => {
    const { kind } = journey.read().connection
    return kind === 'connected' || isTrouble(kind)
  }

  /** An allow list is not asked for the list of installations: only a token proves that the way is open again. Throws where it is not. */
  const proveWay = async (found: readonly Installation[]): Promise<void> => {
    for (const { id, suspendedAtMs } of found) {
      if (suspendedAtMs !== undefined) continue
      const { token } = await link.mint({ installation: id, permissions: { metadata: 'read' } })
      await link.revoke(token).catch((error: unknown) => log.debug('a token could not be revoked', { error }))
    }
  }

  const ask = async (): Promise<boolean> => {
    if (!watched()) return false
    const { generation } = journey.read()
    // What GitHub says of one connection is nothing to another, restored or imported meanwhile.
    const isMeant = (): boolean => watched() && journey.read().generation === generation
    try {
      const found = await link.listInstallations()
      if (journey.read().connection.kind === 'blocked') await proveWay(found)
      return await journey.alone(async () => isMeant() && learn(found))
    } catch (error) {
      const failure = asFailure(error)
      log.debug('the installations could not be asked for', { error: failure })
      await journey.alone(async () => {
        if (isMeant()) suspect(failure)
      })
      return false
    }
  }

  /** A timer calls this: what goes wrong here, such as a full disk, must not end the daemon. */
  const check = async (): Promise<void> => {
    try {
      await ask()
    } catch (error) {
      log.error('what GitHub says of the App could not be taken in', { error: asFailure(error) })
    }
  }

  const lookAgain = (): Promise<boolean> => {
    if (looking) return looking
    if (clock.monotonic() - lookedAtMs < LOOKS_APART_MS) return Promise.resolve(false)
    lookedAtMs = clock.monotonic()
    looking = ask().finally(() => {
      looking = undefined
    })
    return looking
  }

  link.onOutcome(failure => {
    if (failure?.code !== 'ip-blocked') return
    journey
      .alone(async () => enter('blocked', failure.message))
      .catch((error: unknown) => log.error('a state could not be noted', { error: asFailure(error) }))
  })

  return { check, lookAgain }
}

const established = ({ app, account, host, enabledAtMs }: Live) => ({ app, account, host, enabledAtMs })
