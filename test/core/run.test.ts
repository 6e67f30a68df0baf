// The daemon between its start and a signal: what it exits with, what it leaves for those who ask later, and what a signal does.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { lockStateFolder } from '../../src/service/lock.ts'
import { findStartError, noteStartError } from '../../src/service/start-error.ts'
import { runDaemon } from '../../src/core/run.ts'
import { createPlace } from '../support/place.ts'
import { freePort } from '../support/ports.ts'
import { callUnix } from '../support/unix-http.ts'

const placeOf = async (t: ExecutionContext) => {
  const place = createPlace(t)
  const toml = `[github]\nurl = "http://127.0.0.1:1"\napi_url = "http://127.0.0.1:1"\n[web]\nlisten = "127.0.0.1:${await freePort()}"\n`
  const runtime = join(place.folder, 'run')
  mkdirSync(runtime)
  place.configure(toml)
  return { ...place, runtime, add: (more: string) => place.putConfig(toml + more) }
}

/** What the daemon says on standard error. */
const run = async (t: ExecutionContext, configFile: string, during: () => Promise<void> = async () => {}) => {
  const write = process.stderr.write.bind(process.stderr)
  let said = ''
  process.stderr.write = text => ((said += String(text)), true)
  try {
    const ended = runDaemon({ configFile })
    await Promise.race([during(), ended])
    return { exit: await ended, said }
  } finally {
    process.stderr.write = write
    process.removeAllListeners('SIGHUP')
    process.removeAllListeners('SIGTERM')
    process.removeAllListeners('SIGINT')
    t.is(process.stderr.write, write)
  }
}

test.serial('a start that fails says why and what to do, exits with its code, and leaves word', async t => {
  const { configFile, runtime, putConfig } = await placeOf(t)
  putConfig('colour = "red"\n')
  const { exit, said } = await run(t, configFile)
  t.is(exit, 78)
  t.regex(said, /^ghconnectd: .+: .*colour: there is no such key\n {2}\S/)
  t.like(findStartError(runtime, { isService: false }), { exit: 78 })
  t.regex(findStartError(runtime, { isService: false })?.detail ?? '', /colour: there is no such key/)
})

test.serial('beside another daemon it leaves no word: that one is asked', async t => {
  const { configFile, runtime, state } = await placeOf(t)
  const lock = lockStateFolder(state)
  t.teardown(() => lock.release())
  t.is((await run(t, configFile)).exit, 69)
  t.is(findStartError(runtime, { isService: false }), undefined)
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test.serial(
    `it serves until ${signal}, reads its configuration at SIGHUP, and forgets how it failed before`,
    async t => {
      const { configFile, runtime, state, add } = await placeOf(t)
      noteStartError(runtime, { exit: 78, detail: 'before' })
      const socket = join(runtime, 'admin.sock')
      const ask = (path: string) => callUnix(socket, { method: 'GET', path })
      const isServing = async (): Promise<boolean> =>
        ask('/v1/status').then(
          ({ status }) => status === 200,
          () => false,
        )
      const { exit } = await run(t, configFile, async () => {
        while (!(await isServing()) || findStartError(runtime, { isService: false }))
          await new Promise(resolve => void setImmediate(resolve))
        add('[[profiles]]\nname = "added"\nallow = { users = ["root"] }\n')
        process.emit('SIGHUP')
        t.true(JSON.stringify((await ask('/v1/profiles')).body).includes('"added"'))
        process.emit(signal)
      })
      t.is(exit, 0)
      t.notThrows(() => lockStateFolder(state).release())
      t.false(await isServing())
    },
  )
}
