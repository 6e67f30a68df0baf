// Looks at an appliance as an administrator would: what the doctor names, what the status says, whether all is well again.

import type { ExecutionContext } from 'ava'
import type { Code } from '../../src/protocol/errors.ts'
import { parseWith, Status } from '../../src/protocol/wire.ts'
import { CheckReport, type CheckRow } from '../../src/protocol/wire-check.ts'
import type { Appliance } from './appliance.ts'
import { ageKey } from './age-key.ts'

export const checkOf = async (appliance: Appliance): Promise<CheckReport> =>
  parseWith(CheckReport, (await appliance.call('GET', '/v1/check')).body)

const statusOf = async (appliance: Appliance): Promise<Status> =>
  parseWith(Status, (await appliance.call('GET', '/v1/status')).body)

/** For the configuration: with it, and after an export, a healthy appliance has nothing that the doctor would warn of. */
export const recoveryToml = async (): Promise<string> => `[snapshot]\nrecipients = ["${ageKey().recipient}"]\n`

export const exportSnapshot = async (t: ExecutionContext, appliance: Appliance): Promise<void> => {
  const { status } = await appliance.call('POST', '/v1/snapshots')
  t.is(status, 200)
}

export type Naming = {
  readonly layer: CheckRow['layer']
  readonly verdict: 'warning' | 'failed'
  readonly subject?: string | RegExp
  readonly code?: Code
  readonly says?: RegExp
}

const amiss = (rows: readonly CheckRow[]): CheckRow[] =>
  rows.filter(({ verdict }) => verdict === 'warning' || verdict === 'failed')

/** The doctor names that layer and no other. */
export const assertNames = (t: ExecutionContext, report: CheckReport, wanted: Naming): void => {
  const rows = amiss(report.rows)
  const told = JSON.stringify(rows, undefined, 1)
  t.true(rows.length > 0, 'it names nothing')
  t.deepEqual([...new Set(rows.map(({ layer }) => layer))], [wanted.layer], told)
  t.is(report.verdict, wanted.verdict, told)
  const [row] = rows.filter(({ verdict }) => verdict === wanted.verdict)
  if (wanted.code) t.is(row?.code, wanted.code, told)
  if (wanted.subject) t.regex(row?.subject ?? '', new RegExp(wanted.subject), told)
  if (wanted.says) t.regex(row?.evidence ?? '', wanted.says, told)
  t.truthy(row?.next, told)
  t.true(report.took_ms < 5_000, `${report.took_ms} ms`)
}

export const assertAllWell = async (t: ExecutionContext, appliance: Appliance, name: string): Promise<void> => {
  const report = await checkOf(appliance)
  t.deepEqual(
    amiss(report.rows),
    [],
    `${name}: ${JSON.stringify(report.rows, undefined, 1)}\n${appliance.log().slice(-3000)}`,
  )
  t.is(report.state, 'connected', name)
  const { state, last_failure: failure, warnings } = await statusOf(appliance)
  t.is(state, 'connected', name)
  t.is(failure, undefined, name)
  t.deepEqual(warnings, [], name)
}

/** What the status has to say: a state, what stood in the way at the last call, a warning; or nothing, as no call met it yet. */
export type Told = { readonly state?: string; readonly failure?: Code; readonly warning?: string }

export const assertTold = async (t: ExecutionContext, appliance: Appliance, told: Told): Promise<void> => {
  const status = await statusOf(appliance)
  const seen = JSON.stringify({ state: status.state, failure: status.last_failure, warnings: status.warnings })
  if (told.state !== undefined) t.is(status.state, told.state, seen)
  if (told.failure !== undefined) t.is(status.last_failure?.code, told.failure, seen)
  if (told.warning !== undefined)
    t.true(
      status.warnings.some(({ code }) => code === told.warning),
      seen,
    )
}

export const refresh = async (appliance: Appliance): Promise<unknown> =>
  (await appliance.call('POST', '/v1/refresh')).body
