// What is left of an installation's rate limit: of the API itself, until its window ends.

import test from 'ava'
import { createQuotas } from '../../../src/core/github/calls.ts'

const NOW = 1_800_000_000_000
const headersOf = (remaining: number, more: Record<string, string> = {}) => ({
  'x-ratelimit-limit': '5000',
  'x-ratelimit-remaining': String(remaining),
  'x-ratelimit-reset': String(NOW / 1000 + 60),
  ...more,
})

test('the last answer of each installation counts until its window ends', t => {
  let now = NOW
  const quotas = createQuotas(() => now)
  quotas.note(1, headersOf(4_000))
  quotas.note(2, headersOf(9))
  quotas.note(1, headersOf(3_999, { 'x-ratelimit-resource': 'core' }))
  t.deepEqual(quotas.find(1), { limit: 5_000, remaining: 3_999, resetAtMs: NOW + 60_000 })
  t.is(quotas.find(2)?.remaining, 9)
  now += 60_000
  t.is(quotas.find(1), undefined)
})

test('limits of searches and of GraphQL, and headers that make no sense, say nothing of the API', t => {
  const quotas = createQuotas(() => NOW)
  quotas.note(1, headersOf(4_000))
  for (const resource of ['search', 'graphql', 'code_search'])
    quotas.note(1, headersOf(0, { 'x-ratelimit-limit': '30', 'x-ratelimit-resource': resource }))
  quotas.note(1, headersOf(0, { 'x-ratelimit-reset': 'soon' }))
  quotas.note(1, { 'x-ratelimit-remaining': '0' })
  t.is(quotas.find(1)?.remaining, 4_000)
})
