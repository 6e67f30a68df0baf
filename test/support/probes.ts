// What end-to-end tests ask again and again: of the shell, of GitHub's side, of an appliance that is connected.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Appliance, CLI, createAppliance, ENTRY } from './appliance.ts'
import { checkAnswers } from './openapi-answers.ts'

const run = promisify(execFile)
export const NOBODY = 65_534

/** Runs a line of shell, as another user where one is named; resolves to the exit code and what it wrote. */
export const shell = async (line: string, user?: number): Promise<{ code: number; stdout: string }> => {
  const change = user === undefined ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups']
  const [program, ...args] = [...change, 'sh', '-c', line]
  return run(program, args).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: unknown) => {
      if (!(error instanceof Error) || !('code' in error) || !('stdout' in error)) throw error
      return { code: Number(error.code), stdout: String(error.stdout) }
    },
  )
}

const node = (script: string, args: readonly string[]): Promise<{ code: number; output: string }> =>
  run(process.execPath, ['--disable-sigusr1', script, ...args], { timeout: 30_000 }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: unknown) => {
      if (!(error instanceof Error) || !('code' in error && 'stdout' in error && 'stderr' in error)) throw error
      return { code: Number(error.code), output: `${String(error.stdout)}${String(error.stderr)}` }
    },
  )

/** A daemon that is to end by itself: its exit code and all that it wrote. */
export const runDaemon = (configFile: string): Promise<{ code: number; output: string }> =>
  node(ENTRY, ['--config', configFile])

export const ghconnect = (...args: string[]): Promise<{ code: number; output: string }> => node(CLI, args)

/** What GitHub answers to a request for a file of a repository with this token. */
export const readWith = async ({ sandbox }: Appliance, token: string, repository: string): Promise<number> => {
  const url = `${sandbox.apiUrl}/repos/octo-org/${repository}/contents/README.md`
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  await answer.text()
  return answer.status
}

/** What GitHub was asked after that request. */
export const requestsSince = async ({ sandbox }: Appliance, sequence: number): Promise<{ path: string }[]> => {
  const answer = await fetch(`${sandbox.url}/_sandbox/log?since=${sequence}`)
  const entries: unknown = await answer.json()
  return Array.isArray(entries) ? entries : []
}

export const requestCount = async (appliance: Appliance): Promise<number> => {
  const { counts } = await appliance.control('GET', 'state')
  return typeof counts === 'object' && counts !== null && 'requests' in counts ? Number(counts.requests) : 0
}

/** A running appliance, its answers checked against its document. */
export const running = async (toml?: string): Promise<Appliance & { wrong: string[] }> => {
  const appliance = await createAppliance(toml === undefined ? {} : { toml })
  return checkAnswers(await orClosed(appliance, appliance.start()))
}

/** One that is connected. */
export const enabled = async (toml?: string): Promise<Appliance & { wrong: string[] }> => {
  const appliance = await running(toml)
  return orClosed(appliance, appliance.enable())
}

/** What a test was never given it cannot close. */
const orClosed = async <T extends Appliance>(appliance: T, work: Promise<void>): Promise<T> => {
  try {
    await work
    return appliance
  } catch (error) {
    await appliance.close()
    throw error
  }
}
