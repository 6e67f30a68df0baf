// Claims of SECURITY.md that no other test holds: who gets keys on admin.sock, what a copied state folder does, what the App asks for.

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { createAppliance } from '../support/appliance.ts'
import { NOBODY, requestCount, requestsSince, shell } from '../support/probes.ts'
import { addRecoveryKey, connected } from '../support/snapshots.ts'

const RECIPIENT = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p'
const WEB = { repositories: ['web'], permissions: { contents: 'read' } }

test('on admin.sock only root and the daemon get a snapshot in clear, or add a recovery key', async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  const socket = join(appliance.runtime, 'admin.sock')
  chmodSync(appliance.folder, 0o755)
  chmodSync(socket, 0o666)
  /** As a member of the group would ask; where the tests are not root, that is the daemon's own user. */
  const ask = async (route: string, body: string): Promise<string> => {
    const options = `-s --unix-socket ${socket} -H 'content-type: application/json' -o /dev/null -w '%{http_code}'`
    const user = process.getuid?.() === 0 ? NOBODY : undefined
    return (await shell(`curl ${options} -d '${body}' http://localhost${route}`, user)).stdout
  }
  const refused = process.getuid?.() === 0 ? '403' : '200'
  t.is(await ask('/v1/snapshots', ''), refused)
  t.is(await ask('/v1/recovery-keys', JSON.stringify({ recipient: RECIPIENT })), refused)
  if (process.getuid?.() === 0) t.deepEqual((await appliance.call('GET', '/v1/recovery-keys')).body['recipients'], [])
  await addRecoveryKey(appliance)
  t.is(await ask('/v1/snapshots', ''), '200', 'sealed, it may leave to any administrator')
  t.is(await ask('/v1/recovery-keys', JSON.stringify({ recipient: RECIPIENT })), refused)
})

test('a state folder on a machine of another machine-id and hostname is quarantined: it serves nothing and calls nobody', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'claims-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const machine = join(folder, 'machine-id')
  writeFileSync(machine, `${'1'.repeat(32)}\n`)
  const appliance = await createAppliance({ env: { GHCONNECT_MACHINE_ID_FILE: machine } })
  t.teardown(() => appliance.close())
  await appliance.start()
  await appliance.enable()
  t.is((await appliance.ask('POST', '/v1/tokens', WEB)).status, 200)
  await appliance.kill()

  writeFileSync(machine, `${'2'.repeat(32)}\n`)
  const config = readFileSync(appliance.configFile, 'utf8')
  writeFileSync(appliance.configFile, config.replace('appliance.test', 'copy.example.com'))
  const before = await requestCount(appliance)
  await appliance.start()
  t.is((await appliance.call('GET', '/v1/status')).body['state'], 'quarantined')
  for (const ask of [appliance.ask, appliance.call]) {
    const answer = await ask('POST', '/v1/tokens', WEB)
    t.is(answer.status, 503, 'not even the token that is cached')
    t.is(answer.body['type'], 'urn:ghconnect:problem:quarantined')
  }
  t.is((await appliance.ask('GET', '/v1/github/repos/octo-org/web')).status, 503)
  t.is((await appliance.call('POST', '/v1/refresh')).status, 503)
  t.deepEqual(await requestsSince(appliance, before), [])
})

test('the App that the owner agrees to is private and asks for the permissions of the configuration, not one more', async t => {
  const appliance = await connected()
  t.teardown(() => appliance.close())
  const { apps } = await appliance.control('GET', 'state')
  t.like(apps, [
    { owner: 'octo-org', public: false, permissions: { metadata: 'read', contents: 'read', issues: 'write' } },
  ])
  t.deepEqual(Object.keys(Object(Object(apps)[0].permissions)).toSorted(), ['contents', 'issues', 'metadata'])
})

for (const what of ['suspend', 'uninstall']) {
  test(`the owner of the account may ${what} the App at any time: no new token is served`, async t => {
    const appliance = await connected()
    t.teardown(() => appliance.close())
    const { installations } = await appliance.control('GET', 'state')
    const { id } = Object(Object(installations)[0])
    await appliance.control('POST', `installations/${id}/${what}`)
    const answer = await appliance.ask('POST', '/v1/tokens', { ...WEB, permissions: { issues: 'read' } })
    t.true(answer.status >= 400, `${answer.status}`)
    t.is(answer.body['token'], undefined)
  })
}
