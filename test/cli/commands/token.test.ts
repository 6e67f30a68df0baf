// Token and exec: the scope that is asked for, and the two places where a token may appear.

import test from 'ava'
import type { ChildOutcome, ChildRequest } from '../../../src/cli/child.ts'
import { Failure, toProblem } from '../../../src/protocol/errors.ts'
import { TokenRequest } from '../../../src/protocol/wire.ts'
import { runCli, startDaemon, TOKEN, TOKEN_ANSWER } from '../rig.ts'

const SCOPE =
  '--profile p --installation octo-org --repo web --repo api --permission contents=read --permission issues=write --min-ttl 10m'.split(
    ' ',
  )

test('the token is printed, and nothing else', async t => {
  const daemon = await startDaemon(t, { 'token POST /v1/tokens': { body: TOKEN_ANSWER } })
  t.deepEqual(await runCli(['token', '--socket', daemon.folder]), { code: 0, stdout: `${TOKEN}\n`, stderr: '' })
  t.deepEqual(daemon.seen[0]?.body, {})
})

test('the scope is asked for as the options say', async t => {
  const daemon = await startDaemon(t, { 'token POST /v1/tokens': { body: TOKEN_ANSWER } })
  t.is((await runCli(['token', ...SCOPE, '--socket', daemon.folder])).code, 0)
  t.deepEqual(TokenRequest.parse(daemon.seen[0]?.body), {
    profile: 'p',
    installation: 'octo-org',
    repositories: ['web', 'api'],
    permissions: { contents: 'read', issues: 'write' },
    min_ttl_seconds: 600,
  })
})

test('--admin asks the admin socket, --json prints the whole answer', async t => {
  const daemon = await startDaemon(t, { 'admin POST /v1/tokens': { body: TOKEN_ANSWER } })
  const ran = await runCli(['token', '--admin', '--json', '--socket', daemon.folder])
  t.deepEqual(JSON.parse(ran.stdout), TOKEN_ANSWER)
})

test('a denial prints no data', async t => {
  const body = toProblem(new Failure('not-permitted', 'no profile admits uid 7'))
  const daemon = await startDaemon(t, {
    'POST /v1/tokens': { status: 403, type: 'application/problem+json', body },
  })
  const ran = await runCli(['token', '--socket', daemon.folder])
  t.is(ran.code, 77)
  t.is(ran.stdout, '')
  t.regex(ran.stderr, /no profile admits uid 7/)
})

test('an answer that is not as agreed shows no token', async t => {
  const daemon = await startDaemon(t, { 'POST /v1/tokens': { body: { ...TOKEN_ANSWER, expires_at: 7 } } })
  const ran = await runCli(['token', '--socket', daemon.folder])
  t.is(ran.code, 70)
  t.false(`${ran.stdout}${ran.stderr}`.includes(TOKEN))
})

test('exec hands the token to the environment alone', async t => {
  const daemon = await startDaemon(t, { 'token POST /v1/tokens': { body: TOKEN_ANSWER } })
  const children: ChildRequest[] = []
  const runChild = async (child: ChildRequest): Promise<ChildOutcome> => {
    children.push(child)
    return { kind: 'ended', exitCode: 3 }
  }
  const setting = { env: { HOME: '/h', GH_TOKEN: 'old' }, runChild }
  const argv = ['exec', '--socket', daemon.folder, '--repo', 'web']
  const ran = await runCli([...argv, '--', 'gh', 'pr', 'list', '--repo', 'o/r', '--json', 'id'], setting)
  t.deepEqual(ran, { code: 3, stdout: '', stderr: '' })
  const [child] = children
  t.deepEqual(child, {
    command: 'gh',
    args: ['pr', 'list', '--repo', 'o/r', '--json', 'id'],
    env: { HOME: '/h', GH_TOKEN: TOKEN, GITHUB_TOKEN: TOKEN },
  })
  t.deepEqual(daemon.seen[0]?.body, { repositories: ['web'] })
  await runCli([...argv, 'gh', '--socket', 'x', '--', '--help'], setting)
  t.deepEqual(children[1]?.args, ['--socket', 'x', '--', '--help'])
})

test('exec runs nothing without a token', async t => {
  const daemon = await startDaemon(t, {})
  const ran = await runCli(['exec', '--socket', daemon.folder, '--', 'true'], {
    runChild: () => Promise.reject(new Error('must not run')),
  })
  t.is(ran.code, 64)
  t.regex(ran.stderr, /not in this test/)
})

test('exec tells a command that there is not', async t => {
  const daemon = await startDaemon(t, { 'token POST /v1/tokens': { body: TOKEN_ANSWER } })
  const ran = await runCli(['exec', '--socket', daemon.folder, 'nope'], {
    runChild: async () => ({ kind: 'not-started', exitCode: 127, reason: 'there is no such command' }),
  })
  t.deepEqual(ran, { code: 127, stdout: '', stderr: 'ghconnect: nope: there is no such command\n' })
})
