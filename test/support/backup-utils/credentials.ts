// What a bundle holds, read with stock tools; and machines that such a bundle is restored to.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Appliance, createAppliance, PROFILE } from '../appliance.ts'
import { ghconnect } from '../probes.ts'

export type Credentials = { readonly pems: readonly string[]; readonly app: unknown; readonly installations: unknown }
export type RecoveryKey = { readonly identityFile: string; readonly recipient: string }

/** Made by Debian's `age-keygen`, in the appliance's folder. */
export const createRecoveryKey = (folder: string, name = 'recovery.txt'): RecoveryKey => {
  const identityFile = join(folder, name)
  execFileSync('age-keygen', ['-o', identityFile], { stdio: 'ignore' })
  const recipient = execFileSync('age-keygen', ['-y', identityFile], { encoding: 'utf8' }).trim()
  return { identityFile, recipient }
}

/** With `tar` and `age`; no code of ours. */
export const readBundle = (file: string, identityFile?: string): { state: string; credentials: Credentials } => {
  const folder = mkdtempSync(`${file}.`)
  try {
    const open = identityFile === undefined ? 'cat payload.tar' : `age -d -i '${identityFile}' payload.age`
    execFileSync('sh', ['-ec', `tar xf '${file}' && ${open} | tar x`], { cwd: folder, stdio: 'ignore' })
    const json = (name: string): Record<string, unknown> => JSON.parse(readFileSync(join(folder, name), 'utf8'))
    const pems = readdirSync(folder).filter(name => name.endsWith('.pem'))
    const { connection, installations } = json('connection.json')
    return {
      state: String(json('header.json')['state']),
      credentials: {
        pems: pems.map(name => readFileSync(join(folder, name), 'utf8')),
        app: typeof connection === 'object' && connection !== null && 'app' in connection ? connection.app : undefined,
        installations,
      },
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What the appliance holds now, by its own export. */
export const credentialsOf = async (
  appliance: Appliance,
  identityFile?: string,
): Promise<ReturnType<typeof readBundle>> => {
  const file = join(appliance.folder, 'now.tar')
  const { code, output } = await ghconnect('snapshot', 'export', '--output', file, '--config', appliance.configFile)
  if (code !== 0) throw new Error(`export ended with ${code}: ${output}`)
  return readBundle(file, identityFile)
}

/** Its heartbeat asks GitHub nothing in between, so that a test can tell who called. */
const QUIET = '[refresh]\nschedule = "0 0 1 1 *"\n'

/** One that is connected. Closed again where it does not come so far. */
export const createConnected = async (toml = PROFILE): Promise<Appliance> => {
  const appliance = await createAppliance({ toml: toml + QUIET })
  try {
    await appliance.start()
    await appliance.enable()
    return appliance
  } catch (error) {
    await appliance.close()
    throw error
  }
}

/** Read by daemon and command line where the environment names it so. */
const MACHINE_ID = 'GHCONNECT_MACHINE_ID_FILE'

/** A new root with a store key of its own, facing the same GitHub. `elsewhere`: another machine, by hostname and by machine-id. */
export const createSuccessor = async (
  original: Appliance,
  { elsewhere = false, toml = PROFILE }: { elsewhere?: boolean; toml?: string } = {},
): Promise<Appliance> => {
  const machineId = join(original.folder, 'elsewhere')
  writeFileSync(machineId, `${'5e'.repeat(16)}\n`)
  const env = { ...(elsewhere && { [MACHINE_ID]: machineId }) }
  const appliance = await createAppliance({ github: original.sandbox, toml, env })
  if (elsewhere) {
    const config = readFileSync(appliance.configFile, 'utf8').replace('"appliance.test"', '"elsewhere.test"')
    writeFileSync(appliance.configFile, config)
  }
  return appliance
}
