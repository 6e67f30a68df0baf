// The installed package as an administrator watches and extends it: metrics by the documented units, features by command.

import { resolve } from 'node:path'
import { readFileSync } from 'node:fs'
import test from 'ava'
import { bootedTest, buildPackage, canBoot, CONFIG, createInstalled, type Installed } from '../support/installed.ts'

const DOCUMENT = readFileSync(resolve(import.meta.dirname, '../../docs/observability.md'), 'utf8')
const FEATURE = 'actions-from-github'
const FILE = '/etc/ghconnectd/config.features.toml'

let machine: Installed

test.before(async () => {
  if (!canBoot) return
  const built = buildPackage('observability')
  machine = await createInstalled('observability')
  await machine.install(await built)
  await machine.configure(CONFIG)
  await machine.startSandbox()
  await machine.run('systemctl reload ghconnectd')
  await machine.enable()
})
test.afterEach.always(async t => {
  if (!t.passed && canBoot) t.log((await machine.attempt("journalctl -o short-precise -n 40 -u 'ghconnectd*'")).stdout)
})
test.after.always(() => machine?.stop())

bootedTest('the commands of the document bring the metrics to a port, and nothing else of the socket', async t => {
  const [, commands = ''] = /```console\n(# cd \/usr\/share\/doc\/[^`]*)```/.exec(DOCUMENT) ?? []
  const typed = commands.split('\n').filter(line => line.startsWith('# '))
  t.is(typed.length, 5)
  const script = typed.map(line => line.slice(2)).join('\n')
  await machine.run(`set -e\n${script}`)
  const line = await machine.run(`curl -s http://127.0.0.1:9469/metrics | grep '"connected"'`)
  t.is(line, 'ghconnect_state{state="connected"} 1')
  const other = await machine.run('curl -s http://127.0.0.1:9469/v1/status | sed -n 1p')
  t.regex(other, /^# HELP ghconnect_build_info/)
  t.is(await machine.run("systemctl list-units --failed --no-legend 'ghconnectd-metrics*'"), '')
})

bootedTest('root switches a feature on and off, the daemon takes it at once, and nobody else may', async t => {
  const refused = await machine.attemptAs('mallory', `ghconnect features enable ${FEATURE} --user mallory`)
  t.not(refused.code, 0)
  t.not((await machine.attempt(`test -e ${FILE}`)).code, 0)
  t.not((await machine.attemptAs('alice', `ghconnect token --profile ${FEATURE}`)).code, 0)
  t.regex(await machine.run(`ghconnect features enable ${FEATURE} --user alice`), /actions-from-github: on\./)
  t.is(await machine.run(`stat -c '%a %U' ${FILE}`), '644 root')
  t.regex((await machine.attemptAs('alice', `ghconnect token --profile ${FEATURE}`)).stdout, /^ghs_/)
  t.is((await machine.attemptAs('mallory', `ghconnect token --profile ${FEATURE}`)).code, 77)
  t.is((await machine.attemptAs('mallory', 'ghconnect features')).code, 77)
  await machine.run('systemctl restart ghconnectd')
  await machine.until('connected')
  t.regex((await machine.attemptAs('alice', `ghconnect token --profile ${FEATURE}`)).stdout, /^ghs_/)
  await machine.run(`ghconnect features disable ${FEATURE}`)
  t.is((await machine.attemptAs('alice', `ghconnect token --profile ${FEATURE}`)).code, 77)
  t.regex(await machine.run('ghconnect audit --limit 100'), /admin\.request.*POST \/v1\/reload/)
})
