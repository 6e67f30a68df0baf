// How the API's routes read bodies and pages of lists, and how refusals are written.

import { z } from 'zod'
import type { ApiContext } from './exchange.ts'
import { Refusal } from './refusal.ts'

export const DOCUMENTATION = 'https://docs.github.com/rest'

export const refusalResponse = (refusal: Refusal): Response =>
  Response.json(
    {
      message: refusal.message,
      ...refusal.details,
      documentation_url: DOCUMENTATION,
      status: String(refusal.status),
    },
    { status: refusal.status, headers: refusal.headers },
  )

/** The body as a JSON object; none at all is an empty one. Throws a Refusal. */
export const readBody = async (c: ApiContext): Promise<Record<string, unknown>> => {
  const text = await c.req.text()
  if (text.trim() === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Refusal(400, 'Problems parsing JSON')
  }
  const body = z.record(z.string(), z.unknown()).safeParse(value)
  if (!body.success) throw new Refusal(400, 'Body should be a JSON object')
  return body.data
}

export type Page<T> = { items: T[]; headers: Record<string, string> }

/** The part of a list that `per_page` and `page` ask for, with GitHub's `Link` header: the address asked for, with another page. */
export const paginate = <T>(c: ApiContext, all: readonly T[], address: string): Page<T> => {
  const perPage = Math.min(numberOf(c.req.query('per_page'), 30), 100)
  const page = numberOf(c.req.query('page'), 1)
  const last = Math.max(1, Math.ceil(all.length / perPage))
  const link = (rel: string, to: number): string => {
    const query = new URL(c.req.url).searchParams
    query.set('page', String(to))
    return `<${address}?${query.toString()}>; rel="${rel}"`
  }
  const links = [
    ...(page > 1 ? [link('prev', page - 1)] : []),
    ...(page < last ? [link('next', page + 1), link('last', last)] : []),
    ...(page > 1 ? [link('first', 1)] : []),
  ]
  return {
    items: all.slice((page - 1) * perPage, page * perPage),
    headers: links.length === 0 ? {} : { link: links.join(', ') },
  }
}

const numberOf = (text: string | undefined, otherwise: number): number => {
  const value = Number(text)
  return Number.isInteger(value) && value > 0 ? value : otherwise
}
