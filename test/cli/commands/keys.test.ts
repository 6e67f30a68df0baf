// `ghconnect keys`: what is shown, what is sent, and what is said of the file that the key came in.

import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import test from 'ava'
import { toProblem, Failure } from '../../../src/protocol/errors.ts'
import { CONNECTED, runCli, startDaemon } from '../rig.ts'

const OLD = `SHA256:${'a'.repeat(43)}=`
const NEW = `SHA256:${'b/+'.repeat(14)}b=`
const keys = [
  { fingerprint: NEW, added_at: '2026-07-11T11:59:00.000Z', signs: true, state: 'works' },
  { fingerprint: OLD, added_at: '2026-07-01T12:00:00.000Z', signs: false, state: 'unknown' },
]
const PAGE = 'https://github.com/organizations/octo-org/settings/apps/octo-app'

test('keys list shows which key signs, and what GitHub said of each', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/keys': { body: { keys } } })
  const ran = await runCli(['keys', 'list', '--socket', daemon.folder])
  t.is(ran.code, 0, ran.stderr)
  t.regex(ran.stdout, /^FINGERPRINT +USE +GITHUB +ADDED$/m)
  t.true(ran.stdout.includes(`${NEW}  signs     works          2026-07-11 11:59 UTC (1 min ago)`))
  t.true(ran.stdout.includes(`${OLD}  fallback  not asked yet  2026-07-01 12:00 UTC (10 days ago)`))
  const json = await runCli(['keys', 'list', '--json', '--socket', daemon.folder])
  t.deepEqual(JSON.parse(json.stdout), { keys })
})

test('keys add sends the key, warns where others can read the file, and says how to be rid of it', async t => {
  const daemon = await startDaemon(t, { 'POST /v1/keys': { body: { added: NEW, already_held: false, keys } } })
  const file = join(daemon.folder, 'new.pem')
  await writeFile(file, 'the key')
  await chmod(file, 0o644)
  const ran = await runCli(['keys', 'add', file, '--socket', daemon.folder])
  t.is(ran.code, 0, ran.stderr)
  t.true(ran.stderr.includes(`${file} has mode 0644`))
  t.true(ran.stdout.startsWith(`${NEW} signs now.\n`))
  t.true(ran.stdout.includes(`shred -u ${file}`))
  t.true(ran.stdout.includes('ghconnect keys retire'))
  t.deepEqual(daemon.requestsTo('POST /v1/keys')[0]?.body, { private_key: 'the key' })
  await chmod(file, 0o600)
  t.is((await runCli(['keys', 'add', file, '--socket', daemon.folder])).stderr, '')
})

test('keys add reads standard input, and says where a key is held already', async t => {
  const daemon = await startDaemon(t, { 'POST /v1/keys': { body: { added: OLD, already_held: true, keys } } })
  const stdin = new PassThrough().end('piped')
  const ran = await runCli(['keys', 'add', '-', '--socket', daemon.folder], { stdin })
  t.true(ran.stdout.startsWith(`${OLD} is held already.\n`))
  t.false(ran.stdout.includes('shred'))
  t.deepEqual(daemon.requestsTo('POST /v1/keys')[0]?.body, { private_key: 'piped' })
})

test('a file that is not there, is empty or no key of any App ends with the exit code of the problem', async t => {
  const problem = toProblem(new Failure('too-many-keys', 'two are held'))
  const daemon = await startDaemon(t, {
    'POST /v1/keys': { status: 409, type: 'application/problem+json', body: problem },
  })
  const file = join(daemon.folder, 'new.pem')
  t.is((await runCli(['keys', 'add', file, '--socket', daemon.folder])).code, 74)
  await writeFile(file, '')
  t.is((await runCli(['keys', 'add', file, '--socket', daemon.folder])).code, 65)
  t.is((await runCli(['keys', 'add', '--socket', daemon.folder])).code, 64)
  await writeFile(file, 'a key', { mode: 0o600 })
  const ran = await runCli(['keys', 'add', file, '--socket', daemon.folder])
  t.is(ran.code, 65)
  t.true(ran.stderr.includes('keys retire'))
})

test('keys retire names what to delete, where, and passes the fingerprint on', async t => {
  const body = { retired: [OLD], keys: keys.slice(0, 1), delete_on_github: PAGE }
  const held = [OLD, NEW].map(fingerprint => ({ fingerprint, added_at: '2026-07-08T11:00:00.000Z' }))
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: { ...CONNECTED, keys: held } },
    'DELETE /v1/keys': { body },
  })
  const unasked = await runCli(['keys', 'retire', '--socket', daemon.folder])
  t.is(unasked.code, 64)
  t.is(daemon.requestsTo('DELETE').length, 0)
  const ran = await runCli(['keys', 'retire', '--yes', '--socket', daemon.folder])
  t.is(ran.code, 0, ran.stderr)
  t.true(ran.stdout.includes(`${OLD} is held no more.`))
  t.true(ran.stdout.includes(PAGE))
  await runCli(['keys', 'retire', '--fingerprint', NEW, '--yes', '--json', '--socket', daemon.folder])
  const sent = new URL(daemon.requestsTo('DELETE /v1/keys').at(-1)?.path ?? '', 'http://localhost')
  t.is(sent.searchParams.get('fingerprint'), NEW)
})

test('keys retire with one key says that it stays', async t => {
  const body = { retired: [], keys: keys.slice(0, 1), delete_on_github: PAGE }
  const daemon = await startDaemon(t, { 'GET /v1/status': { body: CONNECTED }, 'DELETE /v1/keys': { body } })
  const ran = await runCli(['keys', 'retire', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.true(ran.stdout.includes('nothing to retire'))
})
