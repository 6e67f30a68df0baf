// What helps somebody else to see what is wrong, in one tar.gz without a secret: gathered without the daemon, and although the configuration is wrong.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { arch, release, type } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Config, examineTexts } from '../service/config.ts'
import { configTextsWithoutSecrets } from '../service/config-texts.ts'
import { redact } from '../service/log.ts'
import { freeBytes } from '../service/sizes.ts'
import { VERSION } from '../service/process.ts'
import { pack } from './snapshot/archive.ts'

export type DebugOptions = {
  readonly configFile: string
  readonly env: NodeJS.ProcessEnv
  /** By the name of their file: what the daemon, or this command in its place, says. */
  readonly answers: Readonly<Record<string, unknown>>
  readonly readJournal?: () => string
}

/** What cannot be had says why in its file. Never throws. */
export const debugBundle = ({ configFile, env, answers, readJournal = journal }: DebugOptions): Uint8Array => {
  const surroundings = { hostname: 'localhost', findUser: () => 0, findGroup: () => 0 }
  const { config } = examineTexts(configFile, surroundings)
  const hide = hiderOf(config, env)
  const files: Record<string, () => unknown> = {
    'versions.json': versions,
    ...Object.fromEntries(Object.entries(answers).map(([name, value]) => [`${name}.json`, () => value])),
    'configuration.json': () => configTextsWithoutSecrets(configFile),
    'sizes.json': () => config && sizes(config),
    'journal.txt': readJournal,
  }
  const entries = Object.entries(files).map(([name, gather]) => {
    const found = attempt(gather) ?? { error: 'not known' }
    const text = typeof found === 'string' ? found : `${JSON.stringify(found, undefined, 2)}\n`
    return { name: `ghconnect-debug/${name}`, bytes: Buffer.from(hide(text)) }
  })
  return gzipSync(pack(entries))
}

const attempt = <T>(gather: () => T): T | { error: string } => {
  try {
    return gather()
  } catch (error) {
    return { error: error instanceof Error ? error.message : 'unknown' }
  }
}

const versions = () => ({
  ghconnect: VERSION,
  node: process.versions.node,
  openssl: process.versions.openssl,
  kernel: `${type()} ${release()} ${arch()}`,
  system: attempt(() => /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]),
  systemd: attempt(() => runTool('systemctl', ['--version']).split('\n')[0]),
})

/** Names, never contents. */
const sizes = ({ paths }: Config) => ({
  free_bytes: freeBytes(paths.state),
  state: attempt(() => listBelow(paths.state)),
  runtime: attempt(() => listBelow(paths.runtime)),
})

const MOST_FILES = 1_000

const listBelow = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .slice(0, MOST_FILES)
    .map(name =>
      attempt(() => {
        const { size, mode, uid, gid } = statSync(join(folder, name))
        return { name, size, mode: (mode & 0o7777).toString(8), uid, gid }
      }),
    )

const JOURNAL_LINES = '2000'

const journal = (): string =>
  runTool('journalctl', [
    '--quiet',
    '--no-pager',
    '--output=short-iso',
    `--lines=${JOURNAL_LINES}`,
    ...['ghconnectd.service', 'ghconnectd-credentials.service', 'ghconnectd-refused.service'].map(
      unit => `--unit=${unit}`,
    ),
  ])

const runTool = (command: string, args: readonly string[]): string =>
  execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
    maxBuffer: 2 ** 26,
    // Root does not look for programs where somebody else's environment says.
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
  })

/** None of it is ever logged or answered; should it be, it does not leave. */
const hiderOf = (config: Config | undefined, env: NodeJS.ProcessEnv): ((text: string) => string) => {
  const known = secretsOf(config, env)
  return text => {
    let hidden = redact(text)
    for (const secret of known) hidden = hidden.replaceAll(secret, '[secret]')
    for (const [pattern, put] of PATTERNS) hidden = hidden.replaceAll(pattern, put)
    return hidden
  }
}

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // A login in an address; its user is kept.
  [/(:\/\/[^\s/:@"]*):[^\s@"]+@/g, '$1:[secret]@'],
  [/((?:authorization|cookie|password|passwd|passphrase)"?\s*[:=]\s*"?)[^\s",][^",\n]*/gi, '$1[secret]'],
  // Links and sessions of the settings page, and the state of an enable.
  [/([/#=])(?:[0-9a-f]{32}|[\w-]{43})(?![\w-])/g, '$1[secret]'],
]

/** What the configuration names, as far as this process can read it, in each spelling that may be met. */
const secretsOf = (config: Config | undefined, env: NodeJS.ProcessEnv): string[] => {
  const { proxy, cluster, store } = config ?? {}
  const files = [proxy?.passwordFile, cluster?.password_file, cluster?.secret_file, store?.keyFile].flatMap(readIfAny)
  const addresses = [proxy?.url?.reveal(), ...PROXY_VARIABLES.map(name => env[name])]
  const logins = addresses.flatMap(address => /\/\/([^:/]*:[^]*)@/.exec(address ?? '')?.slice(1) ?? []).map(decode)
  const texts = [
    ...files.map(file => file.toString('utf8').trim()),
    ...logins.map(login => login.replace(/^[^:]*:/, '')),
  ]
  const spellings = [...texts, ...logins].flatMap(text => [
    text,
    encodeURIComponent(text.toWellFormed()),
    JSON.stringify(text).slice(1, -1),
    Buffer.from(text).toString('base64'),
  ])
  return [...spellings, ...files.flatMap(file => [file.toString('hex'), file.toString('base64')])]
    .filter(text => text.length >= SHORTEST)
    .toSorted((a, b) => b.length - a.length)
}

const readIfAny = (file: string | undefined): Buffer[] => {
  const found = file === undefined ? undefined : attempt(() => readFileSync(file))
  return Buffer.isBuffer(found) ? [found] : []
}

const decode = (text: string): string => {
  const decoded = attempt(() => decodeURIComponent(text))
  return typeof decoded === 'string' ? decoded : text
}

/** What is shorter stands in ordinary words. */
const SHORTEST = 4
const PROXY_VARIABLES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy']
