// An appliance whose GitHub speaks TLS under a private CA, to be reached by way of a web proxy.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { parseWith, Status } from '../../src/protocol/wire.ts'
import { type Appliance, type ApplianceOptions, createAppliance, PROFILE } from './appliance.ts'
import { createAuthority } from './certificates.ts'
import type { Answer } from './unix-http.ts'

const folder = mkdtempSync(join(tmpdir(), 'proxied-'))
export const authority = createAuthority('Test GitHub CA')
export const certificate = authority.issue('127.0.0.1', 'github.test')
/** The proxy's password, where the configuration names it. */
export const passwordFile = join(folder, 'password')

/** The owner's browser, which is in this process, trusts the private CA as the owner's machine would. */
setDefaultCACertificates([...getCACertificates('default'), authority.ca])

export const removeAuthority = (): void => {
  authority.remove()
  rmSync(folder, { recursive: true, force: true })
}

export const writePassword = (password: string): void => writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 })

/** The configuration with these keys of [proxy], beside the private CA. */
export const withProxy = (keys: Readonly<Record<string, string | readonly string[]>>, more = ''): string => {
  const lines = Object.entries({ ca_file: authority.caFile, ...keys })
  return `${PROFILE}${more}[proxy]\n${lines.map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join('')}`
}

const NAMES = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY', 'NO_PROXY']

/** For the environment of the daemon: what is not given is not set, whatever this machine has. */
export const proxyEnvironment = (given: Readonly<Record<string, string>> = {}): Record<string, string> =>
  Object.fromEntries(NAMES.flatMap(name => [name, name.toLowerCase()].map(each => [each, given[name] ?? ''])))

/** Running, not yet enabled. */
export const startProxied = async (options: ApplianceOptions & { toml: string }): Promise<Appliance> => {
  const appliance = await createAppliance({ env: proxyEnvironment(), sandbox: { tls: certificate }, ...options })
  try {
    await appliance.start()
    return appliance
  } catch (error) {
    await appliance.close()
    throw error
  }
}

/** SIGHUP after a change of configuration or files; resolves when they hold. */
export const reload = async (appliance: Appliance, toml?: string): Promise<void> => {
  const done = 'the configuration was read again'
  const times = appliance.log().split(done).length
  if (toml !== undefined) appliance.configure(toml)
  appliance.signal('SIGHUP')
  await appliance.logged({ test: log => log.split(done).length > times })
}

export const statusOf = async (appliance: Appliance): Promise<Status> =>
  parseWith(Status, (await appliance.call('GET', '/v1/status')).body)

/** Waits for what the daemon does by itself. */
export const untilStatus = async (appliance: Appliance, holds: (status: Status) => boolean): Promise<Status> => {
  for (let tries = 0; tries < 500; tries++) {
    const status = await statusOf(appliance)
    if (holds(status)) return status
    await new Promise(pause => setTimeout(pause, 80))
  }
  throw new Error(`the status stays ${JSON.stringify(await statusOf(appliance))}\n${appliance.log()}`)
}

export const askFor = (appliance: Appliance, ...repositories: string[]): Promise<Answer> =>
  appliance.ask('POST', '/v1/tokens', { repositories, permissions: { contents: 'read' } })

/** The status of GitHub's answer to this token. */
export const tryToken = async (apiUrl: string, token: unknown, repository: string): Promise<number> => {
  const url = `${apiUrl}/repos/octo-org/${repository}/contents/README.md`
  const answer = await fetch(url, { headers: { authorization: `Bearer ${String(token)}` } })
  await answer.text()
  return answer.status
}
