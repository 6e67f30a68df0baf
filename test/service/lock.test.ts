import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { lockStateFolder } from '../../src/service/lock.ts'

const makeFolder = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'lock-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** The listing itself has one that is closed by then. */
const linkOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** A process of its own that holds the lock until it is killed. */
const spawnHolder = async (t: ExecutionContext, folder: string) => {
  const room = join(import.meta.dirname, '../../src/service/lock.ts')
  const code = `
    import { lockStateFolder } from ${JSON.stringify(room)}
    lockStateFolder(${JSON.stringify(folder)})
    process.title = 'ghconnectd'
    console.log('held')
    setInterval(() => {}, 1e6)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

test('the lock names its holder in a file for the owner alone, and can be had again', t => {
  const folder = makeFolder(t)
  const lock = lockStateFolder(folder)
  t.is(statSync(join(folder, 'lock')).mode & 0o777, 0o600)
  t.is(Number(readFileSync(join(folder, 'lock'), 'utf8')), process.pid)
  t.throws(() => lockStateFolder(folder), { code: 'state-in-use' })
  lock.release()
  t.notThrows(() => lock.release())
  lockStateFolder(folder).release()
})

test('a second process is refused and told who holds the folder', async t => {
  const folder = makeFolder(t)
  const child = await spawnHolder(t, folder)
  t.throws(() => lockStateFolder(folder), {
    code: 'state-in-use',
    message: `${folder} is held by process ${child.pid} (ghconnectd)`,
  })
})

test('a holder that is killed holds nothing, and a stale pid means nothing', async t => {
  const folder = makeFolder(t)
  const child = await spawnHolder(t, folder)
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.is(Number(readFileSync(join(folder, 'lock'), 'utf8')), child.pid ?? 0)
  lockStateFolder(folder).release()
  t.is(Number(readFileSync(join(folder, 'lock'), 'utf8')), process.pid)
})

test('a longer pid that stood there leaves nothing behind, and one that is none is not told', t => {
  const folder = makeFolder(t)
  const file = join(folder, 'lock')
  writeFileSync(file, '4194303\n')
  const lock = lockStateFolder(folder)
  t.teardown(() => lock.release())
  t.is(readFileSync(file, 'utf8').trim(), String(process.pid))
  writeFileSync(file, 'nonsense')
  t.throws(() => lockStateFolder(folder), { message: `${folder} is held by another process` })
})

test('whoever is refused keeps no descriptor, and a link is not followed', t => {
  const folder = makeFolder(t)
  const lock = lockStateFolder(folder)
  t.teardown(() => lock.release())
  const opened = (): number =>
    readdirSync('/proc/self/fd').filter(name => linkOf(`/proc/self/fd/${name}`) === join(folder, 'lock')).length
  t.is(opened(), 1)
  t.throws(() => lockStateFolder(folder), { code: 'state-in-use' })
  t.is(opened(), 1)
  const other = makeFolder(t)
  symlinkSync(join(folder, 'lock'), join(other, 'lock'))
  t.throws(() => lockStateFolder(other), { code: 'io' })
})

test('a folder that is not there is an error of the disk', t => {
  t.throws(() => lockStateFolder(join(makeFolder(t), 'absent')), { code: 'io' })
})
