// The daemon as a whole in this process: what it opens and gives back, and what a reload may change.

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Daemon, startDaemon } from '../../src/core/main.ts'
import { lockStateFolder } from '../../src/service/lock.ts'
import { failureOf } from '../support/fakes.ts'
import { createPlace } from '../support/place.ts'
import { freePort } from '../support/ports.ts'
import { callUnix } from '../support/unix-http.ts'

const daemonOf = async (t: ExecutionContext, env: NodeJS.ProcessEnv = {}) => {
  const place = createPlace(t)
  const port = await freePort()
  const configure = (more = '', listen = `127.0.0.1:${port}`) =>
    place.putConfig(
      `[github]\nurl = "http://127.0.0.1:1"\napi_url = "http://127.0.0.1:1"\n[web]\nlisten = "${listen}"\n${more}`,
    )
  configure()
  const start = async (): Promise<Daemon> => {
    const daemon = await startDaemon({
      configFile: place.configFile,
      env: { ...place.env, ...env },
      logLevel: 'silent' as 'error',
    })
    t.teardown(() => daemon.stop())
    return daemon
  }
  const runtime = join(place.folder, 'run')
  const call = (path: string, method = 'GET', socket = 'admin') =>
    callUnix(join(runtime, `${socket}.sock`), { method, path })
  const warnings = async (): Promise<Map<unknown, string>> => {
    const { body } = await call('/v1/status')
    return new Map((body['warnings'] as { code: string; detail: string }[]).map(({ code, detail }) => [code, detail]))
  }
  return { ...place, port, configure, start, runtime, call, warnings }
}
const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)

test('it listens on sockets of their own modes, and gives everything back at its end', async t => {
  const { start, runtime, call, port, state } = await daemonOf(t)
  const daemon = await start()
  t.is(modeOf(runtime), '755')
  t.deepEqual(
    ['admin', 'token', 'credentials'].map(name => modeOf(join(runtime, `${name}.sock`))),
    ['660', '666', '600'],
  )
  t.is((await failureOf(start())).code, 'state-in-use')
  t.like((await call('/v1/status')).body, { state: 'disconnected' })
  t.is((await call('/v1/status', 'GET', 'token')).body['keys'], undefined)
  const page = await fetch(`http://127.0.0.1:${port}/`)
  t.is(page.status, 200)
  t.is((await call('/v1/check')).status, 200)
  await daemon.stop()
  t.notThrows(() => lockStateFolder(state).release())
  for (const name of ['admin', 'token', 'credentials']) t.false(existsSync(join(runtime, `${name}.sock`)), name)
  await t.throwsAsync(fetch(`http://127.0.0.1:${port}/`))
})

test('where one address is taken nothing of it is left', async t => {
  const { start, runtime, port, state } = await daemonOf(t)
  const other = createServer()
  await new Promise<void>(resolve => void other.listen(port, '127.0.0.1', resolve))
  t.teardown(() => void other.close())
  t.is((await failureOf(start())).code, 'socket-in-use')
  t.false(existsSync(join(runtime, 'admin.sock')))
  t.notThrows(() => lockStateFolder(state).release())
})

test('a reload takes a changed configuration, and keeps the old one where a restart is needed or it is wrong', async t => {
  const { start, configure, configFile, call, warnings, folder, port } = await daemonOf(t)
  const daemon = await start()
  const reload = () => call('/v1/reload', 'POST')
  const elsewhere = await freePort()
  const edit = (find: RegExp, put: string): void => {
    configure()
    writeFileSync(configFile, readFileSync(configFile, 'utf8').replace(find, put))
  }
  for (const [change, why] of [
    [() => configure('', `127.0.0.1:${elsewhere}`), '[web] listen was changed; that needs a restart'],
    [() => configure('[cluster]\nname = "c"\nendpoints = ["http://127.0.0.1:1"]\n'), '[cluster] was changed'],
    [() => edit(/key_file = "/, `key_file = "/another`), '[store] key_file was changed'],
    [() => edit(/runtime = "/, `runtime = "${folder}`), '[paths] was changed'],
    [() => configure('colour = "red"\n'), 'there is no such key'],
  ] as const) {
    change()
    const { status, body } = await reload()
    t.is(status, 503, why)
    t.true(String(body['detail']).includes(why), String(body['detail']))
    t.true((await warnings()).get('config-refused')?.includes(why), why)
  }
  configure('[refresh]\nbefore_expiry = "30m"\n[[profiles]]\nname = "new"\nallow = { users = ["root"] }\n')
  daemon.reload()
  t.is((await warnings()).get('config-refused'), undefined)
  t.true(JSON.stringify((await call('/v1/profiles')).body).includes('"new"'))
  t.is((await fetch(`http://127.0.0.1:${port}/`)).status, 200)
})

test('what is doubtful in the configuration is told by the status, until a reload finds it mended', async t => {
  const env: NodeJS.ProcessEnv = { HTTPS_PROXY: 'http://127.0.0.1:1', NO_PROXY: '10.*' }
  const { start, warnings } = await daemonOf(t, env)
  await start()
  t.is((await warnings()).get('config-doubt'), 'NO_PROXY: not used: "10.*".')
})
