// The entry as a real process: exit codes, signals, standard streams.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { CONNECTED, startDaemon, TOKEN, TOKEN_ANSWER } from './rig.ts'

const ROOT = join(import.meta.dirname, '../..')
const ENTRY = join(ROOT, 'src/ghconnect.ts')

const start = (argv: readonly string[]): ChildProcess =>
  spawn(process.execPath, ['--disable-sigusr1', ENTRY, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })

type Ended = { code: unknown; signal: unknown; stdout: string; stderr: string }
const ended = async (child: ChildProcess): Promise<Ended> => {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => void (stdout += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => void (stderr += chunk.toString()))
  const [code, signal]: unknown[] = await once(child, 'close')
  return { code, signal, stdout, stderr }
}

const ROUTES = { 'GET /v1/status': { body: CONNECTED }, 'token POST /v1/tokens': { body: TOKEN_ANSWER } }

test('exec passes on the exit code, the environment and the output', async t => {
  const daemon = await startDaemon(t, ROUTES)
  const script = 'echo "$GH_TOKEN $GITHUB_TOKEN"; tr "\\0" " " </proc/$$/cmdline; exit 7'
  const ran = await ended(start(['exec', '--socket', daemon.folder, '--', 'sh', '-c', script]))
  t.is(ran.code, 7)
  const [first, ...rest] = ran.stdout.split('\n')
  t.is(first, `${TOKEN} ${TOKEN}`)
  t.false(rest.join('').includes(TOKEN))
})

test('exec tells a child that was killed from one that could not start', async t => {
  const daemon = await startDaemon(t, ROUTES)
  const run = (...command: string[]) => ended(start(['exec', '--socket', daemon.folder, '--', ...command]))
  const codeOf = async (...command: string[]): Promise<unknown> => (await run(...command)).code
  t.is((await run('sh', '-c', 'kill -KILL $$')).signal, 'SIGKILL')
  t.is(await codeOf('no-such-command-here'), 127)
  t.is(await codeOf(daemon.folder), 126)
})

test('exec hands signals to its child, and waits for it', async t => {
  const daemon = await startDaemon(t, ROUTES)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const) {
    const trap = `trap 'echo got; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.02; done`
    const child = start(['exec', '--socket', daemon.folder, '--', 'sh', '-c', trap])
    child.stdout?.once('data', () => child.kill(signal))
    const ran = await ended(child)
    t.is(ran.code, 9, signal)
    t.is(ran.stdout, 'ready\ngot\n', signal)
  }
})

test('the version is that of the package, and an unknown option ends with 64', async t => {
  const version = await ended(start(['--version']))
  t.regex(version.stdout, /^ghconnect \d+\.\d+\.\d+\n$/)
  const wrong = await ended(start(['status', '--nope']))
  t.is(wrong.code, 64)
})

test('NODE_OPTIONS are not for the command line: `exec` hands them to its child', async t => {
  const daemon = await startDaemon(t, ROUTES)
  const packaged = readFileSync(join(ROOT, 'systemd/debian/ghconnect'), 'utf8')
    .replace('/usr/lib/ghconnectd/node', process.execPath)
    .replace('/usr/lib/ghconnectd/ghconnect.cjs', ENTRY)
  for (const wrapper of [['sh', '-c', packaged, 'ghconnect'], [join(ROOT, 'scripts/ghconnect')]]) {
    const run = ([program = '', ...words]: readonly string[], options?: string): Promise<Ended> => {
      const { NODE_OPTIONS: _, ...env } = process.env
      const stdio = ['ignore', 'pipe', 'pipe'] as const
      return ended(
        spawn(program, words, { stdio: [...stdio], env: { ...env, ...(options && { NODE_OPTIONS: options }) } }),
      )
    }
    const print = 'echo "${NODE_OPTIONS-unset} ${GHCONNECT_NODE_OPTIONS-unset}"'
    const exec = [...wrapper, 'exec', '--socket', daemon.folder, '--', 'sh', '-c', print]
    t.like(await run(exec), { code: 0, stdout: 'unset unset\n', stderr: '' })
    t.like(await run(exec, '--bogus --require /nope'), {
      code: 0,
      stdout: '--bogus --require /nope unset\n',
      stderr: '',
    })
  }
})

test('waiting keeps the process alive, and it ends by itself', async t => {
  let questions = 0
  const daemon = await startDaemon(t, {
    'POST /v1/connection': { body: { url: 'https://x.example', expires_at: CONNECTED.since, how: 'manifest' } },
    'GET /v1/status': () => {
      questions += 1
      return { body: questions > 1 ? CONNECTED : { ...CONNECTED, state: 'awaiting-app' } }
    },
  })
  const ran = await ended(start(['enable', '--organization', 'o', '--without-recovery-key', '--socket', daemon.folder]))
  t.is(ran.code, 0, ran.stderr)
  t.is(questions, 2)
})

test('a token that could not be written is no success', async t => {
  const daemon = await startDaemon(t, ROUTES)
  const command = `"$0" "$1" token --socket "$2" >/dev/full`
  const ran = await ended(spawn('sh', ['-c', command, process.execPath, ENTRY, daemon.folder]))
  t.is(ran.code, 74)
})

test('a reader that goes after one line ends `audit` silently', async t => {
  const row = { sequence: 1, at: CONNECTED.since, event: 'token.grant', uid: 0, detail: 'x'.repeat(4000), hash: 'h' }
  const rows = Array.from({ length: 900 }, (_, at) => ({ ...row, sequence: at + 1 }))
  const daemon = await startDaemon(t, { 'GET /v1/audit': { body: { rows } } })
  const command = `{ "$0" "$1" audit --socket "$2"; echo "exit $?" >&2; } | head -n 1`
  const ran = await ended(spawn('sh', ['-c', command, process.execPath, ENTRY, daemon.folder]))
  t.regex(ran.stdout, /^TIME/)
  t.is(ran.stderr, 'exit 0\n')
})
