// Bundles by the command line, and machines to restore them to.

import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Secret } from '../../src/protocol/secret.ts'
import { openBundle } from '../../src/core/snapshot/bundle.ts'
import { type Appliance, CLI, createAppliance, PROFILE } from './appliance.ts'

export type Ran = { readonly code: number | null; readonly stdout: Buffer; readonly stderr: string }

export type Running = {
  readonly input?: Uint8Array
  readonly env?: Readonly<Record<string, string>>
  /** Who runs it, if not this process's user. */
  readonly uid?: number
}

/** As backup programs run it: standard output is a pipe, standard input ends. */
export const run = async (args: readonly string[], { input, env, uid }: Running = {}): Promise<Ran> => {
  const command = [process.execPath, '--disable-sigusr1', CLI, ...args]
  const change = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
  const [program = '', ...words] = [...change, ...command]
  const child = spawn(program, words, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  // A command that reads no input may be gone before it came.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const { promise, resolve } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  const code = await promise
  return { code, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }
}

/** `run` for one appliance. */
export const on =
  (appliance: Appliance, env: Readonly<Record<string, string>> = {}) =>
  (line: string, running: Running = {}): Promise<Ran> =>
    run([...line.split(' '), '--config', appliance.configFile], { ...running, env: { ...env, ...running.env } })

export const exportFrom = async (appliance: Appliance): Promise<Buffer> => {
  const { code, stdout, stderr } = await on(appliance)('snapshot export')
  if (code !== 0) throw new Error(`export ended with ${code}: ${stderr}`)
  return stdout
}

/** A recovery key by the command: its identity file, and what was written to it. */
export const addRecoveryKey = async (appliance: Appliance): Promise<{ file: string; text: string }> => {
  const { code, stdout, stderr } = await on(appliance)('recovery-key create')
  if (code !== 0) throw new Error(`recovery-key create ended with ${code}: ${stderr}`)
  const file = join(appliance.folder, 'recovery.txt')
  writeFileSync(file, stdout, { mode: 0o600 })
  return { file, text: stdout.toString() }
}

/** What has to come back: the private keys in PEM and the tokens by their scope. */
export const credentialsIn = async (bundle: Uint8Array, identityFile?: string) => {
  const [identity] =
    identityFile === undefined ? [] : (readFileSync(identityFile, 'utf8').match(/^AGE-SECRET.*$/m) ?? [])
  const content = await openBundle(bundle, identity === undefined ? [] : [new Secret(identity)])
  return {
    kind: content.connection.kind,
    generation: content.generation,
    pems: content.keys.map(({ pem }) => pem.reveal()),
    tokens: Object.fromEntries(content.tokens.map(({ key, slot, token }) => [`${slot} ${key}`, token.reveal()])),
  }
}

/** One that is connected, and running. */
export const connected = async (): Promise<Appliance> => {
  const appliance = await createAppliance()
  await appliance.start()
  await appliance.enable()
  return appliance
}

export type Machine = Appliance & { readonly env: Readonly<Record<string, string>> }

/** A new root with a store key of its own, facing the same GitHub. Left out, hostname and machine-id are those of the original. */
export const createMachine = async (
  original: Appliance,
  { hostname, machineId, toml = PROFILE }: { hostname?: string; machineId?: string; toml?: string } = {},
): Promise<Machine> => {
  // Its path is known only once it is there.
  const env: Record<string, string> = {}
  const appliance = await createAppliance({ github: original.sandbox, toml, env })
  if (machineId !== undefined) {
    env['GHCONNECT_MACHINE_ID_FILE'] = join(appliance.folder, 'machine-id')
    writeFileSync(join(appliance.folder, 'machine-id'), `${machineId}\n`)
  }
  const rename = (): void => {
    if (hostname === undefined) return
    const text = readFileSync(appliance.configFile, 'utf8').replace('"appliance.test"', JSON.stringify(hostname))
    writeFileSync(appliance.configFile, text)
  }
  rename()
  return {
    ...appliance,
    env,
    configure(more) {
      appliance.configure(more)
      rename()
    },
  }
}

export const OTHER_MACHINE = { hostname: 'elsewhere.test', machineId: '5e'.repeat(16) } as const
