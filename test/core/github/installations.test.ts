// Lists are read to their end.

import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../../src/protocol/errors.ts'
import { readPages } from '../../../src/core/github/github.ts'

test('a list of any length is read whole, by the Link header or by counting, each entry once', async t => {
  const check = async (length: number, withLink: boolean): Promise<void> => {
    const all = Array.from({ length }, (_, index) => ({ id: index + 1 }))
    const asked: number[] = []
    const list = await readPages(page => {
      asked.push(page)
      const items = all.slice((page - 1) * 100, page * 100)
      const link = `<https://api.github.com/x?page=1>; rel="prev"${page * 100 < length ? ', <https://elsewhere.example/>; rel="next"' : ''}`
      // The last entry of a page shows up again, as when something was added meanwhile.
      return Promise.resolve({ items: items.concat(items.slice(-1)), headers: withLink ? { link } : {} })
    })
    t.deepEqual(list, all)
    t.deepEqual(
      asked,
      [...asked.keys()].map(index => index + 1),
    )
  }
  await fc.assert(fc.asyncProperty(fc.nat(1000), fc.boolean(), check), { numRuns: 30 })
})

test('where no Link header tells, a page that is full has another one behind it', async t => {
  for (const [length, pages] of [
    [0, 1],
    [99, 1],
    [100, 2],
    [101, 2],
    [200, 3],
  ] as const) {
    const all = Array.from({ length }, (_, index) => ({ id: index + 1 }))
    let asked = 0
    const list = await readPages(async page => {
      asked += 1
      return { items: all.slice((page - 1) * 100, page * 100), headers: {} }
    })
    t.deepEqual(list, all)
    t.is(asked, pages, `${length} entries`)
  }
})

test('where no Link header tells, entries that mean nothing make a page full as all others do', async t => {
  const full = Array.from({ length: 100 }, (_, index) => ({ id: index + 1 }))
  const last = { id: 101 }
  for (const nothing of [[0], [99], [...full.keys()]]) {
    const first = full.map((item, index) => (nothing.includes(index) ? undefined : item))
    const list = await readPages(async page => ({ items: page === 1 ? first : [last], headers: {} }))
    t.deepEqual(list, [...first.filter(item => item !== undefined), last])
  }
})

test('a list without an end is an error, not a list cut short', async t => {
  const failure = await t.throwsAsync(
    readPages(page => Promise.resolve({ items: [{ id: page }], headers: { link: '<x>; rel="next"' } })),
    { instanceOf: Failure },
  )
  t.is(failure.code, 'github-unexpected')
})
