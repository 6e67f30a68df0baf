// The start of the daemon for the benchmark, as its unit makes it: the flags of ExecStart, the allocator's settings, and the page's socket open already.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'

/** A checkout with its `dist/`. */
export type Build = { readonly daemon: string; readonly unit: string; readonly gitHelper: string }

export const buildAt = (folder: string): Build => ({
  daemon: resolve(folder, 'dist/ghconnectd.cjs'),
  unit: join(resolve(folder), 'systemd/ghconnectd.service'),
  gitHelper: join(resolve(folder), 'scripts/git-credential-ghconnect'),
})

/** The same command with the flags that the unit gives to the runtime, and its settings of the allocator. */
export const asInUnit = (
  [node = '', ...args]: readonly string[],
  build: Build = buildAt(join(import.meta.dirname, '..')),
): readonly string[] => {
  const unit = readFileSync(build.unit, 'utf8')
  const [, flags] = /^ExecStart=\S+\/node (.*) \S+\.cjs$/m.exec(unit) ?? []
  const allocator = unit.match(/(?<=^Environment=)MALLOC_\S+$/gm)
  if (flags === undefined || !allocator) throw new Error(`${build.unit} does not start the runtime as it used to`)
  return ['env', ...allocator, node, ...flags.split(' '), ...args]
}

export type PassedSocket = {
  /** For the child's file 3. */
  readonly fd: number
  readonly env: NodeJS.ProcessEnv
  /** Stands before the command: only a process itself knows its LISTEN_PID. */
  readonly wrap: readonly string[]
  /** Once the child has it. */
  close(): void
}

/** What ghconnectd-web.socket opens; the unix sockets are left to the daemon, since a file that is theirs would go with this process. */
export const openWebSocket = async (): Promise<PassedSocket> => {
  const server = createServer()
  const { promise, resolve: listening } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening)
  await promise
  const handle: unknown = Reflect.get(server, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  if (typeof fd !== 'number') throw new Error('the socket has no file')
  return {
    fd,
    env: { LISTEN_FDS: '1', LISTEN_FDNAMES: 'web' },
    wrap: ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh'],
    close: () => void server.close(),
  }
}
