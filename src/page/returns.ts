// The way back from GitHub to the page that a person left: by the state of the enable, which comes back with GitHub's redirects.

import type { Session } from './sessions.ts'

export type Returns = {
  keep(state: string, session: Session): void
  find(state: string | undefined): Session | undefined
}

/** An enable at a time; some were given up. */
const MAX_KEPT = 32

/** In memory, as the sessions are: whoever comes back to a daemon that was restarted signs in again. */
export const createReturns = (): Returns => {
  const kept = new Map<string, Session>()
  return {
    keep(state, session) {
      const [oldest] = kept.keys()
      if (kept.size >= MAX_KEPT && oldest !== undefined) kept.delete(oldest)
      kept.set(state, session)
    },
    find: state => (state === undefined ? undefined : kept.get(state)),
  }
}
