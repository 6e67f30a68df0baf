// A site with a backup host and appliances: the programs beside this file, run as an administrator would, on folders of the test's own.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Appliance } from '../appliance.ts'

const PROGRAMS = import.meta.dirname
const SCRIPTS = resolve(PROGRAMS, '../../../scripts')
export const HOOKS = join(SCRIPTS, 'backup-utils')
const ON_APPLIANCE = ['ghe-export-github-connect', 'ghe-import-github-connect', 'ghe-reset-gh-connect']

export type Outcome = { readonly code: number; readonly stdout: string; readonly stderr: string }
type Env = Readonly<Record<string, string>>

export type Host = {
  readonly root: string
  /** Takes a variable into the environment of each command that is run there. */
  set(name: string, value: string): void
  /** What was run there, one command a line. */
  commands(): string[]
  /** As `ghe-ssh HOST -- COMMAND` does. */
  run(command: string, input?: Uint8Array): Promise<Outcome>
}

export type Site = {
  readonly data: string
  addHost(name: string, appliance: Appliance, options?: { configured?: boolean }): Host
  backup(host: string, env?: Env): Promise<Outcome>
  /** `args` of ghe-restore before the host. */
  restore(host: string, args?: readonly string[], env?: Env): Promise<Outcome>
  /** A program of the backup host alone. */
  run(program: string, args: readonly string[], env?: Env): Promise<Outcome>
  close(): void
}

export const createSite = (): Site => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-site-'))
  const hosts = join(folder, 'hosts')
  const data = join(folder, 'data')
  mkdirSync(data, { mode: 0o700 })
  mkdirSync(hosts)
  const config = join(folder, 'backup.config')
  // The lines that customers are told to add, as they stand.
  writeFileSync(config, `GHE_DATA_DIR=${data}\n${readFileSync(join(HOOKS, 'backup.config.example'), 'utf8')}`)
  const base = { GHE_BACKUP_CONFIG: config, GHE_TEST_HOSTS: hosts, PATH: `${PROGRAMS}:${HOOKS}:/usr/bin:/bin` }
  const run: Site['run'] = (program, args, env = {}) => execute(program, args, { env: { ...base, ...env } })

  return {
    data,
    addHost(name, appliance, { configured = true } = {}) {
      const root = join(hosts, name)
      for (const path of ['bin', 'etc/github', 'data/user/common', 'usr/local/share/enterprise']) {
        mkdirSync(join(root, path), { recursive: true })
      }
      for (const hook of ON_APPLIANCE) symlinkSync(join(HOOKS, hook), join(root, 'bin', hook))
      for (const command of ['ghe-test-status', 'ghe-config-apply']) {
        symlinkSync(join(PROGRAMS, 'appliance', command), join(root, 'bin', command))
      }
      symlinkSync(join(SCRIPTS, 'ghconnect'), join(root, 'bin/ghconnect'))
      symlinkSync(join(HOOKS, 'ghe-reset-gh-connect'), join(root, 'usr/local/share/enterprise/ghe-reset-gh-connect'))
      writeFileSync(join(root, 'data/settings.json'), JSON.stringify({ name }))
      if (configured) writeFileSync(join(root, 'etc/github/configured'), '')
      const variables = new Map([
        ['PATH', `${join(root, 'bin')}:/usr/bin:/bin`],
        ['GHCONNECT_CONFIG', appliance.configFile],
        ['GHCONNECT_KEEP_MARKER', join(root, 'keep-after-restore')],
        ['GHE_REMOTE_DATA_USER_DIR', join(root, 'data/user')],
      ])
      const write = (): void =>
        writeFileSync(join(root, 'environment'), [...variables].map(([key, value]) => `${key}=${value}\n`).join(''))
      write()
      return {
        root,
        set(key, value) {
          variables.set(key, value)
          write()
        },
        commands() {
          const path = join(root, 'commands')
          return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []
        },
        run: (command, input) =>
          execute('ghe-ssh', [name, '--', command], { env: base, ...(input !== undefined && { input }) }),
      }
    },
    backup: (host, env) => run('ghe-backup', [], { GHE_HOSTNAME: host, ...env }),
    restore: (host, args = [], env) => run('ghe-restore', [...args, host], env),
    run,
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Runs a program to its end; standard input is empty where nothing is given. */
const execute = (
  program: string,
  args: readonly string[],
  { env, input }: { env: Env; input?: Uint8Array },
): Promise<Outcome> => {
  const { promise, resolve: end } = Promise.withResolvers<Outcome>()
  // Its own PATH finds the program.
  const child = execFile('/usr/bin/env', [program, ...args], { env, encoding: 'buffer' }, (error, stdout, stderr) => {
    const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
    end({ code, stdout: stdout.toString('latin1'), stderr: stderr.toString() })
  })
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  return promise
}
