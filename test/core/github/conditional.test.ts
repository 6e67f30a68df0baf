// What is looked at again and again is asked for by its ETag, and a 304 is the answer of before.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { appBody, installationBody } from './bodies.ts'
import { fakeGitHub, makeKey, refusal, type Reply } from './fakes.ts'

const key = makeKey()
const as = { issuer: '42', keys: [key] }

const answering = (...replies: Reply[]) => {
  let at = 0
  return fakeGitHub(() => replies[Math.min(at++, replies.length - 1)] ?? {})
}
const NOT_MODIFIED: Reply = { status: 304, body: '' }

test('the App is asked for by its ETag, and changes with a new one', async t => {
  const { github, calls } = answering(
    { body: appBody(), headers: { etag: 'W/"1"' } },
    NOT_MODIFIED,
    { body: appBody({ name: 'Renamed' }), headers: { etag: 'W/"2"' } },
    NOT_MODIFIED,
  )
  const names: string[] = []
  for (let n = 0; n < 4; n += 1) names.push((await github.getApp(as)).name)
  t.deepEqual(names, ['ghe-example-com', 'ghe-example-com', 'Renamed', 'Renamed'])
  t.deepEqual(
    calls.map(({ headers }) => headers['if-none-match']),
    [undefined, 'W/"1"', 'W/"1"', 'W/"2"'],
  )
})

test('a list is kept by page and App; what another App is answered is its own', async t => {
  const { github, calls } = answering({ body: [installationBody(7)], headers: { etag: '"a"' } }, NOT_MODIFIED, {
    body: [installationBody(9)],
    headers: { etag: '"b"' },
  })
  t.is((await github.listInstallations(as))[0]?.id, 7)
  t.is((await github.listInstallations(as))[0]?.id, 7)
  t.is((await github.listInstallations({ issuer: '43', keys: [key] }))[0]?.id, 9)
  t.deepEqual(
    calls.map(({ headers }) => headers['if-none-match']),
    [undefined, '"a"', undefined],
  )
})

test('each page of a list is asked for by its own ETag, and answered by what it was', async t => {
  const { github, calls } = fakeGitHub(({ url, headers }) => {
    const page = Number(new URL(url).searchParams.get('page'))
    const etag = `"${page}"`
    if (headers['if-none-match'] === etag) return NOT_MODIFIED
    const link = page < 3 ? '<x>; rel="next"' : '<x>; rel="first"'
    return { body: [installationBody(page)], headers: { etag, link } }
  })
  for (const etags of [
    [undefined, undefined, undefined],
    ['"1"', '"2"', '"3"'],
  ]) {
    t.deepEqual(
      (await github.listInstallations(as)).map(({ id }) => id),
      [1, 2, 3],
    )
    t.deepEqual(
      calls.splice(0).map(({ headers }) => headers['if-none-match']),
      etags,
    )
  }
})

test('after a refusal in between the ETag still counts', async t => {
  const { github, calls } = answering(
    { body: appBody(), headers: { etag: '"1"' } },
    refusal(503, 'No server is currently available'),
    NOT_MODIFIED,
  )
  await github.getApp(as)
  await t.throwsAsync(github.getApp(as), { instanceOf: Failure })
  t.is((await github.getApp(as)).id, 42)
  t.is(calls.at(-1)?.headers['if-none-match'], '"1"')
})

test('an answer that cannot be read is not remembered, though it has the ETag of a good one', async t => {
  const { github, calls } = answering(
    { body: '{"id": 42, "na', headers: { etag: '"1"' } },
    { body: appBody(), headers: { etag: '"1"' } },
    { body: '[{"id": 7, ', headers: { etag: '"2"' } },
    { body: [installationBody(7)], headers: { etag: '"2"' } },
  )
  await t.throwsAsync(github.getApp(as), { instanceOf: Failure })
  t.is((await github.getApp(as)).id, 42)
  await t.throwsAsync(github.listInstallations(as), { instanceOf: Failure })
  t.is((await github.listInstallations(as))[0]?.id, 7)
  t.deepEqual(
    calls.map(({ headers }) => headers['if-none-match']),
    [undefined, undefined, undefined, undefined],
  )
})

test('a 304 that nobody asked for is no answer', async t => {
  const { github } = answering(NOT_MODIFIED)
  const error = await t.throwsAsync(github.getApp(as), { instanceOf: Failure })
  t.is(error?.code, 'github-unexpected')
})

test('a 304 of a stranger is a portal', async t => {
  const stranger: Reply = { ...NOT_MODIFIED, headers: { 'x-github-request-id': '' } }
  const { github } = answering({ body: appBody(), headers: { etag: '"1"' } }, stranger)
  await github.getApp(as)
  const error = await t.throwsAsync(github.getApp(as), { instanceOf: Failure })
  t.is(error?.code, 'portal')
})
