// Commands of a document, to be typed as they stand: a block is marked by `<!-- run: NAME -->`.

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')

export type Document = {
  readonly marks: readonly string[]
  /** The block's lines; `moves`: what stands there, and what is to be typed in its place. Throws where it does not stand there. */
  block(mark: string, moves?: Readonly<Record<string, string>>): string
}

export const readDocument = (path: string): Document => {
  const text = readFileSync(join(ROOT, path), 'utf8')
  const blocks = new Map(
    [...text.matchAll(/<!-- run: (.+) -->\n+```\w+\n([^]*?)```/g)].map(([, mark = '', block = '']) => [mark, block]),
  )
  return {
    marks: [...blocks.keys()],
    block(mark, moves = {}) {
      let block = blocks.get(mark)
      if (block === undefined) throw new Error(`${path} has no block ${mark}`)
      for (const [from, into] of Object.entries(moves)) block = block.replaceAll(from, into)
      return block
    },
  }
}
