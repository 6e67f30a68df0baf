// The installed package on a booted systemd, in each state: what an administrator types first, by root, by a member of ghconnect-admin and by
// an ordinary user. Whole messages as reviewed in booted-table.txt; TROUBLE_TABLE=write writes that file again. A long run: scripts/night.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { bootedTest, buildPackage, canBoot, CONFIG, createInstalled, type Installed } from '../support/installed.ts'
import { SOURCES } from '../support/booted.ts'
import { parseTable, plainText, printTable } from '../support/trouble-table.ts'
import { ageKey } from '../support/age-key.ts'

const TABLE = join(import.meta.dirname, 'booted-table.txt')
const IDENTITY = `${SOURCES}/test/fixtures/0.1.0/identity.txt`
/** That opens nothing here. */
const OTHER = '/tmp/other-identity.txt'
const COMMANDS = [
  'status',
  'check',
  'token --repo web --permission contents=read',
  `unlock --identity ${IDENTITY}`,
  'disable',
  'config check',
  'snapshot export --output EXPORT',
]
/** In the group by its own login; `alice` is of the policy, `mallory` is nobody. */
const CALLERS = { root: 'root', admin: 'carol', user: 'mallory' } as const

const found = new Map<string, string>()
let machine: Installed

test.before(async () => {
  if (!canBoot) return
  const built = buildPackage('booted-table')
  machine = await createInstalled('booted-table')
  await machine.install(await built)
  await machine.run('useradd -m -G ghconnect-admin carol')
  await machine.startSandbox()
  await machine.configure(CONFIG)
  await machine.run('systemctl restart ghconnectd')
})
test.after.always(() => machine?.stop())

/** Command by command: what root's export leaves is not seen in a check. */
const look = async (state: string, commands: readonly string[] = COMMANDS): Promise<void> => {
  for (const command of commands) {
    const cells = Object.entries(CALLERS).map(async ([caller, login]) => {
      const typed = command.replace('EXPORT', `/tmp/export-${caller}`).replace('OTHER', OTHER)
      const ended = await machine.attemptAs(login, `ghconnect ${typed} </dev/null`)
      return [`${state} | ${caller} | ${command}`, plainText(ended, [['127.0.0.1:8471', 'GITHUB']])] as const
    })
    for (const [name, text] of await Promise.all(cells)) found.set(name, text)
  }
}

const sandbox = (path: string, body = '{}', method = 'POST'): Promise<string> =>
  machine.run(
    `curl -sf -X ${method} -H 'content-type: application/json' -d '${body}' http://127.0.0.1:8471/_sandbox/${path} >/dev/null`,
  )

/** Gives the link. */
const begin = async (): Promise<string> =>
  String(
    (await machine.call('POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } }))['url'],
  )

const asOwner = (act: string): Promise<string> =>
  machine.run(`/usr/lib/ghconnectd/node --disable-warning=ExperimentalWarning --input-type=module -e "
    import { actAsOwner, installApp } from '${SOURCES}/src/sandbox/owner.ts'
    await ${act}"`)

const refreshUntil = async (state: string): Promise<void> => {
  await machine.attempt('ghconnect refresh')
  await machine.until(state)
}

/** As if GitHub had said it for a while, or a kill had come at the wrong moment. */
const place = async (kind: string, evidence = ''): Promise<void> => {
  await machine.run(`key=$(ghconnect store-key 2>/dev/null)
    systemctl stop ghconnectd.service
    echo "$key" | setpriv --reuid=ghconnectd --regid=ghconnectd --clear-groups /usr/lib/ghconnectd/node \
      --disable-warning=ExperimentalWarning ${SOURCES}/test/support/booted-states.ts ${kind} '${evidence}'
    systemctl start ghconnectd.service`)
  await machine.attempt('ghconnect refresh')
}

bootedTest('on the way to a connection, and in it', async t => {
  await look('disconnected')
  await begin()
  await look('awaiting-app')
  await place('key-lost', 'GitHub answered POST /app-manifests/{code}/conversions with 404: Not Found')
  await look('key-lost')
  await asOwner(`actAsOwner({ formUrl: '${await begin()}', account: 'octo-org', stopAfter: 'callback' })`)
  await machine.until('awaiting-installation')
  await look('awaiting-installation')
  const page = /http:\S+\/installations\/new/.exec(String((await machine.call('GET', '/v1/status'))['next']))?.[0]
  await asOwner(`installApp({ installUrl: '${page}', account: 'octo-org' })`)
  await refreshUntil('connected')
  await look('connected')
  t.true(found.size > 0)
})

bootedTest('what GitHub does to a connection', async t => {
  const installation = async (): Promise<string> =>
    /"id":(\d+)/.exec(JSON.stringify(await machine.call('GET', '/v1/installations')))?.[1] ?? ''
  await sandbox(`installations/${await installation()}/suspend`)
  await refreshUntil('suspended')
  await look('suspended')
  await sandbox(`installations/${await installation()}/unsuspend`)
  await refreshUntil('connected')
  await sandbox('faults', '{"kind":"ip-block"}')
  await refreshUntil('blocked')
  await look('blocked')
  await sandbox('faults', '{}', 'DELETE')
  await refreshUntil('connected')
  const app = /"app":\{"id":(\d+)/.exec(JSON.stringify(await machine.call('GET', '/v1/status')))?.[1] ?? ''
  await sandbox(`apps/${app}/revoke-keys`)
  await place('key-rejected', 'GitHub answered GET /app with 401: A JSON web token could not be decoded (request 0:0)')
  await look('key-rejected')
  await sandbox(`apps/${app}/restore`)
  await refreshUntil('connected')
  await sandbox(`installations/${await installation()}/uninstall`)
  await refreshUntil('uninstalled')
  await look('uninstalled')
  await sandbox('installations', `{"app":${app},"account":"octo-org"}`)
  await refreshUntil('connected')
  await sandbox(`apps/${app}/delete`)
  await place('app-deleted', 'GitHub answered GET /app with 404: Integration not found (request 0:0)')
  await look('app-deleted')
  await sandbox(`apps/${app}/restore`)
  await refreshUntil('connected')
  t.pass()
})

bootedTest('what happens to the machine, and on the way out', async t => {
  const sealed = '/etc/ghconnectd/credentials/store.key'
  await machine.run(`mv ${sealed} /root/; systemctl restart ghconnectd`)
  await machine.until('locked')
  await look('locked')
  await machine.run(`mv /root/store.key ${sealed}; systemctl restart ghconnectd`)
  await machine.until('connected')
  await machine.configure(`${CONFIG}[proxy]\nurl = "gopher://x"\n`)
  await machine.attempt('systemctl restart ghconnectd; systemctl stop ghconnectd')
  await look('misconfigured')
  await machine.configure(CONFIG)
  await machine.run('systemctl reset-failed; systemctl start ghconnectd.service')
  await machine.until('connected')
  // The same disk on another machine.
  await machine.configure(CONFIG.replace('appliance.test', 'copy.example.com'))
  await machine.run(`mkdir -p /run/systemd/system/ghconnectd.service.d
    printf '[Service]\\nEnvironment=GHCONNECT_MACHINE_ID_FILE=/etc/ghconnectd/machine-id\\n' >/run/systemd/system/ghconnectd.service.d/moved.conf
    echo ${'2'.repeat(32)} >/etc/ghconnectd/machine-id
    systemctl daemon-reload; systemctl restart ghconnectd`)
  await machine.until('quarantined')
  await look('quarantined')
  await machine.configure(CONFIG)
  await machine.run(`rm -r /run/systemd/system/ghconnectd.service.d
    systemctl daemon-reload; systemctl restart ghconnectd; ghconnect adopt`)
  await refreshUntil('connected')
  await machine.call('DELETE', '/v1/connection')
  await look('disconnecting')
  await machine.call('DELETE', '/v1/connection?wait=false')
  await machine.run('systemctl stop ghconnectd.service ghconnectd.socket ghconnectd-admin.socket')
  await look('stopped')
  await machine.run('systemctl start ghconnectd.socket ghconnectd-admin.socket ghconnectd.service')
  await machine.until('disconnected')
  const { identity } = ageKey()
  await machine.run(`echo ${identity} >${OTHER}
    ghconnect snapshot restore --input ${SOURCES}/test/fixtures/0.1.0/sealed.bundle || [ $? = 65 ]`)
  await machine.until('awaiting-unlock')
  await look(
    'awaiting-unlock',
    COMMANDS.map(command => command.replace(IDENTITY, 'OTHER')),
  )
  t.pass()
})

bootedTest('each cell of the booted table is as it was reviewed', t => {
  if (process.env['TROUBLE_TABLE'] === 'write') writeFileSync(TABLE, printTable(found))
  const reviewed = parseTable(readFileSync(TABLE, 'utf8'))
  t.deepEqual([...found.keys()].toSorted(), [...reviewed.keys()].toSorted())
  for (const [name, text] of reviewed) t.is(found.get(name), text, name)
})
