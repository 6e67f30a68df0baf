// A new store key: where it may be put, and what is typed where it may not.

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { parseConfig } from '../../../src/service/config.ts'
import { lockStateFolder } from '../../../src/service/lock.ts'
import { rotateStoreKey } from '../../../src/core/store/rotate-store-key.ts'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openStore } from '../../../src/core/store/database.ts'
import { storeKeyWithoutDaemon } from '../../../src/core/store/machine-key.ts'
import { silentLog, STORE_KEY } from './samples.ts'
import { failureOf } from '../../support/fakes.ts'

const sceneOf = (t: ExecutionContext, keyFile: (folder: string) => string | undefined) => {
  const folder = mkdtempSync(join(tmpdir(), 'rotate-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const state = join(folder, 'state')
  mkdirSync(state)
  const sealed = join(folder, 'sealed', 'store.key')
  mkdirSync(join(folder, 'sealed'))
  const file = keyFile(folder)
  if (file !== undefined) writeFileSync(file, STORE_KEY, { mode: 0o600 })
  openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog }).close()
  openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog }).close()
  const env = { GHCONNECT_SEALED_STORE_KEY: sealed, GHCONNECTD_SEAL_WITH: 'tpm2-absent' }
  const config = parseConfig(
    `[paths]\nstate = "${state}"\n${file === undefined ? '' : `[store]\nkey_file = "${file}"\n`}`,
    { file: 'config.toml', surroundings: { hostname: 'h', findUser: () => 0, findGroup: () => 0 } },
  )
  const opens = (storeKey: Buffer): boolean => {
    try {
      openStore({ folder: join(state, 'store'), storeKey, log: silentLog }).close()
      openAudit({ path: join(state, 'audit.db'), storeKey, log: silentLog }).close()
      return true
    } catch {
      return false
    }
  }
  const rotate = (wish = {}) => rotateStoreKey(wish, { config, env })
  return { folder, state, sealed, env, config, opens, rotate }
}

const inFile = (folder: string): string => join(folder, 'store.key')

test('a key file is replaced under its mode, what it held is overwritten, and the old key opens nothing', async t => {
  const { folder, opens, rotate } = sceneOf(t, inFile)
  // A second name of the same file shows what became of its content.
  linkSync(inFile(folder), join(folder, 'seen'))
  t.is(await rotate(), inFile(folder))
  t.deepEqual(readFileSync(join(folder, 'seen')), Buffer.alloc(STORE_KEY.length))
  t.is(statSync(inFile(folder)).mode & 0o777, 0o600)
  t.false(opens(STORE_KEY))
  t.true(opens(readFileSync(inFile(folder))))
})

test('a sealed credential is replaced by one that is sealed alike, and by no other', async t => {
  const { folder, sealed, env, config, opens, rotate } = sceneOf(t, () => undefined)
  execFileSync('systemd-creds', ['encrypt', '--with-key=tpm2-absent', '--name=store.key', '-', sealed], {
    input: STORE_KEY,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  t.is(await rotate(), sealed)
  t.false(opens(STORE_KEY))
  t.true(opens(storeKeyWithoutDaemon(config, env)))
  t.deepEqual(readdirSync(join(folder, 'sealed')), ['store.key'])
  // Sealed to the TPM, for all that this program knows.
  const former = storeKeyWithoutDaemon(config, env)
  const bytes = Buffer.from(readFileSync(sealed, 'latin1'), 'base64')
  const otherwise = Buffer.concat([Buffer.alloc(16, 7), bytes.subarray(16)]).toString('base64')
  const refused = await failureOf(rotateWithKind({ sealed, otherwise, config, env }))
  t.is(refused.code, 'locked', 'what cannot be opened is not replaced')
  t.true(opens(former))
})

const rotateWithKind = async ({
  sealed,
  otherwise,
  config,
  env,
}: {
  sealed: string
  otherwise: string
  config: Parameters<typeof rotateStoreKey>[1]['config']
  env: NodeJS.ProcessEnv
}): Promise<string> => {
  const before = readFileSync(sealed)
  writeFileSync(sealed, otherwise)
  try {
    return await rotateStoreKey({}, { config, env })
  } finally {
    writeFileSync(sealed, before)
  }
}

test('a key that comes from elsewhere is not changed, and what to type is said', async t => {
  const { rotate, folder, opens, config, env } = sceneOf(t, inFile)
  const credentials = join(folder, 'credentials')
  mkdirSync(credentials)
  writeFileSync(join(credentials, 'store.key'), STORE_KEY, { mode: 0o400 })
  const elsewhere = { ...env, CREDENTIALS_DIRECTORY: credentials }
  const refused = await failureOf(rotateStoreKey({}, { config, env: elsewhere }))
  t.is(refused.code, 'configuration')
  t.regex(refused.next, /`openssl rand -out FILE 32`.*`systemctl restart ghconnectd`.*`ghconnect unlock --identity/)
  t.true(opens(STORE_KEY))
  t.is(await rotate(), inFile(folder))
})

test('beside a daemon, and where the key cannot be written, nothing changes', async t => {
  const { state, folder, opens, rotate } = sceneOf(t, inFile)
  const lock = lockStateFolder(state)
  t.is((await failureOf(rotate())).code, 'state-in-use')
  lock.release()
  mkdirSync(join(folder, '.store.key.next'))
  await t.throwsAsync(rotate())
  t.true(opens(STORE_KEY))
  t.deepEqual(readFileSync(inFile(folder)), STORE_KEY)
  rmSync(join(folder, '.store.key.next'), { recursive: true })
  t.is(await rotate(), inFile(folder))
})

test('without a store there is nothing to change', async t => {
  const { state, folder, rotate } = sceneOf(t, inFile)
  rmSync(join(state, 'store'), { recursive: true })
  const failure = await failureOf(rotate())
  t.is(failure.code, 'locked')
  t.regex(failure.message, /its key needs no change/)
  t.deepEqual(readFileSync(inFile(folder)), STORE_KEY)
  t.false(existsSync(join(folder, '.store.key.next')))
  t.notThrows(() => lockStateFolder(state).release(), 'the folder is given back')
})

test('the new key belongs to whom the former one did, at the place to which a link leads', async t => {
  const { folder, config, env, opens } = sceneOf(t, inFile)
  const place = join(folder, 'elsewhere.key')
  renameSync(inFile(folder), place)
  symlinkSync(place, inFile(folder))
  chownSync(place, 65_534, 65_534)
  chmodSync(place, 0o400)
  t.is(await rotateStoreKey({}, { config, env }), place)
  const { uid, gid, mode } = statSync(place)
  t.deepEqual([uid, gid, mode & 0o777], [65_534, 65_534, 0o400])
  t.true(lstatSync(inFile(folder)).isSymbolicLink())
  t.true(opens(readFileSync(place)))
})

test('what a change that was killed left is overwritten and removed, and the folder is free again', async t => {
  const { state, folder, opens, rotate } = sceneOf(t, inFile)
  for (const what of ['next', 'former']) {
    const left = join(folder, `.store.key.${what}`)
    writeFileSync(left, Buffer.alloc(32, 5))
    linkSync(left, join(folder, `seen ${what}`))
  }
  await rotate()
  for (const what of ['next', 'former']) {
    t.false(existsSync(join(folder, `.store.key.${what}`)), what)
    t.deepEqual(readFileSync(join(folder, `seen ${what}`)), Buffer.alloc(32), what)
  }
  t.true(opens(readFileSync(inFile(folder))))
  t.deepEqual(
    readdirSync(state, { recursive: true, encoding: 'utf8' }).filter(name => name.includes('.next')),
    [],
  )
  t.notThrows(() => lockStateFolder(state).release())
})
