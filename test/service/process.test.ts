// This process: the rights of root come back after work as another user, and memory goes back when told.

import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { actAs, giveBack, isRoot, ownerOf } from '../../src/service/process.ts'

const folder = mkdtempSync(join(tmpdir(), 'owner-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const rights = () => ({ uid: process.geteuid?.(), gid: process.getegid?.(), groups: process.getgroups?.() })
/** The effective group may or may not be listed among the others. */
const groupsWithout = (gid: number): number[] =>
  (rights().groups ?? []).filter(group => group !== gid).toSorted((a, b) => a - b)

test.serial('work is done with the user, group and groups of the owner, and no others', async t => {
  if (!isRoot()) {
    const before = rights()
    t.deepEqual(
      await actAs({ uid: 65_534, gid: 65_533 }, async () => rights()),
      before,
      'who is not root stays what he is',
    )
    return
  }
  const before = rights()
  chmodSync(folder, 0o700)
  chownSync(folder, 65_534, 65_533)
  const owner = ownerOf(folder)
  t.deepEqual(owner, { uid: 65_534, gid: 65_533 })
  await actAs(owner, async () => {
    t.like(rights(), { uid: 65_534, gid: 65_533 })
    t.deepEqual(groupsWithout(65_533), [], "root's groups are left behind")
    t.false(isRoot())
    writeFileSync(join(folder, 'made'), '')
    t.throws(() => chownSync(join(folder, 'made'), 0, 0), { code: 'EPERM' })
  })
  t.deepEqual(rights(), before)
  t.like(statSync(join(folder, 'made')), { uid: 65_534, gid: 65_533 })
  await actAs({ ...owner, groups: [65_533, 7, 9] }, async () => t.deepEqual(groupsWithout(65_533), [7, 9]))
  const broken = new Error('broken')
  await t.throwsAsync(
    actAs(owner, () => Promise.reject(broken)),
    { is: broken },
  )
  t.deepEqual(rights(), before, 'also after an error')
  t.deepEqual(await actAs({ uid: 0, gid: 65_533 }, async () => rights()), before, "what is root's is done as root")
})

test.serial('a folder that is not there has no owner', t => {
  t.throws(() => ownerOf(join(folder, 'absent')), { code: 'ENOENT' })
})

const ROOT = resolve(import.meta.dirname, '../..')
const SOURCE = 'const twice = n => n * 2; twice(21)'

/** Whether a process with these flags takes code that was compiled by one without, after it has run `before`. */
const takesCode = (t: ExecutionContext, flags: readonly string[], before = ''): boolean => {
  const heap = mkdtempSync(join(tmpdir(), 'heap-'))
  t.teardown(() => rmSync(heap, { recursive: true }))
  const file = join(heap, 'code')
  const made = `require('node:fs').writeFileSync(process.argv[1], new (require('node:vm').Script)(process.argv[2]).createCachedData())`
  t.is(spawnSync(process.execPath, ['-e', made, file, SOURCE]).status, 0)
  const program = join(heap, 'take.mjs')
  writeFileSync(
    program,
    `${before}
    import { readFileSync } from 'node:fs'
    import { Script } from 'node:vm'
    const { cachedDataRejected } = new Script(${JSON.stringify(SOURCE)}, { cachedData: readFileSync(${JSON.stringify(file)}) })
    console.log(cachedDataRejected)`,
  )
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, program], { encoding: 'utf8' })
  t.regex(stdout, /^(true|false)\n$/, stderr)
  return stdout === 'false\n'
}

test("no flag of the daemon's unit makes V8 compile Node's own code again", t => {
  const unit = readFileSync(join(ROOT, 'systemd/ghconnectd.service'), 'utf8')
  const [, flags = ''] = /^ExecStart=\S+\/node (.*) \S+\.cjs$/m.exec(unit) ?? []
  t.regex(flags, /--max-old-space-size=\d+/)
  t.true(takesCode(t, flags.split(' ')))
  t.false(takesCode(t, ['--heap-growing-percent=40']), 'where one does, it shows here')
})

test('V8 takes the flags of a daemon that has started', t => {
  const source = join(ROOT, 'src/service/process.ts')
  t.false(takesCode(t, [], `const { settleHeap } = await import(${JSON.stringify(source)}); settleHeap();`))
})

test('memory that is given back is gone at once', t => {
  const before = process.memoryUsage().arrayBuffers
  const bytes = Buffer.allocUnsafeSlow(2 ** 24)
  t.true(process.memoryUsage().arrayBuffers >= before + 2 ** 24)
  giveBack(bytes)
  t.is(bytes.length, 0)
  t.true(process.memoryUsage().arrayBuffers < before + 2 ** 24)
})

test('bytes in memory that Node shares between buffers stay', t => {
  const [one, other] = [Buffer.from('one'), Buffer.from('other')]
  const large = Buffer.from('x'.repeat((Buffer.poolSize >>> 1) - 1))
  for (const bytes of [one, large]) giveBack(bytes)
  t.is(one.toString(), 'one')
  t.is(other.toString(), 'other')
  t.is(large.length, (Buffer.poolSize >>> 1) - 1)
})
