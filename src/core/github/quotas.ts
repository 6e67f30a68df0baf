// What is left of each installation's rate limit, as the headers of GitHub's last answer said.

import type { AnswerHeaders } from './refusals.ts'
import { textOf } from './refusals.ts'

export type Quota = { readonly limit: number; readonly remaining: number; readonly resetAtMs: number }

export type Quotas = {
  note(installation: number, headers: AnswerHeaders): void
  /** Undefined also where the window has ended since: what was said then says nothing now. */
  find(installation: number): Quota | undefined
}

export const createQuotas = (githubNow: () => number): Quotas => {
  const quotas = new Map<number, Quota>()
  return {
    note(installation, headers) {
      const limit = countOf(headers, 'x-ratelimit-limit')
      const remaining = countOf(headers, 'x-ratelimit-remaining')
      const resetS = countOf(headers, 'x-ratelimit-reset')
      if (limit === undefined || remaining === undefined || resetS === undefined) return
      // Other resources (search, graphql) have limits of their own.
      if (!['', 'core'].includes(textOf(headers, 'x-ratelimit-resource'))) return
      quotas.set(installation, { limit, remaining, resetAtMs: resetS * 1000 })
    },
    find(installation) {
      const quota = quotas.get(installation)
      if (quota && quota.resetAtMs <= githubNow()) quotas.delete(installation)
      return quotas.get(installation)
    },
  }
}

const countOf = (headers: AnswerHeaders, name: string): number | undefined => {
  const text = textOf(headers, name)
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
