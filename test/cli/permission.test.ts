// Sockets that this user may not open. In a file of its own, as it changes the user of the whole process for a moment.

import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { CONNECTED, type Ran, runCli, startDaemon } from './rig.ts'

const NOBODY = 65_534

/** Root opens everything, so that it has to be somebody else meanwhile. */
const asNobody = async (act: () => Promise<Ran>): Promise<Ran> => {
  if (process.geteuid?.() !== 0) return act()
  process.seteuid?.(NOBODY)
  try {
    return await act()
  } finally {
    process.seteuid?.(0)
  }
}

test.serial('the group of administrators is named where the admin socket is closed', async t => {
  const daemon = await startDaemon(t, {})
  await chmod(daemon.folder, 0o755)
  await chmod(join(daemon.folder, 'admin.sock'), 0)
  const ran = await asNobody(() => runCli(['refresh', '--socket', daemon.folder]))
  t.is(ran.code, 77)
  t.regex(ran.stderr, /members of the group ghconnect-admin/)
})

test.serial('status falls back to what everybody may see', async t => {
  const { state, since, meaning, next, version } = CONNECTED
  const brief = { state, since, meaning, next, version }
  const daemon = await startDaemon(t, { 'token GET /v1/status': { body: brief } })
  await chmod(daemon.folder, 0o755)
  await chmod(join(daemon.folder, 'admin.sock'), 0)
  await chmod(join(daemon.folder, 'token.sock'), 0o666)
  const ran = await asNobody(() => runCli(['status', '--json', '--socket', daemon.folder]))
  t.is(ran.code, 0, ran.stderr)
  t.deepEqual(JSON.parse(ran.stdout), brief)
})

test.serial('a socket that was named is the only one that is asked', async t => {
  const daemon = await startDaemon(t, {})
  const path = join(daemon.folder, 'token.sock')
  await chmod(daemon.folder, 0o755)
  await chmod(path, 0)
  const ran = await asNobody(() => runCli(['status', '--socket', path]))
  t.is(ran.code, 77)
  t.regex(ran.stderr, /this user may not open/)
})
