// Installations of every kind of account are read, odd ones are refused, and lists are read to their end.

import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../src/domain/errors.ts'
import { installationSchema, installationsSchema, readPages } from '../../src/github/installations.ts'
import { installationBody } from './bodies.ts'

test('an organization, a user and an enterprise are told apart', t => {
  const accounts = [
    [
      { login: 'octo-org', id: 1, type: 'Organization' },
      { type: 'organization', login: 'octo-org' },
    ],
    [
      { login: 'mona', id: 2, type: 'User' },
      { type: 'user', login: 'mona' },
    ],
    [
      { slug: 'octo-corp', id: 3, name: 'Octo Corp' },
      { type: 'enterprise', login: 'octo-corp' },
    ],
  ] as const
  for (const [account, expected] of accounts) {
    t.deepEqual(installationSchema.parse({ ...installationBody(7), account }), {
      id: 7,
      account: expected,
      repositorySelection: 'selected',
      permissions: { contents: 'read', metadata: 'read' },
      htmlUrl: 'https://github.com/organizations/octo-org/settings/installations/7',
    })
  }
})

test('a suspension shows with its time, whatever offset it is written with', t => {
  for (const suspended_at of ['2026-06-01T12:00:00Z', '2026-06-01T08:00:00-04:00']) {
    const installation = installationSchema.parse({ ...installationBody(7), suspended_at })
    t.is(installation.suspendedAtMs, Date.UTC(2026, 5, 1, 12))
  }
  t.false('suspendedAtMs' in installationSchema.parse({ ...installationBody(7), suspended_at: null }))
})

test('an installation with a field missing or odd is refused', t => {
  const whole = installationBody(7)
  for (const field of ['id', 'account', 'repository_selection', 'permissions', 'html_url']) {
    const { [field]: _, ...rest } = whole
    t.false(installationSchema.safeParse(rest).success, field)
    t.false(installationSchema.safeParse({ ...whole, [field]: null }).success, field)
  }
  t.false(installationSchema.safeParse({ ...whole, id: '7' }).success)
  t.false(installationSchema.safeParse({ ...whole, permissions: { contents: 'all' } }).success)
  t.false(installationSchema.safeParse({ ...whole, account: { login: 'x', type: 'Bot' } }).success)
  t.false(installationSchema.safeParse({ ...whole, suspended_at: 'yesterday' }).success)
})

test('an installation whose account is being deleted does not hide the others', t => {
  const list = installationsSchema.parse([{ ...installationBody(1), account: null }, installationBody(2)])
  t.deepEqual(
    list.map(installation => installation?.id),
    [undefined, 2],
  )
})

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

test('a list without an end is an error, not a list cut short', async t => {
  const failure = await t.throwsAsync(
    readPages(page => Promise.resolve({ items: [{ id: page }], headers: { link: '<x>; rel="next"' } })),
    { instanceOf: Failure },
  )
  t.is(failure.code, 'github-unexpected')
})
