// A machine for tests: a really booted systemd on this machine's own root, in memory, with commands run inside it.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { resolve } from 'node:path'

const BOOT = resolve(import.meta.dirname, '../../scripts/boot-systemd')

/** Where the repository is seen inside. */
export const SOURCES = '/srv/src'

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

export type Machine = {
  /** A script of bash, as root. Rejects where it ends with another code than 0. */
  run(script: string): Promise<string>
  /** The same, whatever it ends with. */
  attempt(script: string): Promise<Ran>
  /** As an ordinary user. */
  attemptAs(user: string, script: string): Promise<Ran>
  /** A program that goes on; its standard input and output are the test's. */
  start(script: string): ChildProcess
  reboot(): Promise<void>
  stop(): Promise<void>
}

/** `root`: the tree that it boots in place of this machine's own; `network`: a network namespace in place of an empty one. */
export type BootOptions = { readonly root?: string; readonly network?: string }

/** Only root can boot one: the caller asks before. */
export const bootMachine = async (name: string, options: BootOptions = {}): Promise<Machine> => {
  const words = Object.entries(options).flatMap(([option, value]) => [`--${option}`, value])
  const boot = spawn(BOOT, [name, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  boot.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const ended = new Promise<void>(resolveEnd => boot.once('close', () => resolveEnd()))
  const lines = createInterface({ input: boot.stdout })[Symbol.asyncIterator]()
  const nextInit = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`no machine booted: ${errors}`)
    return value
  }
  let init = await nextInit()
  const inside = (command: readonly string[]): string[] => [
    '-t',
    init,
    '-m',
    '-u',
    '-i',
    '-n',
    '-p',
    '-C',
    '--',
    // Clocks and modules have no namespace: those of this machine are out of reach, as they are for the machine's own services.
    'setpriv',
    '--bounding-set=-sys_time,-sys_module',
    'env',
    '-i',
    PATH,
    'LC_ALL=C.UTF-8',
    ...command,
  ]

  const ran = (command: readonly string[]): Promise<Ran> =>
    new Promise(done => {
      execFile('nsenter', inside(command), { maxBuffer: 64 * 2 ** 20 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255
        done({ code, stdout, stderr })
      })
    })
  const attempt = (script: string): Promise<Ran> => ran(['bash', '--norc', '-euo', 'pipefail', '-c', script])

  return {
    attempt,
    attemptAs: (user, script) => ran(['runuser', '-u', user, '--', 'bash', '--norc', '-c', script]),
    async run(script) {
      const { code, stdout, stderr } = await attempt(script)
      if (code !== 0) throw new Error(`${script}\nended with ${code}\n${stdout}${stderr}`)
      return stdout.trim()
    },
    start: script => spawn('nsenter', inside(['bash', '--norc', '-c', script]), { stdio: ['pipe', 'pipe', 'inherit'] }),
    async reboot() {
      const next = nextInit()
      await attempt('systemctl reboot')
      init = await next
    },
    async stop() {
      boot.kill('SIGTERM')
      await ended
    },
  }
}

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
