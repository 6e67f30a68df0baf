// How Prometheus gets to metrics behind a unix socket: the examples of the document, with a real Prometheus and systemd's own listener.

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { z } from 'zod'
import { createAppliance } from '../support/appliance.ts'
import { freePort } from '../support/ports.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const EXAMPLES = join(ROOT, 'docs/examples/metrics')
const run = promisify(execFile)

const Answer = z.object({ data: z.object({ result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })) }) })
const Rules = z.object({
  data: z.object({ groups: z.array(z.object({ rules: z.array(z.object({ health: z.string() })) })) }),
})

const ended = (child: ChildProcess): Promise<void> => {
  const { promise, resolve: done } = Promise.withResolvers<void>()
  child.once('close', () => done())
  child.kill()
  return promise
}

/** Asks until the answer will do. */
const until = async <T>(ask: () => Promise<T | undefined>, what: string): Promise<T> => {
  for (let tries = 0; tries < 300; tries++) {
    const answer = await ask().catch(() => undefined)
    if (answer !== undefined) return answer
    await new Promise(pause => setTimeout(pause, 100))
  }
  throw new Error(`never: ${what}`)
}

test('Prometheus scrapes the daemon by way of the socket unit, which serves nothing but metrics', async t => {
  const appliance = await createAppliance()
  t.teardown(() => appliance.close())
  await appliance.start()
  await appliance.enable()
  const adminSocket = join(appliance.runtime, 'admin.sock')
  const [port, prometheusPort] = [await freePort(), await freePort()]
  const unit = readFileSync(join(EXAMPLES, 'ghconnectd-metrics.socket'), 'utf8')
  t.regex(unit, /ListenStream=127\.0\.0\.1:9469\nAccept=yes/)
  const listener = spawn(
    'systemd-socket-activate',
    ['--listen', `127.0.0.1:${port}`, '--accept', '--inetd', join(EXAMPLES, 'serve-metrics.sh'), adminSocket],
    { stdio: 'ignore' },
  )
  t.teardown(() => ended(listener))
  const url = `http://127.0.0.1:${port}`
  const first = await until(() => fetch(`${url}/metrics`).then(answer => (answer.ok ? answer.text() : undefined)), url)
  t.regex(first, /^ghconnect_state\{state="connected"\} 1$/m)
  // Whatever is asked for, it is the metrics: no way leads from here to the rest of admin.sock.
  for (const method of ['GET', 'POST', 'DELETE']) {
    const answer = await fetch(`${url}/v1/tokens`, { method, ...(method === 'POST' && { body: '{}' }) })
    t.regex(await answer.text(), /^# HELP ghconnect_build_info/)
  }

  const folder = join(appliance.folder, 'prometheus')
  mkdirSync(folder)
  copyFileSync(join(ROOT, 'docs/alerts.yml'), join(folder, 'alerts.yml'))
  const config = readFileSync(join(EXAMPLES, 'prometheus.yml'), 'utf8').replace('9469', String(port))
  writeFileSync(join(folder, 'prometheus.yml'), `global: { scrape_interval: 1s, evaluation_interval: 1s }\n${config}`)
  const prometheus = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${prometheusPort}`,
    ],
    { stdio: 'ignore' },
  )
  t.teardown(() => ended(prometheus))
  const query = async (expr: string): Promise<string | undefined> => {
    const answer = await fetch(`http://127.0.0.1:${prometheusPort}/api/v1/query?query=${encodeURIComponent(expr)}`)
    return Answer.parse(await answer.json()).data.result[0]?.value[1]
  }
  const connected = await until(() => query('ghconnect_state{job="ghconnectd", state="connected"}'), 'a sample')
  t.is(connected, '1')
  t.is(await query('up{job="ghconnectd"}'), '1')
  t.true(Number(await query('ghconnect_token_in_use_expiry_timestamp_seconds - time()')) > 3000)
  const rules = await until(async () => {
    const answer = await fetch(`http://127.0.0.1:${prometheusPort}/api/v1/rules`)
    const found = Rules.parse(await answer.json()).data.groups.flatMap(group => group.rules)
    return found.every(({ health }) => health === 'ok') ? found : undefined
  }, 'rules that were evaluated')
  t.true(rules.length > 20)

  await appliance.kill()
  t.is((await fetch(`${url}/metrics`)).status, 503)
})

test("the textfile collector's file is whole, and gone where the daemon does not answer", async t => {
  const appliance = await createAppliance()
  t.teardown(() => appliance.close())
  await appliance.start()
  const folder = join(appliance.folder, 'textfile')
  mkdirSync(folder)
  const file = join(folder, 'ghconnectd.prom')
  const collect = () =>
    run(join(EXAMPLES, 'collect-metrics.sh'), [file, join(appliance.runtime, 'admin.sock')]).then(
      () => 0,
      (error: { code: number }) => error.code,
    )
  t.is(await collect(), 0)
  const text = readFileSync(file, 'utf8')
  t.regex(text, /^ghconnect_state\{state="disconnected"\} 1$/m)
  t.notRegex(text, /process_/)
  t.is(execFileSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' }), '')
  await appliance.kill()
  t.is(await collect(), 69)
  t.false(existsSync(file))
  t.deepEqual(readdirSync(folder), [])
})
