// README's section for a real server, typed on a pristine Debian: the machine, its terminal, and the far side of its network.

import { execFile } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { bootMachine, type Machine, SOURCES } from './booted.ts'
import { readDocument } from './document.ts'
import { createFarSide, type FarSide, PROXY_PASSWORD } from './far-side.ts'
import { buildPackage } from './installed.ts'
import { openTerminal, type Reaction, type Terminal, type Typed } from './terminal.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** In their order. */
export const STEPS = ['install', 'proxy', 'profile', 'enable', 'token'] as const
export type Step = (typeof STEPS)[number]

export type Walk = {
  readonly machine: Machine
  readonly terminal: Terminal
  readonly far: FarSide
  /** As after `install`: nothing is configured, nothing is connected, and GitHub never heard of this machine. */
  startOver(options?: {
    /** The state folder is a file system of this size. */
    readonly stateSize?: string
  }): Promise<void>
  /** Types the commands of a step, as README has them, and answers what they ask. Ends at the first that fails. */
  take(step: Step, ...reactions: readonly Reaction[]): Promise<Typed>
  /** Types the command that failed again, and those of its step behind it. */
  retake(): Promise<Typed>
}

/** The commands of a block: a line each, a here-document with the line that begins it. */
const commandsOf = (block: string): string[] =>
  block
    .trim()
    .replaceAll(/<<'END'\n[^]*?\nEND$/gm, lines => lines.replaceAll('\n', '\0'))
    .split('\n')
    .map(line => line.replaceAll('\0', '\n'))

/** `cleanup` ends all that it starts, also where it throws. */
export const startWalk = async (name: string, cleanup: AsyncDisposableStack): Promise<Walk> => {
  const [packagePath, tree] = await Promise.all([
    buildPackage(name),
    promisify(execFile)(join(ROOT, 'scripts/pristine-debian')).then(({ stdout }) => stdout.trim()),
  ])
  const far = await createFarSide(cleanup)
  const machine = await bootMachine(`${name}-${process.pid}`, { root: tree, network: far.network.inside.name })
  cleanup.defer(() => machine.stop())
  // As every machine has it before anything is installed: a resolver, and the authorities that are trusted.
  const authority = join(ROOT, '.state', 'packages', name, 'walk-root-ca.crt')
  copyFileSync(far.authority.caFile, authority)
  const seen = (path: string): string => join(SOURCES, relative(ROOT, path))
  await machine.run(`echo nameserver ${far.network.outside.address} >/etc/resolv.conf
    cp ${seen(authority)} /usr/local/share/ca-certificates/; update-ca-certificates >/dev/null 2>&1
    cp ${seen(packagePath)} /root/`)
  const terminal = await openTerminal(machine.start)
  cleanup.defer(() => terminal.close())
  const readme = readDocument('README.md')
  const answers: readonly Reaction[] = [
    [/Do you want to continue\? \[Y\/n\] $/, () => 'y'],
    [/Password of the proxy:/, () => PROXY_PASSWORD],
    [/Make one now and show it once\? \[Y\/n\] $/, () => 'y'],
    [/Type KEPT once you have it: $/, () => 'KEPT'],
    [/^ {2}(http:\S+)$/m, ([, url = '']) => far.asOwner(asOwner(url))],
  ]
  /** Of the step that is under way. */
  let left: string[] = []
  const typeLeft = async (reactions: readonly Reaction[]): Promise<Typed> => {
    let typed: Typed = { code: 0, output: '' }
    for (let [command] = left; command !== undefined; [command] = left) {
      typed = await terminal.type(command, ...reactions, ...answers)
      if (typed.code !== 0) break
      left.shift()
    }
    return typed
  }
  return {
    machine,
    terminal,
    far,
    async startOver({ stateSize } = {}) {
      await terminal.free()
      far.control('POST', '/reset')
      const mount = `mount -t tmpfs -o size=${stateSize},mode=700,uid=ghconnectd,gid=ghconnectd tmpfs /var/lib/ghconnectd`
      await machine.run(`systemctl stop 'ghconnectd*.socket' ghconnectd.service
        ! mountpoint -q /var/lib/ghconnectd || umount /var/lib/ghconnectd
        rm -rf /var/lib/ghconnectd/* /etc/ghconnectd
        ${stateSize === undefined ? '' : mount}
        dpkg --extract /root/ghconnectd_*.deb /tmp/package; mv /tmp/package/etc/ghconnectd /etc/; rm -rf /tmp/package
        systemctl reset-failed; systemctl start ghconnectd-credentials ghconnectd-{admin,web,loadcredential}.socket ghconnectd.socket ghconnectd`)
    },
    async take(step, ...reactions) {
      left = commandsOf(readme.block(step))
      return await typeLeft(reactions)
    },
    retake: () => typeLeft([]),
  }
}

const asOwner = (url: string): string => `
  import { actAsOwner } from '${join(ROOT, 'src/sandbox/owner.ts')}'
  await actAsOwner({ formUrl: '${url}', account: 'octo-org' })`
