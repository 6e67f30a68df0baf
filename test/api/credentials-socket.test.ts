// The name by which systemd says which credential it fetches, and for which unit.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createCredentialsServer, type CredentialsDeps, readName } from '../../src/api/credentials-socket.ts'
import { Failure } from '../../src/domain/errors.ts'
import type { Peer, Policy } from '../../src/domain/policy.ts'
import { createFakeClock, createFakeLog } from '../support/fakes.ts'
import { connectedRig, peerOf } from '../support/operations-rig.ts'

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

const GITHUB = {
  url: 'https://github.com',
  apiUrl: 'https://api.github.com',
  apiVersion: '',
  statelessTokens: 'default' as const,
}
const profileOf = (name: string, units: readonly string[], users: readonly number[] = []) => ({
  name,
  installation: 'octo-org',
  permissions: { contents: 'read' as const },
  allow: { users: users.map(id => ({ name: `user ${id}`, id })), groups: [], units },
})

type Scene = {
  readonly peer: Peer
  readonly name?: string
  readonly desk: CredentialsDesk
  readonly policy: Policy
}
type CredentialsDesk = ReturnType<CredentialsDeps['operations']>['desk']

/** A socket whose every peer is this one, under this name. */
const serve = async (t: ExecutionContext, { peer, name = 'job', desk, policy }: Scene) => {
  let released = 0
  const log = createFakeLog()
  const server = createCredentialsServer({
    attest: () => ({ peer, assertAlive() {}, release: () => void released++ }),
    peerName: () => `\0adf9/unit/job.service/${name}`,
    operations: () => ({ desk }),
    config: () => ({ policy, sinks: [], github: GITHUB }),
    clock: createFakeClock(),
    log,
  })
  const folder = mkdtempSync(join(tmpdir(), 'credentials-'))
  t.teardown(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  server.listen(join(folder, 'credentials.sock'))
  await once(server, 'listening')
  /** As systemd does: it ends its half at once, and reads to the end. */
  const fetch = () => {
    const client = connect({ path: join(folder, 'credentials.sock'), allowHalfOpen: true })
    const pieces: Buffer[] = []
    client.on('data', (piece: Buffer) => void pieces.push(piece))
    client.end()
    return once(client, 'close').then(() => Buffer.concat(pieces).toString())
  }
  return { server, log, fetch, released: () => released }
}

test('a unit gets its token although systemd ended its half of the connection before the token was there', async t => {
  const policy = { profiles: [profileOf('job', ['job.service'])] }
  const { desk } = await connectedRig({ policy })
  const asked = Promise.withResolvers<void>()
  const late: typeof desk.answer = async (request, caller) => {
    await asked.promise
    return desk.answer(request, caller)
  }
  const deny = () => Promise.reject(new Error('it was denied'))
  const peer = peerOf(0, { unit: 'job.service' })
  const { server, fetch, released } = await serve(t, { peer, desk: { answer: late, deny }, policy })
  const accepted = once(server, 'connection')
  const fetched = fetch()
  const [socket] = (await accepted) as [Socket]
  await once(socket, 'end')
  t.is(released(), 0)
  asked.resolve()
  t.regex(await fetched, /^ghs_/)
  if (!socket.closed) await once(socket, 'close')
  t.is(released(), 1, 'what was held to know the peer by is given back')
})

/** More than that makes systemd fail the unit; less, or nothing, would start it without its token. */
const MOST_BYTES = 2 ** 20

test('whoever is not systemd in the unit that it names is refused, in the audit log, with what fails the unit', async t => {
  const policy = {
    profiles: [profileOf('job', ['job.service']), profileOf('person', [], [0, 1000])],
  }
  for (const [what, scene] of Object.entries({
    'another user of the unit': { peer: peerOf(1000, { unit: 'job.service' }) },
    'root in another unit': { peer: peerOf(0, { unit: 'other.service' }) },
    'root in no unit': { peer: peerOf(0) },
    'a profile that names no units': { peer: peerOf(0, { unit: 'job.service' }), name: 'person' },
    'a profile that there is not': { peer: peerOf(0, { unit: 'job.service' }), name: 'nothing' },
  })) {
    const denied: string[] = []
    const desk: CredentialsDesk = {
      answer: () => Promise.reject(new Error('it was answered')),
      async deny(detail) {
        denied.push(detail)
        throw new Failure('not-permitted', detail)
      },
    }
    const { fetch, log } = await serve(t, { ...scene, desk, policy })
    const text = await fetch()
    t.true(text.length > MOST_BYTES, what)
    t.notRegex(text, /gh[a-z]_/, what)
    t.is(denied.length, 1, what)
    t.is(log.lines.filter(({ level }) => level === 'warn').length, 1, what)
  }
})
