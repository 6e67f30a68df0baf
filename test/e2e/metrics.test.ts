// What Prometheus gets from the real daemon: checked by its own tool, each name in the table, each figure what happened.

import { spawnSync } from 'node:child_process'
import test from 'ava'
import { METRICS } from '../../src/core/api/metrics.ts'
import { type Appliance, createAppliance } from '../support/appliance.ts'

type Sample = { readonly name: string; readonly labels: string; readonly value: number }

const samplesOf = (text: string): Sample[] =>
  text
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => {
      const [, name = '', labels = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      return { name, labels, value: Number(value) }
    })

/** A histogram's series have names of their own. */
const metricOf = (name: string): string =>
  Object.hasOwn(METRICS, name) ? name : name.replace(/_(?:bucket|sum|count)$/, '')

const read = async (appliance: Appliance) => {
  const { text, headers } = await appliance.call('GET', '/metrics')
  const samples = samplesOf(text)
  const of = (name: string, labels = ''): number | undefined =>
    samples.find(sample => sample.name === name && sample.labels.includes(labels))?.value
  return { text, type: headers['content-type'], samples, of }
}

/** What `promtool check metrics` says, and its exit code. */
const check = (text: string) => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  return { status, said: `${stdout}${stderr}`.trim() }
}

test('promtool has nothing to say, every name is in the table, and the figures are what happened', async t => {
  const appliance = await createAppliance()
  t.teardown(() => appliance.close())
  await appliance.start()
  const fresh = await read(appliance)
  t.deepEqual(check(fresh.text), { status: 0, said: '' })
  t.is(fresh.of('ghconnect_state', 'state="disconnected"'), 1)
  t.is(fresh.of('ghconnect_ready'), 0)
  t.is(fresh.of('ghconnect_token_oldest_expiry_timestamp_seconds'), undefined)
  t.is(fresh.of('ghconnect_last_export_timestamp_seconds'), 0)

  await appliance.enable()
  const asked = { repositories: ['web'], permissions: { contents: 'read' } }
  for (let times = 0; times < 3; times++) t.is((await appliance.ask('POST', '/v1/tokens', asked)).status, 200)
  t.is((await appliance.ask('POST', '/v1/tokens', { ...asked, permissions: { contents: 'write' } })).status, 403)
  t.is((await appliance.call('POST', '/v1/refresh')).status, 200)
  t.is((await appliance.call('POST', '/v1/snapshots')).status, 200)
  await appliance.control('POST', 'faults', { kind: 'outage', count: 1 })
  await appliance.call('POST', '/v1/tokens', { repositories: ['api'] })

  const { text, type, samples, of } = await read(appliance)
  t.deepEqual(check(text), { status: 0, said: '' })
  t.is(type, 'text/plain; version=0.0.4; charset=utf-8')
  const names = new Set(samples.map(({ name }) => metricOf(name)))
  t.deepEqual([...names.difference(new Set(Object.keys(METRICS)))], [])
  t.deepEqual([...new Set(Object.keys(METRICS)).difference(names)], [], 'each of the table is exported')

  const nowS = Date.now() / 1000
  const near = (name: string, expected: number, within: number): void => {
    const value = of(name) ?? Number.NaN
    t.true(Math.abs(value - expected) <= within, `${name} is ${value}, not about ${expected}`)
  }
  t.is(of('ghconnect_state', 'state="connected"'), 1)
  t.is(of('ghconnect_ready'), 1)
  t.is(of('ghconnect_role', 'role="single"'), 1)
  t.is(of('ghconnect_requests_total', 'method="POST",path="/v1/tokens"'), 3)
  t.is(of('ghconnect_request_duration_seconds_count', 'method="POST",path="/v1/tokens"'), 3)
  t.is(of('ghconnect_refusals_total', 'code="not-permitted",class="not-permitted"'), 1)
  t.is(of('ghconnect_mints_total', 'cause="demand"'), 2)
  t.is(of('ghconnect_mints_total', 'cause="forced"'), 2)
  t.is(of('ghconnect_mint_failures_total', 'code="github-outage"'), 1)
  t.is(of('ghconnect_mints_in_flight'), 0)
  t.is(of('ghconnect_mints_waiting'), 0)
  near('ghconnect_last_export_timestamp_seconds', nowS, 30)
  t.is(of('ghconnect_warning', 'code="no-recovery-key"'), 1)
  const mints = of(
    'ghconnect_github_call_duration_seconds_count',
    'route="POST /app/installations/{installation_id}/access_tokens"',
  )
  t.true((mints ?? 0) >= 5)
  near('ghconnect_token_oldest_expiry_timestamp_seconds', nowS + 3600, 30)
  near('ghconnect_token_in_use_expiry_timestamp_seconds', nowS + 3600, 30)
  near('ghconnect_token_oldest_minted_timestamp_seconds', nowS, 30)
  near('ghconnect_token_newest_minted_timestamp_seconds', nowS, 30)
  near('ghconnect_next_refresh_timestamp_seconds', nowS + 1200, 30)
  near('ghconnect_github_last_answer_timestamp_seconds', nowS, 30)
  near('ghconnect_key_added_timestamp_seconds', nowS, 30)
  near('process_start_time_seconds', nowS, 60)
  t.true((of('ghconnect_store_bytes', 'file="db"') ?? 0) > 4096)
  t.true((of('ghconnect_audit_bytes', 'file="db"') ?? 0) > 4096)
  t.true((of('ghconnect_github_quota_remaining', 'account="octo-org"') ?? 0) > 4900)
})
