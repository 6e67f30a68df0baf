// Which repositories an installation was given: looked at when GitHub says that it was changed, and once in a while.

import type { Installation } from '../../protocol/connection.ts'
import type { Change } from './changes.ts'
import { asFailure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { FactStore } from '../store/fact-store.ts'

export type Selections = {
  /** Tells what was added and removed since the last look, be it before a restart. Never throws. */
  look(found: readonly Installation[], options: { force: boolean }): Promise<readonly SelectionChange[]>
}

export type SelectionChange = Change & { readonly installation: number; readonly removed: readonly string[] }

/** Without a hint: GitHub does not promise that its `updated_at` shows each change. */
const ANYWAY_MS = 60 * 60_000
/** A list of changes is for a person. */
const MOST_NAMES = 20

export const createSelections = (deps: {
  facts: FactStore
  repositoriesOf: (installation: number) => Promise<readonly string[]>
  /** A hint of GitHub's. */
  changedMs: (installation: number) => number | undefined
  clock: Pick<Clock, 'monotonic'>
  log: Log
}): Selections => {
  const { facts, clock } = deps
  const looked = new Map<
    number,
    { readonly changedMs: number | undefined; readonly atMs: number; readonly twice: boolean }
  >()

  const isDue = ({ id }: Installation): boolean => {
    const last = looked.get(id)
    return !last?.twice || last.changedMs !== deps.changedMs(id) || clock.monotonic() - last.atMs >= ANYWAY_MS
  }

  const compare = async (one: Installation): Promise<SelectionChange | undefined> => {
    const changedMs = deps.changedMs(one.id)
    const names = (await deps.repositoriesOf(one.id)).toSorted()
    // GitHub's time has whole seconds: what changed in the same one shows at the second look.
    const twice = looked.get(one.id)?.changedMs === changedMs
    looked.set(one.id, { changedMs, atMs: clock.monotonic(), twice })
    const former = namesIn(facts.find(factOf(one)))
    if (former && JSON.stringify(former) === JSON.stringify(names)) return undefined
    facts.put(factOf(one), names)
    return former && difference(one, former, names)
  }

  return {
    async look(found, { force }) {
      const changes: SelectionChange[] = []
      for (const one of found) {
        const all = one.repositorySelection === 'all'
        if (all || one.suspendedAtMs !== undefined) looked.delete(one.id)
        else if (!force && !isDue(one)) continue
        try {
          if (all && namesIn(facts.find(factOf(one)))) facts.put(factOf(one), null)
          if (all || one.suspendedAtMs !== undefined) continue
          const change = await compare(one)
          if (change) changes.push(change)
        } catch (error) {
          deps.log.debug('the repositories of an installation could not be listed', { error: asFailure(error) })
        }
      }
      return changes
    },
  }
}

/** Of the connection: it goes with it. */
const factOf = ({ id }: Installation): string => `connection.repositories.${id}`

const namesIn = (fact: unknown): string[] | undefined => (Array.isArray(fact) ? fact.map(String) : undefined)

const difference = ({ id, account }: Installation, before: string[], after: string[]): SelectionChange => {
  const added = after.filter(name => !before.includes(name))
  const removed = before.filter(name => !after.includes(name))
  const parts = [
    ...(added.length > 0 ? [`added ${listed(added)}`] : []),
    ...(removed.length > 0 ? [`removed ${listed(removed)}`] : []),
  ]
  const detail = `${account.login}: repositories ${parts.join('; ')}`
  return { event: 'connection.repositories', subject: String(id), detail, installation: id, removed }
}

const listed = (names: readonly string[]): string =>
  names.length <= MOST_NAMES
    ? names.join(', ')
    : `${names.slice(0, MOST_NAMES).join(', ')} and ${names.length - MOST_NAMES} more`
