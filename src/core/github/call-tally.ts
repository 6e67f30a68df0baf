// Counts the calls to GitHub: how long each took, whether GitHub answered, and when it did last.

import { createHistogram, type Histogram, type Tally } from '../../protocol/histogram.ts'
import type { Clock } from '../../service/clock.ts'

/** `answered`: by GitHub itself, be it with a refusal. */
export type GitHubCall = { readonly route: string; readonly seconds: number; readonly answered: boolean }

export type CallTally = {
  note(call: GitHubCall): void
  read(): {
    readonly durations: readonly { readonly route: string; readonly tally: Tally }[]
    readonly unanswered: number
    readonly lastAnswerAtMs?: number
  }
}

export const createCallTally = (deps: { clock: Pick<Clock, 'now'> }): CallTally => {
  const durations = new Map<string, Histogram>()
  let unanswered = 0
  let lastAnswerAtMs: number | undefined
  return {
    note({ route, seconds, answered }) {
      const known = durations.get(route) ?? createHistogram()
      durations.set(route, known)
      known.observe(seconds)
      if (answered) lastAnswerAtMs = deps.clock.now()
      else unanswered += 1
    },
    read: () => ({
      durations: [...durations].map(([route, histogram]) => ({ route, tally: histogram.read() })),
      unanswered,
      ...(lastAnswerAtMs !== undefined && { lastAnswerAtMs }),
    }),
  }
}
