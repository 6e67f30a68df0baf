// The command line itself: help, wrong use, where the daemon is looked for, completion.

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { COMMANDS } from '../../src/cli/commands.ts'
import { Failure } from '../../src/protocol/errors.ts'
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
    t.true(ran.stderr.includes(`See \`ghconnect ${command.name} --help\`.`), ran.stderr)
  })
}

test('wrong uses end with 64 and say what is wrong', async t => {
  const wrong: [string, RegExp][] = [
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

test('alone, the program and each of its groups print their help, by topic', async t => {
  const ran = await runCli([])
  t.is(ran.code, 0)
  t.is(ran.stderr, '')
  const titles = [...ran.stdout.matchAll(/^(\S.*):$/gm)].map(([, title]) => title)
  t.deepEqual(titles, [
    'Options',
    'Connect',
    'Use tokens',
    'Back up and recover',
    'Diagnose',
    'Administer',
    'Commands',
    'Examples',
  ])
  t.regex(ran.stdout, /^ {2}keys +list, add and retire the App's private keys?/m)
  for (const group of ['config', 'keys', 'cluster', 'snapshot', 'recovery-key']) {
    const of = await runCli([group])
    t.is(of.code, 0, group)
    t.regex(of.stdout, /^Usage: /, group)
  }
})

test('the help of a command is wrapped once: no line of its text ends early', async t => {
  for (const { name, details = '' } of COMMANDS) {
    const { stdout } = await runCli([...name.split(' '), '--help'])
    const text = stdout.split('\n\n')[2] ?? ''
    const lines = text.split('\n')
    if (details === '') continue
    for (const [at, line] of lines.slice(0, -1).entries()) {
      const [word = ''] = (lines[at + 1] ?? '').split(' ')
      t.true(line.length + 1 + word.length > 78, `${name}: ${line}`)
    }
  }
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

test('a command that asks twice reads its configuration once, whatever becomes of the file meanwhile', async t => {
  const counts = { generation: 1, sequence: 1, tokens: 0, members: [], unsent: false }
  const left = { cluster: 'ghe', node: 'one-a1', joined: false, role: 'single', in_touch: false, ...counts }
  const daemon = await startDaemon(t, {
    'admin GET /v1/status': async () => {
      await writeFile(config, 'broken')
      return { body: CONNECTED }
    },
    'admin DELETE /v1/cluster': { body: left },
  })
  const config = join(daemon.folder, 'config.toml')
  await writeFile(config, `[paths]\nruntime = "${daemon.folder}"\n`)
  t.is((await runCli(['cluster', 'leave', '--yes', '--config', config])).code, 0)
  t.is((await runCli(['cluster', 'leave', '--yes', '--config', config])).code, 78)
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

const PROFILES = {
  profiles: [
    { name: 'actions', permissions: { contents: 'write' }, repositories: ['web'] },
    { name: 'mirror', permissions: { metadata: 'read' } },
  ],
}
const FINGERPRINTS = [
  'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
  'SHA256:bbbbbbb8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
]

/** A folder with the script of each shell, and a `ghconnect` that asks a daemon with two profiles and two keys. */
const shellsWith = async (t: ExecutionContext) => {
  const daemon = await startDaemon(t, {
    'GET /v1/profiles': { body: PROFILES },
    'GET /v1/installations': { status: 403, body: {} },
    'GET /v1/keys': {
      body: {
        keys: FINGERPRINTS.map((fingerprint, at) => ({
          fingerprint,
          added_at: '2026-07-01T00:00:00.000Z',
          signs: at === 0,
          state: 'works',
        })),
      },
    },
  })
  const folder = await mkdtemp(join(tmpdir(), 'ghconnect-cli-'))
  t.teardown(() => rm(folder, { recursive: true }))
  for (const shell of ['bash', 'zsh', 'fish']) {
    await writeFile(join(folder, shell), (await runCli(['completion', shell])).stdout)
  }
  const config =
    '[[profiles]]\nname = "actions"\nallow = { users = ["root"] }\n[[sinks]]\nname = "runner"\nprofile = "actions"\npath = "/run/t"\n'
  await writeFile(join(folder, 'config.toml'), config)
  const entry = join(import.meta.dirname, '../../src/ghconnect.ts')
  await writeFile(join(folder, 'ghconnect'), `#!/bin/sh\nexec ${process.execPath} ${entry} "$@"\n`, { mode: 0o755 })
  const env = {
    PATH: `${folder}:${process.env['PATH']}`,
    HOME: folder,
    GHCONNECT_CONFIG: join(folder, 'config.toml'),
    GHCONNECT_SOCKET: daemon.folder,
  }
  const ask = async (command: string, ...args: readonly string[]): Promise<string> =>
    (await run(command, args, { env, cwd: folder })).stdout
  return { ask, close: () => daemon.close() }
}

/** Answers of each shell's own completion; descriptions behind a tab where the shell shows them. */
const SHELL_LINES: readonly [line: string[], values: string[], described: string[]][] = [
  [
    ['token', '--profile', ''],
    ['actions', 'mirror'],
    ['actions\tcontents: write on web', 'mirror\tmetadata: read on all repositories'],
  ],
  [['token', '--profile', 'mi'], ['mirror'], ['mirror\tmetadata: read on all repositories']],
  [['explain', '--profile', 'ac'], ['actions'], ['actions\tcontents: write on web']],
  [
    ['token', '--permission', 'con'],
    ['contents=read', 'contents=write'],
    ['contents=read\tprofile actions', 'contents=write\tprofile actions'],
  ],
  [['sink', ''], ['runner'], ['runner\t/run/t, profile actions']],
  [
    ['keys', 'retire', '--fingerprint', ''],
    FINGERPRINTS,
    [`${FINGERPRINTS[0]}\tsigns, added 2026-07-01`, `${FINGERPRINTS[1]}\tthe fallback, added 2026-07-01`],
  ],
]

test('bash, zsh and fish complete profiles, permissions, sinks and keys, and say nothing where no daemon answers', async t => {
  const { ask, close } = await shellsWith(t)
  const bash = (...words: string[]): Promise<string> =>
    ask(
      'bash',
      '-c',
      '. ./bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ghconnect; printf "%s\\n" "${COMPREPLY[@]}"',
      'bash',
      'ghconnect',
      ...words,
    )
  const fish = (...words: string[]): Promise<string> =>
    ask('fish', '--no-config', '-c', 'source fish; complete -C "$argv"', ['ghconnect', ...words].join(' '))
  // What zsh itself would show is what `_describe` is given.
  const zsh = (...words: string[]): Promise<string> =>
    ask(
      'zsh',
      '-fc',
      'compdef() {}; compset() {}; _describe() { print -rl -- "${(P@)4}" }; source ./zsh; words=("$@"); CURRENT=$#; PREFIX="${@[-1]}"; _ghconnect || :',
      'zsh',
      'ghconnect',
      ...words,
    )
  const linesOf = (text: string): string[] => text.split('\n').filter(Boolean)
  for (const [line, values, described] of SHELL_LINES) {
    t.deepEqual(linesOf(await bash(...line)), values, line.join(' '))
    t.deepEqual(linesOf(await fish(...line)).toSorted(), described.toSorted(), line.join(' '))
    const shown = linesOf(await zsh(...line)).map(text => text.replace(/(?<!\\):/, '\t').replaceAll('\\:', ':'))
    for (const one of described) t.true(shown.includes(one), `${one} of ${shown.join()}`)
  }
  // As bash splits it.
  t.deepEqual(linesOf(await bash('token', '--permission', 'contents', '=', 'w')), ['write'])
  t.deepEqual(linesOf(await bash('keys', 'retire', '--fingerprint', 'SHA256', ':', 'b')), [FINGERPRINTS[1]?.slice(7)])
  t.deepEqual(linesOf(await bash('token', '--profile', '=', 'mi')), ['mirror'])
  await close()
  for (const shell of [bash, fish, zsh]) t.is((await shell('token', '--profile', '')).trim(), '')
  t.regex(await fish('stat'), /^status\tshow the state/)
  t.regex(await zsh('keys', ''), /^retire:drop the fallback key/m)
})

test('the scripts of zsh and fish name each command and option', async t => {
  const fish = (await runCli(['completion', 'fish'])).stdout
  const zsh = (await runCli(['completion', 'zsh'])).stdout
  t.true(zsh.startsWith('#compdef ghconnect\n'))
  for (const { name, options } of COMMANDS) {
    for (const word of name.split(' ')) t.true(fish.includes(` -a ${word}`), word)
    t.true(zsh.includes(`"${name}")`), name)
    for (const flags of Object.keys(options ?? {}))
      t.true(fish.includes(` -l ${flags.split(' ')[0]?.slice(2)} `), flags)
  }
})
