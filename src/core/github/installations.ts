// Lists of GitHub's that come in pages.

import { Failure } from '../../protocol/errors.ts'
import type { AnswerHeaders } from './refusals.ts'
import { textOf } from './refusals.ts'

/** An entry that means nothing to us is undefined; it counts when pages are. */
export type Page<T> = { readonly items: readonly (T | undefined)[]; readonly headers: AnswerHeaders }

export const PAGE_SIZE = 100
/** 50,000 entries: more than any account has, and a tenth of an hour's quota. */
const MOST_PAGES = 500

/**
 * All entries of a list, each id once (pages shift while they are read). Pages are asked for by number, never by an address from an answer.
 * Throws `github-unexpected` where the list does not end, as a list cut short would look whole.
 */
export const readPages = async <T extends { readonly id: number }>(
  ask: (page: number) => Promise<Page<T>>,
): Promise<readonly T[]> => {
  const found = new Map<number, T>()
  for (let page = 1; page <= MOST_PAGES; page++) {
    const { items, headers } = await ask(page)
    for (const item of items) if (item) found.set(item.id, item)
    if (!hasNext(headers, items.length)) return [...found.values()]
  }
  throw new Failure('github-unexpected', `a list of GitHub's has more than ${MOST_PAGES} pages`)
}

const hasNext = (headers: AnswerHeaders, length: number): boolean => {
  const link = textOf(headers, 'link')
  return link === '' ? length >= PAGE_SIZE : /;\s*rel="?next"?/i.test(link)
}
