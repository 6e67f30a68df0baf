// Starts that must fail, reloads that must not harm, sockets of the dead and the living, and an end in good order.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { type Appliance, createAppliance, PROFILE } from '../support/appliance.ts'
import { freePort } from '../support/ports.ts'
import { enabled, ghconnect, readWith, runDaemon, running } from '../support/probes.ts'

const PROBLEM = 'urn:ghconnect:problem:'
const WANTED = { repositories: ['web'], permissions: { contents: 'read' } }

/** A configuration beside the appliance's own, which differs from it as `change` says. */
const neighbour = async (appliance: Appliance, change: (toml: string) => string): Promise<string> => {
  const path = join(appliance.folder, 'neighbour.toml')
  const own = readFileSync(appliance.configFile, 'utf8')
  writeFileSync(path, change(own.replace(/listen = ".*"/, `listen = "127.0.0.1:${await freePort()}"`)), { mode: 0o600 })
  return path
}

const assertServing = async (appliance: Appliance): Promise<boolean> =>
  (await appliance.ask('POST', '/v1/tokens', WANTED)).status === 200

test.serial('a second daemon on one state folder ends with 69 and names the process that holds it', async t => {
  const appliance = await enabled()
  try {
    const runtime = join(appliance.folder, 'run2')
    const file = await neighbour(appliance, toml => toml.replace(/runtime = ".*"/, `runtime = "${runtime}"`))
    const { code, output } = await runDaemon(file)
    t.is(code, 69, output)
    t.regex(output, new RegExp(`process ${appliance.pid()} \\(ghconnectd`))
    t.false(existsSync(join(runtime, 'token.sock')))
    t.true(await assertServing(appliance))
    // The holder is gone, however it went: the next one gets the folder.
    await appliance.kill('SIGKILL')
    await appliance.start()
    t.true(await assertServing(appliance))
  } finally {
    await appliance.close()
  }
})

test.serial('a socket of a live daemon is left to it, one of a dead daemon is replaced, a file is not', async t => {
  const appliance = await enabled()
  try {
    const file = await neighbour(appliance, toml =>
      toml.replace(/state = ".*"/, `state = "${appliance.folder}/state2"`),
    )
    const taken = await runDaemon(file)
    t.is(taken.code, 69, taken.output)
    t.regex(taken.output, new RegExp(`admin\\.sock belongs to process ${appliance.pid()}`))
    t.true(await assertServing(appliance))

    await appliance.kill('SIGKILL')
    t.true(existsSync(join(appliance.runtime, 'token.sock')), 'kill -9 leaves the socket')
    await appliance.start()
    t.true(await assertServing(appliance))

    t.is(await appliance.kill(), 0)
    for (const name of ['token.sock', 'admin.sock']) {
      const path = join(appliance.runtime, name)
      rmSync(path, { force: true })
      writeFileSync(path, 'somebody else wrote this')
      const { code, log } = await appliance.startAndFail()
      t.is(code, 69, log)
      t.regex(log, new RegExp(`${name.replace('.', '\\.')} exists and is not a socket`))
      t.is(readFileSync(path, 'utf8'), 'somebody else wrote this')
      rmSync(path)
    }
    mkdirSync(join(appliance.runtime, 'token.sock'))
    t.is((await appliance.startAndFail()).code, 69)
    rmSync(join(appliance.runtime, 'token.sock'), { recursive: true })
    await appliance.start()
    t.true(await assertServing(appliance), 'nothing was lost')
  } finally {
    await appliance.close()
  }
})

const TYPOS: readonly [string, RegExp][] = [
  ['[refresh]\nschedul = "* * * * *"\n', /:\d+: refresh\.schedul: there is no such key/],
  ['[refresh]\nschedule = "often"\n', /:\d+: refresh\.schedule: /],
  ['[refresh]\nbefore_expiry = 20\n', /:\d+: refresh\.before_expiry: /],
  ['[proxi]\nurl = "http://proxy:3128"\n', /:\d+: proxi: there is no such key/],
  ['[proxy]\nurl = "ftp://proxy:3128"\n', /:\d+: proxy\.url: /],
  [
    '[[profiles]]\nname = "a"\nallow = { users = ["no-such-user"] }\n',
    /:\d+: profiles\.\d+\.allow\.users\.0: .*no-such-user/,
  ],
  ['[[profiles]]\nname = "test"\nalow = {}\n', /:\d+: profiles\.\d+\.alow: there is no such key/],
  ['[web\n', /:\d+: /],
  ['[proxy]\nurl = "http://p:1"\nexclude = ["10.*"]\n', /:\d+: proxy\.exclude\.0: .*10\.\*.* is not a host/],
  ['[proxy]\nca_file = "/nonexistent.pem"\n', /:\d+: proxy\.ca_file: \/nonexistent\.pem does not exist/],
  ['[proxy]\nca_file = "/etc/hostname"\n', /:\d+: proxy\.ca_file: \/etc\/hostname holds no certificate/],
  ['[proxy]\nurl = "http://u@p:1"\npassword_file = "/nonexistent"\n', /:\d+: proxy\.password_file: \/nonexistent does/],
  ['[proxy]\nurl = "http://p:1"\npassword_file = "/etc/hostname"\n', /:\d+: proxy\.password_file: .* names no user/],
  ['[proxy]\nurl = "http://u:pa%zz@p:1"\n', /:\d+: proxy\.url: .*write %25/],
  ['[proxy]\nurl = "http://u:pa#ss@p:1"\n', /:\d+: proxy\.url: .*write %23/],
  ['[proxy]\nurl = "http://p:99999"\n', /:\d+: proxy\.url: has a port/],
]

test.serial(
  'a configuration with a typo ends with 78 and names file, line and key; a reload keeps the old one',
  async t => {
    const appliance = await enabled()
    try {
      const own = readFileSync(appliance.configFile, 'utf8')
      const lineOf = (toml: string): number => toml.split('\n').length
      for (const [typo, pattern] of TYPOS) {
        appliance.configure(PROFILE + typo)
        const { code, output } = await runDaemon(appliance.configFile)
        t.is(code, 78, output)
        t.regex(output, pattern)
        t.true(output.includes(`${appliance.configFile}:`), output)
        const line = Number(new RegExp(`${appliance.configFile}:(\\d+)`).exec(output)?.[1])
        t.true(line >= lineOf(own) && line <= lineOf(own + typo), `${typo}: line ${line}`)
        const check = await ghconnect('config', 'check', '--config', appliance.configFile)
        t.is(check.code, 78)
        t.regex(check.output, pattern)
        const [, said = ''] = /^error: (.*)$/m.exec(check.output) ?? []
        t.true(output.includes(said), `the start says the same: ${said}`)

        const before = appliance.log().length
        appliance.signal('SIGHUP')
        await appliance.logged(new RegExp(`[^]{${before},}the old configuration stays`))
        t.regex(appliance.log().slice(before), pattern)
        t.true(await assertServing(appliance))
        if (typo.startsWith('[proxi]')) {
          const { warnings } = (await appliance.call('GET', '/v1/status')).body
          t.regex(
            JSON.stringify(warnings),
            /"config-refused".*previous settings still apply.*proxi: there is no such key/,
          )
          const reloaded = await ghconnect('reload', '--socket', appliance.runtime)
          t.is(reloaded.code, 78, reloaded.output)
          t.regex(reloaded.output, /proxi: there is no such key/)
        }
      }
      appliance.configure(PROFILE)
      t.is((await ghconnect('reload', '--socket', appliance.runtime)).code, 0)
      t.notRegex(JSON.stringify((await appliance.call('GET', '/v1/status')).body['warnings']), /config-refused/)
      t.is((await runDaemon(join(appliance.folder, 'absent.toml'))).code, 78)
    } finally {
      await appliance.close()
    }
  },
)

test.serial('a reload brings profiles and proxy into force, and the way back', async t => {
  const appliance = await enabled()
  try {
    const port = await freePort()
    const reload = async (toml: string): Promise<void> => {
      const before = appliance.log().length
      appliance.configure(toml)
      appliance.signal('SIGHUP')
      await appliance.logged(new RegExp(`[^]{${before},}the configuration was read again`))
    }
    await reload(`[proxy]\nurl = "http://daemon:secret-word@127.0.0.1:${port}"\n`)
    t.is((await appliance.ask('POST', '/v1/tokens', WANTED)).body['type'], `${PROBLEM}not-permitted`)
    const status = await appliance.call('GET', '/v1/status')
    t.is(status.body['proxy'], `http://daemon@127.0.0.1:${port}`)
    t.false(status.text.includes('secret-word'))
    const answer = await appliance.call('POST', '/v1/tokens', { repositories: ['docs'] })
    t.is(answer.body['type'], `${PROBLEM}proxy-unreachable`, 'a new call goes by way of the proxy')
    t.regex(JSON.stringify((await appliance.call('GET', '/v1/status')).body['warnings']), /proxy-unreachable/)
    t.false(appliance.log().includes('secret-word'))

    await reload(PROFILE)
    t.true(await assertServing(appliance))
    t.is((await appliance.call('GET', '/v1/status')).body['proxy'], undefined)
    t.is((await appliance.call('POST', '/v1/tokens', { repositories: ['infra'] })).status, 200)

    const before = appliance.log().length
    writeFileSync(
      appliance.configFile,
      readFileSync(appliance.configFile, 'utf8').replace(/state = ".*"/, 'state = "/tmp/elsewhere"'),
    )
    appliance.signal('SIGHUP')
    await appliance.logged(new RegExp(`[^]{${before},}\\[paths\\] was changed; that needs a restart`))
    t.true(await assertServing(appliance))
  } finally {
    await appliance.close()
  }
})

test.serial('SIGTERM lets a mint under way finish, takes no new connections, and ends with 0', async t => {
  const appliance = await enabled()
  try {
    const slow = { kind: 'slow', ms: 1_500, method: 'POST', path: '/app/installations', count: 1 }
    await appliance.control('POST', 'faults', slow)
    const asked = appliance.ask('POST', '/v1/tokens', { repositories: ['docs'] })
    // The fault is gone from the list once it has struck: the mint is under way.
    const hasStruck = async () => Object.keys(await appliance.control('GET', 'faults')).length === 0
    while (!(await hasStruck())) await new Promise(pause => setTimeout(pause, 10))
    const ended = appliance.kill('SIGTERM')
    const isListening = () =>
      appliance.ask('GET', '/livez').then(
        () => true,
        () => false,
      )
    while (await isListening()) await new Promise(pause => setTimeout(pause, 10))
    await t.throwsAsync(() => appliance.ask('GET', '/livez'), { message: /ECONNREFUSED|ENOENT/ })
    const answer = await asked
    t.is(answer.status, 200)
    const answeredMs = performance.now()
    t.is(await ended, 0)
    t.true(performance.now() - answeredMs < 4_000, 'a connection that is kept alive is not waited for')
    t.is(await readWith(appliance, String(answer.body['token']), 'docs'), 200)
    await appliance.control('DELETE', 'faults')
    await appliance.start()
    const again = await appliance.ask('POST', '/v1/tokens', { repositories: ['docs'] })
    t.is(again.body['token'], answer.body['token'], 'what was minted at the last moment is on the disk')
  } finally {
    await appliance.close()
  }
})

test.serial('a signal to reload that comes early, or often, ends nothing', async t => {
  const appliance = await running()
  try {
    for (let times = 0; times < 50; times++) appliance.signal('SIGHUP')
    await appliance.enable()
    t.true(await assertServing(appliance))
    t.is(await appliance.kill('SIGINT'), 0)
  } finally {
    await appliance.close()
  }
})

test.serial('a path that no socket can have ends the start with 78, which names the key', async t => {
  const appliance = await createAppliance()
  try {
    const runtime = join(appliance.folder, 'x'.repeat(90))
    const { code, output } = await runDaemon(
      await neighbour(appliance, toml => toml.replace(/runtime = ".*"/, `runtime = "${runtime}"`)),
    )
    t.is(code, 78, output)
    t.regex(output, /\[paths\] runtime/)
  } finally {
    await appliance.close()
  }
})

test.serial('a state folder that cannot be written ends the start with 74', async t => {
  const appliance = await createAppliance()
  try {
    writeFileSync(appliance.state, 'a file where the folder belongs')
    const { code, log } = await appliance.startAndFail()
    t.is(code, 74, log)
  } finally {
    await appliance.close()
  }
})
