// How much the state folder's databases hold, and how much is free for whoever writes.

import fs, { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { freeBytes, sizeBelow, stateSizes } from '../../src/service/sizes.ts'

const folder = mkdtempSync(join(tmpdir(), 'sizes-'))
test.after.always(() => rmSync(folder, { recursive: true }))

test('the databases and the archive are measured each for itself, and what is absent holds nothing', t => {
  const nothing = { db: 0, wal: 0 }
  t.deepEqual(stateSizes(folder), { store: nothing, audit: { ...nothing, archive: 0 } })
  mkdirSync(join(folder, 'store', '7'), { recursive: true })
  symlinkSync('7', join(folder, 'store', 'current'))
  mkdirSync(join(folder, 'audit', 'below'), { recursive: true })
  for (const [name, size] of [
    ['store/7/store.db', 1],
    ['store/7/store.db-wal', 20],
    ['audit.db', 300],
    ['audit.db-wal', 4_000],
    ['audit/a.gz', 50_000],
    ['audit/below/b.gz', 600_000],
    ['other', 9],
  ] as const) {
    writeFileSync(join(folder, name), Buffer.alloc(size))
  }
  t.deepEqual(stateSizes(folder), { store: { db: 1, wal: 20 }, audit: { db: 300, wal: 4_000, archive: 650_000 } })
  t.is(sizeBelow(join(folder, 'absent')), 0)
})

test('free is what others than root may write, in bytes', t => {
  const { statfsSync } = fs
  // Of the blocks that are free, root keeps some.
  Object.assign(fs, { statfsSync: () => ({ bavail: 3, bfree: 5, blocks: 9, bsize: 4096 }) })
  syncBuiltinESMExports()
  const free = freeBytes(folder)
  Object.assign(fs, { statfsSync })
  syncBuiltinESMExports()
  t.is(free, 12_288)
  t.true((freeBytes(folder) ?? 0) > 0)
  t.is(freeBytes(join(folder, 'absent')), undefined)
})
