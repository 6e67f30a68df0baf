// Why the last start failed: kept in the sockets' folder until a start succeeds.

import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { clearStartError, findStartError, noteStartError } from '../../src/service/start-error.ts'
import { runDaemon } from '../../src/core/run.ts'
import { runCli } from '../cli/rig.ts'

const runtime = mkdtempSync(join(tmpdir(), 'start-error-'))
test.after.always(() => rmSync(runtime, { recursive: true }))

test.serial('a failed start is found until it is cleared, by everyone who can reach the sockets', t => {
  const error = { exit: 78, detail: 'c.toml:3: proxy.url: has no scheme' }
  noteStartError(runtime, error)
  t.deepEqual(findStartError(runtime, { isService: false }), error)
  t.is(statSync(join(runtime, 'start-error')).mode & 0o777, 0o644)
  clearStartError(runtime)
  t.is(findStartError(runtime, { isService: false }), undefined)
  for (const broken of ['', '{"exit":78', '{"exit":"78","detail":"x"}', '{"exit":78}', 'null']) {
    writeFileSync(join(runtime, 'start-error'), broken)
    t.is(findStartError(runtime, { isService: false }), undefined, broken)
  }
  clearStartError(runtime)
  t.notThrows(() => clearStartError(runtime))
  noteStartError(join(runtime, 'absent'), error)
  t.false(existsSync(join(runtime, 'absent')), 'no folder is made for it')
})

test.serial('every command that finds no daemon says why the last start failed, and what to correct first', async t => {
  const configFile = join(runtime, 'config.toml')
  writeFileSync(
    configFile,
    `[paths]\nruntime = "${runtime}"\nstate = "${runtime}/state"\n[proxy]\nca_file = "/nonexistent"\n`,
  )
  t.is(await runDaemon({ configFile }), 78)
  for (const command of ['status', 'token', 'refresh']) {
    const { code, stderr } = await runCli([command, '--config', configFile])
    t.is(code, 69)
    t.regex(
      stderr,
      /its last start failed with exit code 78: .*config\.toml:5: proxy\.ca_file: \/nonexistent does not exist\n.*Correct the configuration \(`ghconnect config check` shows all that is wrong\), then start it/,
    )
  }
  clearStartError(runtime)
  t.notRegex((await runCli(['status', '--config', configFile])).stderr, /last start/)
})
