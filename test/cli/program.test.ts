// The command line itself: help, wrong use, where the daemon is looked for, completion.

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { COMMANDS } from '../../src/cli/commands.ts'
import { Failure } from '../../src/domain/errors.ts'
import { CONNECTED, runCli, startDaemon } from './rig.ts'

const FOR_PEOPLE = /^ghconnect: .*unknown option '--no-such-option'\n {2}What to do: /
const FOR_BACKUPS = /^Fatal: .*unknown option '--no-such-option'\nFatal: What to do: .*\n$/

for (const command of COMMANDS) {
  test(`${command.name} --help ends with an example`, async t => {
    const ran = await runCli([...command.name.split(' '), '--help'])
    t.is(ran.code, 0)
    t.is(ran.stderr, '')
    t.regex(ran.stdout, /\nExamples?:\n {2}\S.*\n(?: {2}\S.*\n)*$/)
    t.regex(ran.stdout, /--socket <PATH>[^]*--config <FILE>/)
    for (const example of command.examples) t.true(example.includes(`ghconnect ${command.name}`), example)
  })

  test(`${command.name} refuses an option that it does not have`, async t => {
    const ran = await runCli([...command.name.split(' '), '--no-such-option'])
    t.is(ran.code, 64)
    t.is(ran.stdout, '')
    t.regex(ran.stderr, command.forBackups ? FOR_BACKUPS : FOR_PEOPLE)
  })
}

test('wrong uses end with 64 and say what is wrong', async t => {
  const wrong: [string, RegExp][] = [
    ['', /a command is missing/],
    ['config', /a command is missing/],
    ['tokn', /unknown command 'tokn' \(Did you mean token\?\)/],
    ['token extra', /too many arguments/],
    ['token --profile', /argument missing/],
    ['exec', /missing required argument|the command is missing/],
    ['enable', /give one of --organization/],
    ['enable --user a --organization b', /give one of --organization/],
    ['import --key k', /either --app-id or --client-id/],
    ['import --app-id 1 --client-id b --key k', /either --app-id or --client-id/],
    ['import --app-id Iv23 --key k', /must be a number/],
    ['import --app-id 1', /--key FILE is missing/],
    ['token --permission contents', /contents=read/],
    ['token --permission contents=all', /contents=read/],
    ['token --permission contents=read --permission contents=write', /stands twice/],
    ['token --repo octo-org/web', /without its owner/],
    ['token --min-ttl 2h', /up to 40m/],
    ['token --min-ttl soon', /up to 40m/],
    ['sandbox --tls-cert c', /both of --tls-cert and --tls-key/],
    ['sandbox --seed x', /must be a number/],
    ['sandbox --listen here', /ADDRESS:PORT/],
    ['completion tcsh', /bash, zsh, fish/],
  ]
  for (const [line, message] of wrong) {
    const ran = await runCli(line.split(' ').filter(Boolean))
    t.is(ran.code, 64, line)
    t.regex(ran.stderr, message, line)
    t.is(ran.stdout, '', line)
  }
  const empty = await runCli(['token', '--profile', ''])
  t.is(empty.code, 64)
})

test('the version is printed, and nothing else', async t => {
  t.deepEqual(await runCli(['--version']), { code: 0, stdout: 'ghconnect 1.2.3\n', stderr: '' })
})

test('the socket is that of the option, the environment or the configuration, in this order', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: CONNECTED } })
  const config = join(daemon.folder, 'config.toml')
  await writeFile(
    config,
    `[paths]\nruntime = "${daemon.folder}"\n[[profiles]]\nname = "p"\nallow = { users = ["u"] }\n`,
  )
  const env = { GHCONNECT_SOCKET: '/nonexistent/e.sock' }
  const exitOf = async (argv: string[], own: Record<string, string> = {}): Promise<number> =>
    (await runCli(argv, { env: own })).code
  t.is(await exitOf(['status', '--config', config]), 0)
  t.is(await exitOf(['--config', config, 'status']), 0)
  t.is(await exitOf(['status'], { GHCONNECT_CONFIG: config }), 0)
  t.is(await exitOf(['status', '--config', config], env), 69)
  t.is(await exitOf(['status', '--socket', daemon.folder], env), 0)
  t.is(await exitOf(['--socket', '/nonexistent/o.sock', 'status', '--socket', join(daemon.folder, 'admin.sock')]), 0)
})

test('a configuration that was named and is wrong is an error, with file and line', async t => {
  const daemon = await startDaemon(t, {})
  const config = join(daemon.folder, 'config.toml')
  await writeFile(config, '[paths]\nruntme = "/run"\n')
  const ran = await runCli(['status', '--config', config])
  t.is(ran.code, 78)
  t.regex(ran.stderr, /config\.toml:2: paths\.runtme/)
  t.is((await runCli(['status', '--config', join(daemon.folder, 'none.toml')])).code, 78)
})

test('config check tells a good file from a bad one, and knows which users there are', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'ghconnect-cli-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const config = join(folder, 'config.toml')
  await writeFile(config, '[[profiles]]\nname = "p"\nallow = { users = ["git"] }\n')
  t.deepEqual(await runCli(['config', 'check', '--config', config]), { code: 0, stdout: `${config}: OK\n`, stderr: '' })
  const surroundings = async () => ({ hostname: 'h', findUser: () => undefined, findGroup: () => undefined })
  const ran = await runCli(['config', 'check', '--config', config], { surroundings })
  t.is(ran.code, 78)
  t.regex(ran.stderr, /there is no such name: git/)
})

test('daemon and sandbox are started with their options, and their ends are told', async t => {
  const started: unknown[] = []
  const ran = await runCli(['daemon', '--config', '/c.toml'], {
    runDaemon: async options => {
      started.push(options)
      return 78
    },
  })
  t.is(ran.code, 78)
  const runSandbox = async (options: unknown): Promise<void> => void started.push(options)
  t.is((await runCli(['sandbox', '--listen', '127.0.0.1:0', '--seed', '7'], { runSandbox })).code, 0)
  t.deepEqual(started, [{ configFile: '/c.toml' }, { listen: '127.0.0.1:0', seed: '7' }])
  const failing = await runCli(['sandbox'], {
    runSandbox: async () => {
      throw new Error('listen EADDRINUSE')
    },
  })
  t.is(failing.code, 74)
  t.regex(failing.stderr, /EADDRINUSE/)
})

test('an error that nobody foresaw ends with 70 and its cause, without any secret in it', async t => {
  const ran = await runCli(['daemon'], {
    runDaemon: async () => {
      throw new TypeError(`broken by ghs_${'a'.repeat(36)}`)
    },
  })
  t.is(ran.code, 70)
  t.regex(ran.stderr, /Cause: .*broken by \[secret\]/)
  const own = await runCli(['daemon'], {
    runDaemon: async () => {
      throw new Failure('state-in-use', 'pid 7')
    },
  })
  t.is(own.code, 69)
})

const run = promisify(execFile)

test('bash completes commands, options, choices and files', async t => {
  const { stdout } = await runCli(['completion', 'bash'])
  const folder = await mkdtemp(join(tmpdir(), 'ghconnect-cli-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'ghconnect.bash'), stdout)
  await mkdir(join(folder, 'keyfolder'))
  const complete = async (...words: string[]): Promise<string[]> => {
    const script = `cd ${folder}; . ./ghconnect.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ghconnect; echo "\${COMPREPLY[*]}"`
    const ended = await run('bash', ['-c', script, 'bash', ...words])
    return ended.stdout.split(/\s+/).filter(Boolean)
  }
  t.deepEqual(await complete('ghconnect', 'stat'), ['status'])
  t.deepEqual(await complete('ghconnect', 'config', ''), ['check'])
  t.true((await complete('ghconnect', 'config', 'check', '--')).includes('--config'))
  t.deepEqual(await complete('ghconnect', 'completion', 'z'), ['zsh'])
  t.deepEqual(await complete('ghconnect', 'token', '--min'), ['--min-ttl'])
  t.deepEqual(await complete('ghconnect', 'import', '--key', 'key'), ['keyfolder'])
  t.deepEqual(await complete('ghconnect', 'token', '--profile', ''), [])
  t.true((await complete('ghconnect', 'exec', '--', 'bas')).includes('bash'))
})

test('the scripts of zsh and fish name each command and option', async t => {
  const fish = (await runCli(['completion', 'fish'])).stdout
  const zsh = (await runCli(['completion', 'zsh'])).stdout
  t.true(zsh.startsWith('#compdef ghconnect\n'))
  for (const { name, options } of COMMANDS) {
    for (const word of name.split(' ')) t.true(fish.includes(` -a ${word}`), word)
    t.true(zsh.includes(`"${name}")`), name)
    for (const { flags } of options) t.true(fish.includes(` -l ${flags.split(' ')[0]?.slice(2)} `), flags)
  }
})
