// git-credential: git's words in, git's words out, and no password on its way to anybody.

import { PassThrough } from 'node:stream'
import test from 'ava'
import { Failure, toProblem } from '../../../src/protocol/errors.ts'
import { runCli, startDaemon, TOKEN } from '../rig.ts'

const OURS = 'protocol=https\nhost=github.com\npath=octo-org/web.git\n'
const ANSWER = `username=x-access-token\npassword=${TOKEN}\n`
const feed = (text: string) => ({ stdin: new PassThrough().end(text) })
type Seen = { headers: Record<string, unknown>; text: string }

/** The rig reads bodies as JSON; these are none, so the test reads them itself. */
const listen = async (
  t: Parameters<typeof startDaemon>[0],
  reply: { status?: number; type?: string; body?: string },
) => {
  const seen: Seen[] = []
  const daemon = await startDaemon(t, {
    'token POST /v1/tokens': ({ headers, body }) => {
      seen.push({ headers, text: String(body) })
      return { type: 'text/x-git-credential', body: ANSWER, ...reply }
    },
  })
  return { seen, folder: daemon.folder }
}

test('get hands the attributes on, and the answer back', async t => {
  const { seen, folder } = await listen(t, {})
  const ran = await runCli(
    ['git-credential', '--socket', folder, '--profile', 'ci', 'get'],
    feed(`${OURS}\nnot=read\n`),
  )
  t.deepEqual(ran, { code: 0, stdout: ANSWER, stderr: '' })
  t.is(seen[0]?.text, `profile=ci\n${OURS}`)
  t.is(seen[0]?.headers['content-type'], 'text/x-git-credential')
  t.is(seen[0]?.headers['accept'], 'text/x-git-credential')
})

test('erase tells the hash of the password, and never the password', async t => {
  const { seen, folder } = await listen(t, { status: 204, body: '' })
  const input = `${OURS}username=x-access-token\npassword=${TOKEN}\n`
  t.deepEqual(await runCli(['git-credential', '--socket', folder, 'erase'], feed(input)), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  t.regex(seen[0]?.text ?? '', /^rejected=[A-Za-z0-9+/]{43}=$/m)
  t.false(seen[0]?.text.includes(TOKEN))
  await runCli(['git-credential', '--socket', folder, 'get'], feed(input))
  t.false(seen[1]?.text.includes(TOKEN))
})

test('store, an erase of nothing, and an action that is not known yet, ask nobody', async t => {
  const { seen, folder } = await listen(t, {})
  for (const word of ['store', 'erase', 'invented-later']) {
    t.is((await runCli(['git-credential', '--socket', folder, word], feed(OURS))).code, 0)
  }
  t.deepEqual(seen, [])
})

test('a denial is told on standard error, and git gets nothing', async t => {
  const body = JSON.stringify(toProblem(new Failure('not-permitted', 'no profile admits you')))
  const { folder } = await listen(t, { status: 403, type: 'application/problem+json', body })
  const ran = await runCli(['git-credential', '--socket', folder, 'get'], feed(OURS))
  t.is(ran.code, 77)
  t.is(ran.stdout, '')
  t.regex(ran.stderr, /no profile admits you/)
  t.is((await runCli(['git-credential', '--socket', folder])).code, 64)
})
