// What tests of other backup tools need: a shell in which `ghconnect` is the one of a given appliance, or one that fails.

import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Appliance } from '../appliance.ts'
import type { Outcome } from './site.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
export const EXAMPLES = join(ROOT, 'docs/examples/backup')
export const DOCUMENT = join(ROOT, 'docs/backup.md')

export type Shell = (script: string) => Promise<Outcome>

/** `ghconnect` stands in a folder at the head of PATH; `failing` is the code that it ends with, after half a bundle. */
export const shellOf = (
  appliance: Appliance,
  options: { env?: Record<string, string>; failing?: number } = {},
): Shell => {
  const bin = join(appliance.folder, options.failing === undefined ? 'bin' : `failing-${options.failing}`)
  mkdirSync(bin, { recursive: true })
  const program = join(bin, 'ghconnect')
  const half = `head -c 700 /dev/zero; echo 'Fatal: The store is locked' >&2; exit ${options.failing}`
  const real = `exec ${join(ROOT, 'scripts/ghconnect')} "$@"`
  writeFileSync(program, `#!/bin/sh\n${options.failing === undefined ? real : half}\n`)
  chmodSync(program, 0o755)
  const env = {
    PATH: `${bin}:${join(ROOT, 'scripts/backup-utils')}:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: appliance.folder,
    LANG: 'C.UTF-8',
    GHCONNECT_CONFIG: appliance.configFile,
    ...options.env,
  }
  return script => {
    const { promise, resolve: end } = Promise.withResolvers<Outcome>()
    execFile('/bin/bash', ['-ec', script], { env, cwd: appliance.folder }, (error, stdout, stderr) => {
      end({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr })
    })
    return promise
  }
}

/** An example, its places moved into the test's own folder. */
export const placeExample = (name: string, moves: Readonly<Record<string, string>>, to: string): void => {
  let text = readFileSync(join(EXAMPLES, name), 'utf8')
  for (const [from, into] of Object.entries(moves)) {
    if (!text.includes(from)) throw new Error(`${name} does not say ${from}`)
    text = text.replaceAll(from, into)
  }
  writeFileSync(to, text, { mode: 0o600 })
}

/** The lines of the document's block that is marked so, as they are to be typed. */
export const commandsOf = (mark: string, moves: Readonly<Record<string, string>> = {}): string => {
  const [, block] =
    new RegExp(`<!-- run: ${mark} -->\n+\`\`\`sh\n([^]*?)\`\`\``).exec(readFileSync(DOCUMENT, 'utf8')) ?? []
  if (block === undefined) throw new Error(`docs/backup.md has no block ${mark}`)
  let text = block
  for (const [from, into] of Object.entries(moves)) {
    if (!text.includes(from)) throw new Error(`block ${mark} does not say ${from}`)
    text = text.replaceAll(from, into)
  }
  return text
}
