// The packaged command line in each state, by root, by a member of ghconnect-admin and by an ordinary user: exit code and whole message of
// each cell, as reviewed in trouble-table.txt. TROUBLE_TABLE=write writes that file again; review what changed in it.

import { execFile } from 'node:child_process'
import { chmodSync, chownSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'ava'
import { type Connection, isLive } from '../../src/protocol/connection.ts'
import { actAsOwner, installApp } from '../../src/sandbox/owner.ts'
import { type Appliance, createAppliance, PROFILE } from '../support/appliance.ts'
import { parseTable, plainText, printTable } from '../support/trouble-table.ts'
import { ageKey } from '../support/age-key.ts'
import { changeConnection, changeStore } from '../support/store-file.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const TABLE = join(import.meta.dirname, 'trouble-table.txt')
const isWriting = process.env['TROUBLE_TABLE'] === 'write'

const COMMANDS = [
  'status',
  'check',
  'token --repo web --permission contents=read',
  'unlock --identity IDENTITY',
  'disable',
  'disable --local',
  'config check',
  'snapshot export --output EXPORT',
  'refresh',
  'explain --user root',
  'keys list',
  'audit --after 999999',
  'enable --organization octo-org --no-wait --without-recovery-key',
] as const

/** Of the group that the package makes; this machine may have none. */
const ADMINS = 64_999

/** Each in front of the command that it runs. */
const CALLERS = {
  root: [],
  admin: ['setpriv', '--reuid=65534', '--regid=65534', `--groups=${ADMINS}`],
  user: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
} as const
type Caller = keyof typeof CALLERS
const callers: readonly Caller[] = ['root', 'admin', 'user']

type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string }

const run = (command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> =>
  new Promise(resolveRun => {
    execFile(command, args, { env, cwd: '/' }, (error, stdout, stderr) => {
      resolveRun({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255, stdout, stderr })
    })
  })

let bundle = ''
let appliance: Appliance
const found = new Map<string, string>()

test.before(async () => {
  bundle = mkdtempSync(join(tmpdir(), 'trouble-table-'))
  const built = await run(process.execPath, [join(ROOT, 'scripts/bundle.ts'), bundle], process.env)
  if (built.code !== 0) throw new Error(built.stderr)
  // A user may write an export there, so that what refuses it is the policy and not the folder.
  chmodSync(bundle, 0o1777)
  // As the package has it.
  cpSync(join(ROOT, 'node_modules/@koromix'), join(bundle, 'node_modules/@koromix'), { recursive: true })
  appliance = await createAppliance({
    entry: join(bundle, 'ghconnectd.cjs'),
    env: { GHCONNECT_MACHINE_ID_FILE: join(bundle, 'machine-id') },
  })
  writeFileSync(join(bundle, 'machine-id'), `${'1'.repeat(32)}\n`)
  // Everybody may look up where the daemon listens; the state folder stays closed.
  chmodSync(appliance.folder, 0o755)
  chmodSync(appliance.configFile, 0o644)
  writeFileSync(join(bundle, 'identity.txt'), readFileSync(join(ROOT, 'test/fixtures/0.1.0/identity.txt')))
  writeFileSync(join(bundle, 'other.txt'), `${ageKey().identity}\n`)
  writeFileSync(join(bundle, 'group'), `${readFileSync('/etc/group', 'utf8')}ghconnect-admin:x:${ADMINS}:\n`)
})

test.after.always(async () => {
  await appliance.close()
  rmSync(bundle, { recursive: true, force: true })
})

const wordsOf = (command: string, caller: Caller): string[] =>
  command.split(' ').map(word => {
    if (word === 'IDENTITY') return join(bundle, 'identity.txt')
    if (word === 'OTHER') return join(bundle, 'other.txt')
    return word === 'EXPORT' ? join(bundle, `export-${caller}`) : word
  })

const cell = async (command: string, caller: Caller): Promise<string> => {
  const program = [...CALLERS[caller], process.execPath, join(bundle, 'ghconnect.cjs'), ...wordsOf(command, caller)]
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    GHCONNECT_CONFIG: appliance.configFile,
    GHCONNECT_SEALED_STORE_KEY: join(bundle, 'credentials', 'store.key'),
    GHCONNECT_MACHINE_ID_FILE: join(bundle, 'machine-id'),
    NODE_COMPILE_CACHE: join(bundle, `cache-${caller}`),
  }
  // Only what runs here sees that the group exists.
  const group = 'mount --bind "$0" /etc/group && exec "$@"'
  const ended = await run('unshare', ['--mount', 'sh', '-c', group, join(bundle, 'group'), ...program], env)
  rmSync(join(bundle, `export-${caller}`), { force: true })
  const places = [
    [appliance.folder, 'FOLDER'],
    [bundle, 'BUNDLE'],
    [new URL(appliance.sandbox.url).host, 'GITHUB'],
  ] as const
  return plainText(ended, places)
}

/** What one caller does is seen by the next. */
const CHANGING = /^(token|refresh|enable)/

/** All cells of a state. Commands that were refused changed nothing, so that they may follow one another. */
const look = async (state: string, commands: readonly string[] = COMMANDS): Promise<void> => {
  for (const command of commands) {
    const texts: string[] = []
    if (CHANGING.test(command)) for (const caller of callers) texts.push(await cell(command, caller))
    else texts.push(...(await Promise.all(callers.map(caller => cell(command, caller)))))
    for (const [at, caller] of callers.entries()) found.set(`${state} | ${caller} | ${command}`, texts[at] ?? '')
  }
}

/** As the package's socket unit has it. */
const start = async (): Promise<void> => {
  await appliance.start()
  const socket = join(appliance.runtime, 'admin.sock')
  chownSync(socket, 0, ADMINS)
  chmodSync(socket, 0o660)
}

/** Puts the connection into a state that takes GitHub's repeated word, or a kill at the wrong moment, to come by. */
const place = async (change: (connection: Connection) => Connection): Promise<void> => {
  await appliance.kill()
  changeStore(appliance, db => changeConnection(db, change))
  await start()
  await appliance.call('POST', '/v1/refresh')
}

const control = async (path: string, body?: unknown): Promise<void> => {
  await appliance.control('POST', path, body)
}

const refreshUntil = async (state: string): Promise<void> => {
  await appliance.call('POST', '/v1/refresh')
  await appliance.until(state)
}

test.serial('no daemon runs', async t => {
  await look('no daemon')
  t.true(found.size > 0)
})

test.serial('on the way to a connection', async t => {
  await start()
  // The last command of each state begins an enable.
  await look('disconnected')
  await appliance.until('awaiting-app')
  await look('awaiting-app')
  const account = { type: 'organization', login: 'octo-org' } as const
  const evidence = 'GitHub answered POST /app-manifests/{code}/conversions with 404: Not Found'
  await place(() => ({ kind: 'key-lost', sinceMs: Date.now(), account, evidence }))
  await look('key-lost')
  const begun = await appliance.call('POST', '/v1/connection', { account })
  await actAsOwner({ formUrl: String(begun.body['url']), account: 'octo-org', stopAfter: 'callback' })
  await appliance.until('awaiting-installation')
  await look('awaiting-installation')
  const { body } = await appliance.call('GET', '/v1/status')
  const page = /https?:\/\/\S+\/installations\/new/.exec(JSON.stringify(body))?.[0] ?? ''
  await installApp({ installUrl: page, account: 'octo-org' })
  await refreshUntil('connected')
  t.pass()
})

test.serial('connected, and what GitHub does to a connection', async t => {
  await look('connected')
  const idOf = async (): Promise<string> =>
    /"id":(\d+)/.exec(JSON.stringify((await appliance.call('GET', '/v1/installations')).body))?.[1] ?? ''
  await control(`installations/${await idOf()}/suspend`)
  await refreshUntil('suspended')
  await look('suspended')
  await control(`installations/${await idOf()}/unsuspend`)
  await refreshUntil('connected')
  await control('faults', { kind: 'ip-block' })
  await refreshUntil('blocked')
  await look('blocked')
  await appliance.control('DELETE', 'faults')
  await refreshUntil('connected')
  await control('faults', { kind: 'outage' })
  await appliance.call('POST', '/v1/refresh')
  await look('connected, GitHub has an outage')
  await appliance.control('DELETE', 'faults')
  await refreshUntil('connected')
  await control(`installations/${await idOf()}/uninstall`)
  await refreshUntil('uninstalled')
  await look('uninstalled')
  await control('installations', { app: 'appliance-test', account: 'octo-org' })
  await refreshUntil('connected')
  t.pass()
})

const gone = (kind: 'app-deleted' | 'key-rejected', evidence: string) => (connection: Connection) => {
  if (!isLive(connection)) throw new Error(`no App in ${connection.kind}`)
  const { app, account, host, enabledAtMs } = connection
  return { kind, sinceMs: Date.now(), evidence, app, account, host, enabledAtMs } as const
}

test.serial('what takes GitHub to say it for a while', async t => {
  await control('apps/appliance-test/revoke-keys', {})
  await place(
    gone('key-rejected', 'GitHub answered GET /app with 401: A JSON web token could not be decoded (request 0:0)'),
  )
  await look('key-rejected')
  await control('apps/appliance-test/restore')
  await refreshUntil('connected')
  const { body } = await appliance.call('GET', '/v1/status')
  const id = /"app":\{"id":(\d+)/.exec(JSON.stringify(body))?.[1] ?? ''
  await control(`apps/${id}/delete`)
  await place(gone('app-deleted', 'GitHub answered GET /app with 404: Integration not found (request 0:0)'))
  await look('app-deleted')
  await control(`apps/${id}/restore`)
  await refreshUntil('connected')
  t.pass()
})

test.serial('what happens to the machine', async t => {
  await appliance.kill()
  const key = join(appliance.folder, 'store.key')
  const held = readFileSync(key)
  writeFileSync(key, Buffer.alloc(32, 7))
  await start()
  await look('locked, without a recovery key')
  await appliance.kill()
  writeFileSync(key, held)
  await start()
  const { recipient } = ageKey()
  await appliance.call('POST', '/v1/recovery-keys', { recipient })
  await appliance.kill()
  writeFileSync(key, Buffer.alloc(32, 7))
  await start()
  await look('locked')
  await appliance.kill()
  writeFileSync(key, held)
  appliance.configure(`${PROFILE}[proxy]\nurl = "gopher://x"\n`)
  await look('misconfigured')
  appliance.configure(PROFILE)
  chmodSync(appliance.configFile, 0o644)
  writeFileSync(
    appliance.configFile,
    readFileSync(appliance.configFile, 'utf8').replace('appliance.test', 'copy.example.com'),
  )
  writeFileSync(join(bundle, 'machine-id'), `${'2'.repeat(32)}\n`)
  await start()
  await appliance.until('quarantined')
  await look('quarantined')
  t.pass()
})

test.serial('on the way out of a connection', async t => {
  await appliance.kill()
  writeFileSync(join(bundle, 'machine-id'), `${'1'.repeat(32)}\n`)
  appliance.configure(PROFILE)
  await start()
  await appliance.call('POST', '/v1/adopt')
  await refreshUntil('connected')
  await appliance.call('DELETE', '/v1/connection')
  await appliance.until('disconnecting')
  await look('disconnecting')
  await appliance.call('DELETE', '/v1/connection?wait=false')
  await appliance.until('disconnected')
  const sealed = readFileSync(join(ROOT, 'test/fixtures/0.1.0/sealed.bundle')).toString('base64')
  await appliance.call('POST', '/v1/snapshots/restore', { bundle: sealed })
  await appliance.until('awaiting-unlock')
  // The other one opens it.
  await look(
    'awaiting-unlock',
    COMMANDS.map(command => command.replace('IDENTITY', 'OTHER')),
  )
  t.pass()
})

test.serial('each cell is as it was reviewed', t => {
  if (isWriting) writeFileSync(TABLE, printTable(found))
  const reviewed = parseTable(readFileSync(TABLE, 'utf8'))
  t.deepEqual([...found.keys()].toSorted(), [...reviewed.keys()].toSorted())
  for (const [name, text] of reviewed) t.is(found.get(name), text, name)
})
