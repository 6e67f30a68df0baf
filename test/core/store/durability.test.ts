// Power that fails: whatever was not synced is lost, and the store still opens, with what was acknowledged. What is shredded is gone from the disk.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { writeDurably } from '../../../src/service/files.ts'
import { createAuditArchive } from '../../../src/core/audit/audit-archive.ts'
import { chainEvent, type Link } from '../../../src/core/audit/audit-chain.ts'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openStore, type Store } from '../../../src/core/store/database.ts'
import { createFakeLog } from '../../support/fakes.ts'
import { recordDisk } from '../../support/recorded-disk.ts'
import { CONNECTED, codeOf, keyNamed, makeState, modeOf, openFilesBelow, silentLog, STORE_KEY } from './samples.ts'

const open = (folder: string): Store => openStore({ folder, storeKey: STORE_KEY, log: silentLog })

/** The layer is the process's: one test after the other. */
const recorded = (t: ExecutionContext) => {
  const folder = join(makeState(t), 'store')
  mkdirSync(folder)
  const disk = recordDisk(folder)
  t.teardown(disk.release)
  const crash = (): string => {
    const after = join(makeState(t), 'store')
    mkdirSync(after)
    disk.crash(after)
    return after
  }
  return { folder, disk, crash }
}

const connect = (folder: string): Store => {
  const store = open(folder)
  store.connection.write({ connection: CONNECTED, keys: [keyNamed('old')], newGeneration: true })
  return store
}

const heldBy = (folder: string): string => {
  const store = open(folder)
  const { connection, keys } = store.connection.read()
  store.close()
  return `${connection.kind} ${keys[0]?.fingerprint ?? 'without a key'}`
}

test.serial('a first store that was acknowledged is there after the power failed', t => {
  const { folder, crash } = recorded(t)
  open(folder).close()
  t.is(heldBy(crash()), 'disconnected without a key')
})

test.serial('a replacement that was acknowledged is there after the power failed', t => {
  const { folder, crash } = recorded(t)
  const store = connect(folder)
  store.replace({ keys: [keyNamed('new')], newGeneration: true })
  t.is(heldBy(crash()), 'connected new')
  store.replace({ connection: { kind: 'disconnected', sinceMs: Date.UTC(2026, 0) }, keys: [] })
  t.is(heldBy(crash()), 'disconnected without a key')
  store.close()
})

test.serial(
  'power that fails before any step of a replacement leaves a store that opens: the old one, then the new one',
  t => {
    const { folder, disk, crash } = recorded(t)
    // Nothing of it is in the write-ahead log, of which SQLite takes care itself.
    connect(folder).close()
    const store = open(folder)
    store.replace({ keys: [keyNamed('old')] })
    const images: string[] = []
    disk.onChange(() => images.push(crash()))
    store.replace({ keys: [keyNamed('new')], newGeneration: true })
    disk.onChange(() => {})
    store.close()
    const seen = images.map(heldBy)
    t.true(seen.length > 10)
    t.deepEqual([...new Set(seen)], ['connected old', 'connected new'])
  },
)

test.serial('a file that is written durably has its content before it has its name', t => {
  const { folder, disk, crash } = recorded(t)
  writeDurably(join(folder, 'file'), 'content', 0o600)
  t.is(readFileSync(join(crash(), 'file'), 'utf8'), 'content')
  t.deepEqual(
    disk.changes.map(change => change.replaceAll(/\.file\.\d+\.new/g, 'beside')),
    ['write beside', 'fsync beside', 'rename beside file', 'fsync .'],
  )
})

test.serial(
  'the keys of a store that is over are overwritten on the disk, then removed from it, before anything else goes',
  t => {
    const { folder, disk } = recorded(t)
    const store = connect(folder)
    store.putRecoveryWrap(Buffer.from('wrap'))
    const from = disk.changes.length
    store.replace({ connection: { kind: 'disconnected', sinceMs: Date.UTC(2026, 0) }, keys: [] })
    store.close()
    const shredded = disk.changes.slice(from).filter(change => / 1(\/|$)/.test(change))
    t.deepEqual(shredded, [
      'zero 1/key',
      'fsync 1/key',
      'rm 1/key',
      'zero 1/key.age',
      'fsync 1/key.age',
      'rm 1/key.age',
      'fsync 1',
      'rm 1',
    ])
    // The new one is current on the disk before that.
    const swapped = disk.changes.indexOf('rename .new-current current', from)
    t.is(disk.changes[swapped + 1], 'fsync .')
    // And the name that it points to is there before it points there.
    t.is(disk.changes[disk.changes.indexOf('rename .new-2 2', from) + 1], 'fsync .')
    t.true(swapped < disk.changes.indexOf('zero 1/key'))
  },
)

test.serial('a key that a kill left in an unfinished folder is overwritten, too', t => {
  const { folder, disk } = recorded(t)
  open(folder).close()
  mkdirSync(join(folder, '.new-2'))
  writeFileSync(join(folder, '.new-2', '.key.7.new'), 'half a key')
  open(folder).close()
  t.true(disk.changes.includes('zero .new-2/.key.7.new'))
  t.true(disk.changes.includes('fsync .new-2'))
  t.false(existsSync(join(folder, '.new-2')))
})

for (const [name, step] of [
  ['the rename that makes it current', /^rename \.new-current current$/],
  ['the sync of the new folder', /^fsync \.new-2$/],
  ['the rename of the new folder', /^rename \.new-2 2$/],
  ['the sync of its key', /^fsync \.new-2\/\.key/],
] as const) {
  test.serial(`a replacement in which ${name} fails leaves the old store, and nothing of the new one`, t => {
    const { folder, disk, crash } = recorded(t)
    const store = connect(folder)
    disk.failAt(step)
    t.is(
      codeOf(() => store.replace({ keys: [keyNamed('new')], newGeneration: true })),
      'io',
    )
    t.deepEqual(
      openFilesBelow(folder).filter(path => !path.startsWith('1/')),
      [],
    )
    t.is(store.connection.read().keys[0]?.fingerprint, 'old')
    t.is(store.connection.write({ newGeneration: true }).generation, 2)
    t.is(readlinkSync(join(folder, 'current')), '1')
    t.deepEqual(
      readdirSync(folder).filter(entry => /\d/.test(entry)),
      ['1'],
    )
    t.is(readlinkSync(join(crash(), 'current')), '1')
    store.replace({ keys: [keyNamed('later')] })
    store.close()
    t.is(heldBy(folder), 'connected later')
  })
}

test.serial('a replacement whose swap does not get to the disk is taken back', t => {
  const { folder, disk } = recorded(t)
  const store = connect(folder)
  disk.onChange(change => {
    if (change === 'rename .new-current current') disk.failAt(/^fsync \.$/)
  })
  t.is(
    codeOf(() => store.replace({ keys: [keyNamed('new')], newGeneration: true })),
    'io',
  )
  t.is(readlinkSync(join(folder, 'current')), '1')
  t.is(disk.changes.at(-1)?.startsWith('zero 2/') || disk.changes.includes('rm 2'), true)
  t.is(store.connection.read().keys[0]?.fingerprint, 'old')
  store.close()
  t.is(heldBy(folder), 'connected old')
})

test.serial('a recovery wrap is on the disk when it is acknowledged, for its owner alone', t => {
  const { folder, crash } = recorded(t)
  const store = open(folder)
  store.putRecoveryWrap(Buffer.from('wrap'))
  t.is(modeOf(join(folder, '1/key.age')), '600')
  t.is(readFileSync(join(crash(), '1/key.age'), 'utf8'), 'wrap')
  store.close()
})

test.serial('folders that somebody opened to others are closed at the next start', t => {
  const folder = join(makeState(t), 'store')
  open(folder).close()
  chmodSync(folder, 0o755)
  open(folder).close()
  t.is(modeOf(folder), '700')
})

test.serial('a file of the audit archive has its name, and the folders that lead to it, before rows go into it', t => {
  const { folder, crash } = recorded(t)
  const databaseKey = 'a1'.repeat(32)
  const beginning: Link = { sequence: 0, hash: '0'.repeat(64) }
  const first = chainEvent({ event: 'token.grant', atMs: 1 }, beginning)
  const second = chainEvent({ event: 'token.grant', atMs: 2 }, first)
  const openIn = (place: string) => createAuditArchive({ folder: join(place, 'audit'), databaseKey, rowsPerFile: 1 })
  const archive = openIn(folder)
  archive.append([first], beginning)
  const one = openIn(crash())
  t.deepEqual(one.anchor(), beginning)
  t.is(one.findOldest(), undefined)
  archive.append([second], first)
  const two = openIn(crash())
  t.is(two.findOldest()?.first, 1, 'and there is another one')
  for (const each of [archive, one, two]) each.close()
})

test.serial('a file of the audit archive that was dropped does not come back after the power failed', t => {
  const { folder, crash } = recorded(t)
  const databaseKey = 'a1'.repeat(32)
  let from: Link = { sequence: 0, hash: '0'.repeat(64) }
  const openIn = (place: string) => createAuditArchive({ folder: join(place, 'audit'), databaseKey, rowsPerFile: 1 })
  const archive = openIn(folder)
  for (let at = 1; at <= 2; at++) {
    const row = chainEvent({ event: 'token.grant', atMs: at }, from)
    archive.append([row], from)
    from = row
  }
  const oldest = archive.findOldest()
  if (oldest) archive.drop(oldest)
  const after = openIn(crash())
  t.is(after.anchor()?.sequence, 1)
  for (const each of [archive, after]) each.close()
})

test.serial('a former store that cannot be removed does no harm: it is told, and the next start tries again', t => {
  const { folder, disk } = recorded(t)
  connect(folder).close()
  const log = createFakeLog()
  const store = openStore({ folder, storeKey: STORE_KEY, log })
  disk.failAt(/^zero 1\/key$/)
  store.replace({ keys: [keyNamed('new')] })
  t.is(store.connection.read().keys[0]?.fingerprint, 'new')
  store.close()
  t.like(log.lines, [
    {
      level: 'error',
      message: 'a former store could not be removed',
      fields: { folder: join(folder, '1'), error: { message: 'EIO: i/o error' } },
    },
  ])
  t.true(existsSync(join(folder, '1')))
  t.is(heldBy(folder), 'connected new')
  t.false(existsSync(join(folder, '1')))
})

test.serial('a link that stands in place of a key is removed, and what it leads to stays as it is', t => {
  const { folder } = recorded(t)
  open(folder).close()
  const elsewhere = join(makeState(t), 'elsewhere')
  writeFileSync(elsewhere, 'not ours')
  mkdirSync(join(folder, '.new-2'))
  symlinkSync(elsewhere, join(folder, '.new-2', 'key.age'))
  open(folder).close()
  t.is(readFileSync(elsewhere, 'utf8'), 'not ours')
  t.deepEqual(readdirSync(folder).toSorted(), ['1', 'current'])
})

const openLog = (folder: string) => openAudit({ path: join(folder, 'audit.db'), storeKey: STORE_KEY, log: silentLog })

test.serial('a log that was begun is the same one after the power failed', t => {
  const { folder, crash } = recorded(t)
  const audit = openLog(folder)
  const after = openLog(crash())
  t.is(after.databaseKey(), audit.databaseKey())
  t.is(after.append({ event: 'first', atMs: 1 }).sequence, 1)
  for (const each of [audit, after]) each.close()
})

test.serial('a log whose key cannot be written is not begun, and leaves nothing', t => {
  const { folder, disk } = recorded(t)
  disk.failAt(/^rename \.audit\.key\..* audit\.key$/)
  t.is(
    codeOf(() => openLog(folder)),
    'io',
  )
  t.deepEqual(readdirSync(folder), [])
  openLog(folder).close()
  t.deepEqual(readdirSync(folder).toSorted(), ['audit.db', 'audit.key'])
})
