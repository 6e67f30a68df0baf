// `ghconnect exec` as a process: the command in its place, its signals and codes; and beside it, with a file that is kept.

import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { CLI, PROFILE } from '../support/appliance.ts'
import { enabled, shell } from '../support/probes.ts'
import { start, startCli, until } from '../support/processes.ts'

const AT_ONCE = `${PROFILE}[refresh]\nsettle = "0s"\n`

test.serial('the command takes the place of exec: its id, its streams, its signals, its end', async t => {
  const appliance = await enabled()
  const exec = (...command: string[]) => startCli(['exec', '--socket', appliance.runtime, '--', ...command])
  try {
    const { token } = (await appliance.ask('POST', '/v1/tokens', {})).body
    const replaced = exec('sh', '-c', 'echo "$$ $GH_TOKEN $GITHUB_TOKEN"; cat; grep SigIgn /proc/$$/status; exit 7')
    replaced.child.stdin?.end('fed\n')
    t.is(await replaced.ended, 7)
    const [first, fed, ignored] = replaced.output().split('\n')
    t.is(first, `${replaced.child.pid} ${String(token)} ${String(token)}`, 'the same process')
    t.is(fed, 'fed')
    t.regex(ignored ?? '', /^SigIgn:\s+0+$/)
    t.is(await exec('sh', '-c', 'kill -USR1 $$').ended, 'SIGUSR1')
    const waiting = exec('sh', '-c', 'echo up; exec sleep 60')
    await until('up', () => waiting.output().includes('up'))
    t.is(await waiting.stop('SIGINT'), 'SIGINT')
    const piped = await shell(`${process.execPath} ${CLI} exec --socket ${appliance.runtime} -- yes | head -n 1`)
    t.is(piped.stdout, 'y\n')

    const folder = join(appliance.folder, 'bin')
    mkdirSync(folder)
    writeFileSync(join(folder, 'plain'), 'echo without a first line "$1"\n', { mode: 0o755 })
    writeFileSync(join(folder, 'text'), 'nothing\n', { mode: 0o644 })
    const env = { PATH: `${folder}:${process.env['PATH'] ?? ''}` }
    const script = startCli(['exec', '--socket', appliance.runtime, '--', 'plain', 'a b'], env)
    t.is(await script.ended, 0, script.output())
    t.is(script.output(), 'without a first line a b\n')
    t.is(await exec('no-such-command').ended, 127)
    t.is(await exec(join(folder, 'text')).ended, 126)
    t.is(await exec(folder).ended, 126)
  } finally {
    await appliance.close()
  }
})

test.serial(
  'with --refresh-file the file holds a good token as long as the command runs, and is gone then',
  async t => {
    const appliance = await enabled(AT_ONCE)
    const path = join(appliance.folder, 'token')
    const job = startCli([
      'exec',
      '--socket',
      appliance.runtime,
      '--refresh-file',
      path,
      '--min-ttl',
      '1m',
      '--',
      'sh',
      '-c',
      'echo "$GHCONNECT_TOKEN_FILE"; read line; exit 3',
    ])
    const tokenNow = async () => String((await appliance.ask('POST', '/v1/tokens', {})).body['token'])
    try {
      await until('the job runs', () => job.output().includes(path))
      const first = readFileSync(path, 'utf8')
      t.is(first, await tokenNow())
      t.is(statSync(path).mode & 0o777, 0o600)
      await appliance.call('POST', '/v1/refresh')
      await until('the next token', () => readFileSync(path, 'utf8') !== first)
      t.is(readFileSync(path, 'utf8'), await tokenNow())
      await appliance.kill('SIGKILL')
      t.is(readFileSync(path, 'utf8').length, first.length, 'a daemon that is away takes nothing')
      await appliance.start()
      const second = readFileSync(path, 'utf8')
      await appliance.call('POST', '/v1/refresh')
      await until('a token of the new daemon', () => readFileSync(path, 'utf8') !== second)
      job.child.stdin?.end('go\n')
      t.is(await job.ended, 3, job.output())
      t.false(existsSync(path))
    } finally {
      await job.stop('SIGKILL')
      await appliance.close()
    }
  },
)

test.serial('signals reach the command, and the file goes with it', async t => {
  const appliance = await enabled()
  const path = join(appliance.folder, 'token')
  const job = startCli([
    'exec',
    '--socket',
    appliance.runtime,
    '--refresh-file',
    path,
    '--',
    'sh',
    '-c',
    'trap "exit 9" TERM; echo up; while :; do sleep 0.05; done',
  ])
  try {
    await until('up', () => job.output().includes('up'))
    t.true(existsSync(path))
    t.is(await job.stop('SIGTERM'), 9)
    t.false(existsSync(path))
    const killed = startCli([
      'exec',
      '--socket',
      appliance.runtime,
      '--refresh-file',
      path,
      '--',
      'sh',
      '-c',
      'kill -KILL $$',
    ])
    t.is(await killed.ended, 137)
    t.false(existsSync(path))
  } finally {
    await job.stop('SIGKILL')
    await appliance.close()
  }
})

test.serial('a file that must not be written is refused before anything runs', async t => {
  const appliance = await enabled()
  const { folder, runtime } = appliance
  const target = join(folder, 'target')
  writeFileSync(target, 'precious')
  symlinkSync(target, join(folder, 'link'))
  mkdirSync(join(folder, 'folder'))
  try {
    for (const name of ['link', 'folder', 'absent/token', 'target/token']) {
      const job = startCli([
        'exec',
        '--socket',
        runtime,
        '--refresh-file',
        join(folder, name),
        '--',
        'sh',
        '-c',
        'echo ran',
      ])
      t.true([74, 78].includes(Number(await job.ended)), `${name}: ${job.output()}`)
      t.notRegex(job.output(), /^ran$/m)
    }
    t.is(readFileSync(target, 'utf8'), 'precious')
  } finally {
    await appliance.close()
  }
})

test.serial('no token is ever in an argument', async t => {
  const appliance = await enabled()
  try {
    const { token } = (await appliance.ask('POST', '/v1/tokens', {})).body
    const job = start([
      process.execPath,
      CLI,
      'exec',
      '--socket',
      appliance.runtime,
      '--',
      'sh',
      '-c',
      'tr "\\0" " " </proc/$$/cmdline; echo; echo "$GH_TOKEN"',
    ])
    t.is(await job.ended, 0)
    const [line = '', shown] = job.output().split('\n')
    t.is(shown, String(token))
    t.false(line.includes(String(token)))
  } finally {
    await appliance.close()
  }
})
