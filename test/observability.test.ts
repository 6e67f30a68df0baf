// Dashboard and alert rules: every expression is one that Prometheus reads, over metrics that there are; every alert fires, and is quiet.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'ava'
import { z } from 'zod'
import { METRICS, STATES } from '../src/core/api/metrics.ts'
import { isCode } from '../src/protocol/errors.ts'
import { COUNTED_FAILURES } from '../src/core/tokens/minting.ts'

const ROOT = resolve(import.meta.dirname, '..')
const SOURCES = readdirSync(join(ROOT, 'src/core'), { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(name => `src/core/${name}`)
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const promtool = (...args: string[]): string => execFileSync('promtool', args, { cwd: ROOT, encoding: 'utf8' })

const Target = z.object({ refId: z.string(), expr: z.string() })
const Panel = z.object({
  id: z.int(),
  type: z.enum(['row', 'stat', 'timeseries', 'table']),
  title: z.string().min(3),
  gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
  targets: z.array(Target).default([]),
})
const Dashboard = z.object({
  title: z.string(),
  uid: z.string(),
  schemaVersion: z.int().min(30),
  templating: z.object({ list: z.array(z.object({ name: z.string(), query: z.unknown() })) }),
  panels: z.array(Panel),
})
const dashboard = Dashboard.parse(JSON.parse(read('docs/grafana-dashboard.json')))
const expressions = dashboard.panels.flatMap(panel => panel.targets.map(({ expr }) => expr))

/** A histogram's series have names of their own. */
const EXPORTED = new Set(
  Object.entries(METRICS).flatMap(([name, { type }]) =>
    type === 'histogram' ? ['_bucket', '_sum', '_count'].map(tail => name + tail) : [name],
  ),
)
const metricsIn = (text: string): string[] => text.match(/\b(?:ghconnect|process)_[a-z_]+/g) ?? []

/** What stands in for Grafana's variables. */
const filledIn = (expr: string): string =>
  expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'ghconnectd').replaceAll('$instance', '.*')

test('each expression of the dashboard is one that Prometheus reads, over metrics that are exported', t => {
  t.true(expressions.length > 20)
  const rules = expressions.map(
    (expr, at) => `      - record: panel_${at}\n        expr: ${JSON.stringify(filledIn(expr))}`,
  )
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-rules-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'rules.yml')
  writeFileSync(file, `groups:\n  - name: dashboard\n    rules:\n${rules.join('\n')}\n`)
  t.regex(promtool('check', 'rules', file), new RegExp(`SUCCESS: ${expressions.length} rules found`))
  for (const expr of expressions) {
    const names = metricsIn(expr)
    t.true(names.length > 0, expr)
    for (const name of names) t.true(EXPORTED.has(name), `${name} in ${expr}`)
    t.notRegex(filledIn(expr), /\$/, 'no variable is left')
    t.regex(expr, /\{job="\$job", instance=~"\$instance"/, 'each obeys the choice of job and instance')
  }
})

test('the panels have ids of their own, and none lies over another', t => {
  const { panels, templating } = dashboard
  t.is(new Set(panels.map(({ id }) => id)).size, panels.length)
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
    t.true(x + w <= 24)
    return Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`)
  })
  t.is(new Set(cells).size, cells.length)
  t.deepEqual(
    templating.list.map(({ name }) => name),
    ['datasource', 'job', 'instance'],
  )
  for (const panel of panels) t.is(panel.type === 'row', panel.targets.length === 0, panel.title)
})

const alerts = read('docs/alerts.yml')
const names = [...alerts.matchAll(/- alert: (\w+)$/gm)].map(([, name = '']) => name)
const TESTS = ['test/support/alerts.test.yml', 'test/support/alerts-of-days.test.yml']

test('the alert rules are ones that Prometheus reads, over metrics that are exported', t => {
  t.regex(promtool('check', 'rules', 'docs/alerts.yml'), new RegExp(`SUCCESS: ${names.length} rules found`))
  t.is(new Set(names).size, names.length)
  const used = metricsIn(alerts)
  t.true(used.length > names.length - 1)
  for (const name of used) t.true(EXPORTED.has(name), name)
})

/** The values that the rules name for a label of a metric. */
const valuesIn = (metric: string, label: string): string[] =>
  [...alerts.matchAll(new RegExp(`${metric}\\{${label}=~?"([^"]+)"`, 'g'))].flatMap(([, values = '']) =>
    values.split('|'),
  )

test('the rules name states, problems and warnings that there are; every state of trouble has its rule', t => {
  const states = new Set<string>(STATES)
  const named = new Set(valuesIn('ghconnect_state', 'state'))
  t.deepEqual([...named.difference(states)], [])
  t.deepEqual([...states.difference(named)], ['disconnected'])
  const problems = valuesIn('ghconnect_mint_failures_total', 'code')
  const counted = new Set<string>(COUNTED_FAILURES)
  t.true(problems.length > 5)
  for (const code of problems) t.true(isCode(code) && counted.has(code), `${code} is counted from zero`)
  const sources = SOURCES.map(read).join('\n')
  for (const code of valuesIn('ghconnect_warning', 'code')) {
    if (isCode(code)) continue
    t.regex(sources, new RegExp(`code: '${code.replace('.+', '[a-z-]+')}'`), code)
  }
})

test('each alert fires when it should, and not before', t => {
  t.is(promtool('test', 'rules', ...TESTS).match(/SUCCESS/g)?.length, TESTS.length)
  const tested = TESTS.map(read).join('\n')
  for (const name of names) t.true(tested.includes(`{alertname="${name}"}`), `${name} has a test`)
})
