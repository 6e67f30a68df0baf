// No store key is made, and none is advised, where a store exists or cannot be looked for.

import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { asFailure } from '../src/protocol/errors.ts'
import { parseConfig } from '../src/service/config.ts'
import { actAs } from '../src/service/process.ts'
import { storeKeyOf } from '../src/core/store/machine-key.ts'

const SCRIPT = join(import.meta.dirname, '..', 'systemd', 'credentials')
const surroundings = { hostname: 'h', findUser: () => 0, findGroup: () => 0 }

const folderOf = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'store-key-'))
  chmodSync(folder, 0o755)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Runs the packaged script over this folder, with a systemd-creds that copies. `bare`: root without capabilities, as a tight unit has it. */
const runScript = (folder: string, { bare = false } = {}): { stdout: string; isMade: boolean } => {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, 'systemd-creds'), '#!/bin/sh\nfor last; do :; done\n[ "$1" = decrypt ] || cat >"$last"\n')
  writeFileSync(join(bin, 'sync'), '#!/bin/sh\n')
  for (const name of ['systemd-creds', 'sync']) chmodSync(join(bin, name), 0o755)
  const script = readFileSync(SCRIPT, 'utf8')
    .replace('=/etc/ghconnectd/credentials', `=${folder}/credentials`)
    .replace('=/run/credstore.encrypted', `=${folder}/offered`)
    .replace('=/var/lib/ghconnectd', `=${folder}/state`)
  const command = ['sh', '-c', script]
  const [program = '', ...args] = bare
    ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs', ...command]
    : command
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` }
  const { stdout } = spawnSync(program, args, { env, encoding: 'utf8' })
  return { stdout, isMade: existsSync(join(folder, 'credentials', 'store.key')) }
}

test('a machine that never had a store gets a key, once', t => {
  const folder = folderOf(t)
  t.true(runScript(folder).isMade)
  const key = readFileSync(join(folder, 'credentials', 'store.key'))
  t.is(runScript(folder).stdout, '')
  t.deepEqual(readFileSync(join(folder, 'credentials', 'store.key')), key)
})

test('no key is made beside a store whose key is gone, and the way back is named', t => {
  const folder = folderOf(t)
  mkdirSync(join(folder, 'state', 'store'), { recursive: true })
  const { stdout, isMade } = runScript(folder)
  t.false(isMade)
  t.regex(stdout, /no new key is made.* ghconnect unlock --identity FILE/)
})

test('no key is made where the state folder cannot be looked into', t => {
  if (process.getuid?.() !== 0) {
    t.pass('only root can give up its capabilities')
    return
  }
  const folder = folderOf(t)
  const state = join(folder, 'state')
  mkdirSync(join(state, 'store'), { recursive: true })
  chmodSync(state, 0o700)
  chownSync(state, 65_534, 65_534)
  t.throws(() => execFileSync('setpriv', ['--bounding-set=-all', '--inh-caps=-all', 'ls', state], { stdio: 'pipe' }))
  const { stdout, isMade } = runScript(folder, { bare: true })
  t.false(isMade)
  t.regex(stdout, /cannot be looked into/)
})

test('a key is advised where there is neither store nor sealed key, and nowhere else', async t => {
  const folder = folderOf(t)
  const state = join(folder, 'state')
  const sealed = join(folder, 'sealed')
  const env = { GHCONNECT_SEALED_STORE_KEY: sealed }
  const adviceFor = (keyFile: string): string => {
    const config = parseConfig(`[paths]\nstate = "${state}"\n[store]\nkey_file = "${keyFile}"\n`, {
      file: 'c.toml',
      surroundings,
    })
    try {
      storeKeyOf(config, env)
      return 'opened'
    } catch (error) {
      return asFailure(error).message
    }
  }
  const short = join(folder, 'short.key')
  writeFileSync(short, 'short', { mode: 0o600 })
  const places = ['', join(folder, 'absent.key'), folder, short]
  const MAKE = /openssl rand/
  for (const place of places) t.regex(adviceFor(place), MAKE, place)
  writeFileSync(sealed, 'sealed to another machine')
  for (const place of places) t.notRegex(adviceFor(place), MAKE, place)
  rmSync(sealed)
  mkdirSync(join(state, 'store'), { recursive: true })
  for (const place of places) t.regex(adviceFor(place), /bring back the key that the store was made with/, place)
  if (process.getuid?.() !== 0) return
  rmSync(join(state, 'store'), { recursive: true })
  chmodSync(state, 0o700)
  await actAs({ uid: 65_534, gid: 65_534 }, async () => t.notRegex(adviceFor(''), MAKE))
})
