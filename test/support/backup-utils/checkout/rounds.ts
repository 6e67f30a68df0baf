// The restore matrix with a checkout of the real backup utilities. usage: node rounds.ts CHECKOUT; run by scripts/backup-utils/test-with-checkout.

import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { type Appliance, createAppliance } from '../../appliance.ts'
import { createSuccessor, credentialsOf, readBundle } from '../credentials.ts'
import { ROWS, type Row } from '../matrix.ts'
import { HOOKS } from '../site.ts'

const [, , checkout = ''] = process.argv
const folder = mkdtempSync(join(tmpdir(), 'ghconnect-checkout-'))
const copy = join(folder, 'backup-utils')

type Round = { target: Appliance; original: Appliance; row: Row; env?: Record<string, string> }

const run = ({ original, target, row, env = {} }: Round): { code: number | null; output: string; result: string } => {
  const result = mkdtempSync(join(folder, 'round-'))
  const { status, stdout, stderr } = spawnSync(join(import.meta.dirname, 'round'), row.args ?? [], {
    encoding: 'utf8',
    env: {
      PATH: '/usr/bin:/bin',
      HOME: folder,
      LANG: 'C.UTF-8',
      CHECKOUT: copy,
      HOOKS,
      ORIGINAL: original.configFile,
      TARGET: target.configFile,
      RESULT: result,
      CONFIGURED: row.configured === false ? '' : 'yes',
      ...row.env,
      ...env,
    },
  })
  return { code: status, output: stdout + stderr, result }
}

/** What is wrong, in words; nothing where the row ends as it should. */
const complaint = async (original: Appliance, row: Row): Promise<string | undefined> => {
  const target = await createSuccessor(original, row)
  try {
    await target.start()
    const { code, output, result } = run({ original, target, row })
    if (code !== 0) return `ended with ${code}\n${output}`
    const status = readFileSync(join(result, 'ghe-restore-status'), 'utf8').trim()
    if (status !== 'complete') return `the restore is ${status}`
    const taken = readBundle(join(result, 'github-connect.tar')).credentials
    if (taken.pems.length === 0) return 'there is no key in the snapshot'
    await target.until(row.state)
    const { credentials } = await credentialsOf(target)
    const wanted = row.state === 'disconnected' ? [] : taken.pems
    return isDeepStrictEqual(credentials.pems, wanted) ? undefined : 'other keys than in the snapshot'
  } finally {
    await target.close()
  }
}

const original = await createAppliance()
let failed = 0
const tell = (name: string, wrong: string | undefined): void => {
  console.log(`${wrong === undefined ? 'ok' : 'not ok'}  ${name}${wrong === undefined ? '' : `: ${wrong}`}`)
  if (wrong !== undefined) failed += 1
}
try {
  cpSync(checkout, copy, { recursive: true, verbatimSymlinks: true })
  await original.start()
  await original.enable()
  const failing = run({ original, target: original, row: { name: '', state: '' }, env: { GHCONNECT: '/bin/false' } })
  const named = /Snapshot incomplete.*settings/.test(failing.output)
  const wrong = failing.code === 0 || !named || existsSync(join(failing.result, 'github-connect.tar'))
  tell('an export that fails leaves the snapshot incomplete', wrong ? failing.output : undefined)
  for (const row of ROWS) tell(row.name, await complaint(original, row))
} finally {
  await original.close()
  rmSync(folder, { recursive: true, force: true })
}
process.exitCode = failed === 0 ? 0 : 1
