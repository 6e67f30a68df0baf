// Makes or replaces a store and kills itself right before its n-th change to the file system.

import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'

const [state = '', what = '', step = ''] = process.argv.slice(2)
let left = Number.POSITIVE_INFINITY

const counted = <A extends unknown[], R>(call: (...args: A) => R) => {
  return (...args: A): R => {
    left -= 1
    if (left === 0) process.kill(process.pid, 'SIGKILL')
    return call(...args)
  }
}
// fsync is left out: kill -9 does not take what is in the page cache.
const patched = {
  linkSync: counted(fs.linkSync),
  mkdirSync: counted(fs.mkdirSync),
  renameSync: counted(fs.renameSync),
  rmSync: counted(fs.rmSync),
  symlinkSync: counted(fs.symlinkSync),
  writeFileSync: counted(fs.writeFileSync),
  writeSync: counted(fs.writeSync),
}
Object.assign(fs, patched)
syncBuiltinESMExports()

// Only now, so that what they import is what was patched.
const { openAudit } = await import('../../../src/core/audit/audit-store.ts')
const { openStore } = await import('../../../src/core/store/database.ts')
const { keyNamed, silentLog, STORE_KEY } = await import('./samples.ts')

const open = () => openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })
if (what === 'rotate') {
  const { rotateStoreKey } = await import('../../../src/core/store/rotate-store-key.ts')
  const { parseConfig } = await import('../../../src/service/config.ts')
  const surroundings = { hostname: 'h', findUser: () => 0, findGroup: () => 0 }
  const text = `[paths]\nstate = "${state}"\n[store]\nkey_file = "${join(state, '..', 'store.key')}"\n`
  const config = parseConfig(text, { file: 'config.toml', surroundings })
  left = Number(step)
  await rotateStoreKey({}, { config, env: {} })
} else if (what === 'begin') {
  left = Number(step)
  open()
  openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
} else {
  const store = open()
  left = Number(step)
  store.replace({ keys: [keyNamed('new')], newGeneration: true })
}
left = Number.POSITIVE_INFINITY
fs.writeSync(1, 'done')
process.exit(0)
