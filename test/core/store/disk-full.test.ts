// A full disk: each write says so, the old content stays and is served, and with space all goes on.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { makeState } from './samples.ts'

test('on a full disk each write fails as disk-full, and nothing is lost', async t => {
  const state = makeState(t)
  // Who is not root becomes it in a namespace of users.
  const namespaces = process.getuid?.() === 0 ? ['--mount'] : ['--mount', '--map-root-user']
  const child = join(import.meta.dirname, 'disk-full.child.ts')
  const { stdout } = await promisify(execFile)('unshare', [...namespaces, process.execPath, child, state])
  const { codes, auditNext, cutShort, whileFull, reopenedFull, reopened, afterwards } = JSON.parse(stdout)
  t.deepEqual(codes, {
    connection: 'disk-full',
    replace: 'disk-full',
    token: 'disk-full',
    fact: 'disk-full',
    audit: 'audit-unavailable',
  })
  t.is(cutShort, 'store-corrupt', 'a store that was cut short has its name, even where the disk is full')
  const { intact, told, next, ...held } = whileFull
  t.is(auditNext, next, 'who cannot write to the log is told to free some space')
  t.is(told, `no space is left for ${state}/audit.db`)
  t.is(
    next,
    `Free some space: \`df -h ${state}\` shows the file system. Nothing was changed. A store that could not be opened is tried again every 15 seconds.`,
  )
  t.deepEqual(held, { key: 'old', generation: 1, token: true, fact: 'old', number: 1, entries: ['1', 'current'] })
  t.true(intact >= 1)
  t.true(['opens', 'disk-full'].includes(reopenedFull), reopenedFull)
  t.deepEqual(reopened, { key: 'old', fact: 'old' })
  t.like(afterwards, { key: 'new', number: 2 })
  t.is(afterwards.audit, intact + 1)
  t.is(afterwards.told, undefined, 'it is found no longer')
})
