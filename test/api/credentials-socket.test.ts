// The name by which systemd says which credential it fetches, and for which unit.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { createCredentialsServer, readName } from '../../src/api/credentials-socket.ts'
import { createFakeClock, createFakeLog } from '../support/fakes.ts'
import { callerOf, connectedRig, peerOf } from '../support/operations-rig.ts'

test('a name of systemd is read, units with escapes and instances included', t => {
  t.deepEqual(readName('\0adf9d86b6eda275e/unit/a.service/token'), { unit: 'a.service', credential: 'token' })
  t.deepEqual(readName(String.raw`${'\0'}0/unit/a\x2db@c:d.service/x.y`), {
    unit: String.raw`a\x2db@c:d.service`,
    credential: 'x.y',
  })
})

test('anything else is no name of systemd', t => {
  for (const name of [
    '',
    '/run/some.sock',
    'adf9/unit/a.service/token',
    '\0',
    '\0/unit/a.service/token',
    '\0xyz/unit/a.service/token',
    '\0adf9/unit/a.service',
    '\0adf9/unit/a.service/',
    '\0adf9/unit//token',
    '\0adf9/unit/a.service/b/token',
    '\0adf9/user/a.service/token',
    '\0adf9/unit/a.service/tok\0en',
    '\0adf9/unit/a.service/tok\nen',
    '\0adf9/unit/a\n.service/token',
    '\0\0adf9/unit/a.service/token',
    ' \0adf9/unit/a.service/token',
  ])
    t.is(readName(name), undefined, JSON.stringify(name))
})

test('a unit gets its token although systemd ended its half of the connection before the token was there', async t => {
  const allow = { users: [], groups: [], units: ['job.service'] }
  const policy = {
    profiles: [{ name: 'job', installation: 'octo-org', permissions: { contents: 'read' as const }, allow }],
  }
  const { desk } = await connectedRig({ policy })
  const asked = Promise.withResolvers<void>()
  const late: typeof desk.answer = async (request, caller) => {
    await asked.promise
    return desk.answer(request, caller)
  }
  const github = {
    url: 'https://github.com',
    apiUrl: 'https://api.github.com',
    apiVersion: '',
    statelessTokens: 'default' as const,
  }
  const server = createCredentialsServer({
    attest: () => callerOf(peerOf(0, { unit: 'job.service' })).attested,
    peerName: () => '\0adf9/unit/job.service/job',
    operations: () => ({ desk: { answer: late, deny: () => Promise.reject(new Error('it was denied')) } }),
    config: () => ({ policy, sinks: [], github }),
    clock: createFakeClock(),
    log: createFakeLog(),
  })
  const folder = mkdtempSync(join(tmpdir(), 'credentials-'))
  t.teardown(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  server.listen(join(folder, 'credentials.sock'))
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const client = connect({ path: join(folder, 'credentials.sock'), allowHalfOpen: true })
  let text = ''
  client.on('data', (chunk: Buffer) => (text += chunk.toString()))
  client.end()
  const [socket] = (await accepted) as [Socket]
  await once(socket, 'end')
  asked.resolve()
  await once(client, 'close')
  t.regex(text, /^ghs_/)
})
