// Mints under way: few enough for GitHub, which bears 100 requests at once, and shared among the holders that wait.

import { createHolderTurns } from '../peers/turns.ts'

export type MintTurns = {
  /** Runs `work` when it is the holder's turn: first come within a holder, one holder after another. */
  take<T>(holder: string, work: () => Promise<T>): Promise<T>
}

type Line = { running: number; readonly waiting: (() => void)[] }

const AT_ONCE = 64
/** Of one holder, so that three others find room whatever it does. */
const OF_ONE_AT_ONCE = 16
/** A request to GitHub and its answer keep this process busy for a millisecond: a holder begins few of them in a row. */
const COST = 16

export const createMintTurns = (): MintTurns => {
  /** Who waits longest is first. */
  const lines = new Map<string, Line>()
  let running = 0
  const turns = createHolderTurns()

  const start = (holder: string, line: Line): void => {
    line.running += 1
    running += 1
    lines.delete(holder)
    lines.set(holder, line)
  }

  const next = (): void => {
    if (running >= AT_ONCE) return
    for (const [holder, line] of lines) {
      const go = line.running < OF_ONE_AT_ONCE ? line.waiting.shift() : undefined
      if (!go) continue
      start(holder, line)
      go()
      return
    }
  }

  return {
    async take<T>(holder: string, work: () => Promise<T>) {
      const line = lines.get(holder) ?? { running: 0, waiting: [] }
      if (running < AT_ONCE && line.running < OF_ONE_AT_ONCE) start(holder, line)
      else {
        lines.set(holder, line)
        await new Promise<void>(go => void line.waiting.push(go))
      }
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      turns.take(holder, () => void work().then(resolve, reject), COST)
      try {
        return await promise
      } finally {
        line.running -= 1
        running -= 1
        if (line.running === 0 && line.waiting.length === 0) lines.delete(holder)
        next()
      }
    },
  }
}
