// Work as another user: what is made belongs to it, and the rights of this process come back whatever happens.

import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { actAs, isRoot, ownerOf } from '../../src/service/owner.ts'

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
