// The name by which systemd says which credential it fetches, and for which unit.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createCredentialsServer, type CredentialsDeps, readName } from '../../../src/core/api/credentials-socket.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Peer, Policy } from '../../../src/protocol/profile.ts'
import type { Sink } from '../../../src/service/config.ts'
import { createFakeClock, createFakeLog } from '../../support/fakes.ts'
import { connectedRig, peerOf } from '../../support/operations-rig.ts'

const codeIn = (fields?: Readonly<Record<string, unknown>>): unknown => {
  const error = fields?.['error']
  return error instanceof Failure ? error.code : error
}

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
  /** In place of a name as systemd gives one. */
  readonly bound?: string
  readonly sinks?: readonly Sink[]
  /** Why the peer is not known. */
  readonly gone?: Failure
  readonly issuer: CredentialsDesk
  readonly policy: Policy
}
type CredentialsDesk = ReturnType<CredentialsDeps['operations']>['issuer']

/** A socket whose every peer is this one, under this name. */
const serve = async (t: ExecutionContext, scene: Scene) => {
  const { peer, name = 'job', issuer, policy, sinks = [] } = scene
  let released = 0
  const log = createFakeLog()
  const clock = createFakeClock()
  const server = createCredentialsServer({
    attest() {
      if (scene.gone) throw scene.gone
      return { peer, assertAlive() {}, release: () => void released++ }
    },
    peerName: () => scene.bound ?? `\0adf9/unit/job.service/${name}`,
    operations: () => ({ issuer }),
    config: () => ({ policy, sinks, github: GITHUB }),
    clock,
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
  return { server, log, clock, fetch, released: () => released }
}

test('a unit gets its token although systemd ended its half of the connection before the token was there', async t => {
  const policy = { profiles: [profileOf('job', ['job.service'])] }
  const { issuer } = await connectedRig({ policy })
  const asked = Promise.withResolvers<void>()
  const late: typeof issuer.answer = async (request, caller) => {
    await asked.promise
    return issuer.answer(request, caller)
  }
  const deny = () => Promise.reject(new Error('it was denied'))
  const peer = peerOf(0, { unit: 'job.service' })
  const { server, fetch, released } = await serve(t, { peer, issuer: { answer: late, deny }, policy })
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
    const issuer: CredentialsDesk = {
      answer: () => Promise.reject(new Error('it was answered')),
      async deny(detail) {
        denied.push(detail)
        throw new Failure('not-permitted', detail)
      },
    }
    const { fetch, log } = await serve(t, { ...scene, issuer, policy })
    const text = await fetch()
    t.true(text.length > MOST_BYTES, what)
    t.notRegex(text, /gh[a-z]_/, what)
    t.is(denied.length, 1, what)
    t.is(log.lines.filter(({ level }) => level === 'warn').length, 1, what)
  }
})

/** The end of a connection is seen at both of its ends, in whatever order. */
const soon = async (isSo: () => boolean): Promise<void> => {
  for (let turns = 0; turns < 1_000 && !isSo(); turns += 1) await new Promise(setImmediate)
}

const JOB = { profiles: [profileOf('job', ['job.service'])] }
const SYSTEMD = peerOf(0, { unit: 'job.service' })
const GIVEN = {
  token: 'ghs_x',
  expires_at: '2026-05-01T13:00:00.000Z',
  installation: 1,
  account: 'octo-org',
  permissions: { contents: 'read' as const },
}

test('a profile gives the bare token, a sink the token of its profile in its format; each lasts for half an hour', async t => {
  const asked: unknown[] = []
  const issuer: CredentialsDesk = {
    answer: (request, { socket, attested }) => (asked.push([request, socket, attested.peer]), GIVEN),
    deny: () => Promise.reject(new Error('it was denied')),
  }
  const sinks = [{ name: 'netrc', profile: 'job', format: 'netrc' }] as unknown as readonly Sink[]
  const told: string[] = []
  for (const name of ['job', 'netrc']) {
    const { fetch, log } = await serve(t, { peer: SYSTEMD, name, issuer, policy: JOB, sinks })
    told.push(await fetch())
    t.deepEqual(log.lines, [])
  }
  const machine = (host: string): string => `machine ${host} login x-access-token password ghs_x\n`
  t.deepEqual(told, ['ghs_x', machine('github.com') + machine('api.github.com')])
  t.deepEqual(
    asked,
    told.map(() => [{ profile: 'job', min_ttl_seconds: 1_800 }, 'token', SYSTEMD]),
  )
})

test('the audit log is told which credential was asked for and why it was denied, as far as the name says it', async t => {
  const denied: unknown[] = []
  const issuer: CredentialsDesk = {
    answer: () => Promise.reject(new Error('it was answered')),
    async deny(detail, { request, caller }) {
      denied.push([detail, request, caller.socket, caller.attested.peer.uid])
      throw new Failure('not-permitted', detail)
    },
  }
  const user = peerOf(1000, { unit: 'job.service' })
  for (const scene of [{ peer: user, bound: '' }, { peer: user }, { peer: peerOf(0) }, { peer: SYSTEMD, name: 'none' }])
    await (await serve(t, { ...scene, issuer, policy: JOB })).fetch()
  t.deepEqual(denied, [
    ['LoadCredential=: the socket bears no name of systemd', {}, 'token', 1000],
    ['LoadCredential=: user 1000 is not the service manager', { profile: 'job' }, 'token', 1000],
    ['LoadCredential=: a process in no unit called itself job.service', { profile: 'job' }, 'token', 0],
    ['LoadCredential=: no profile that names units admits job.service to none', { profile: 'none' }, 'token', 0],
  ])
})

test('a peer that is not known, and a token that cannot be had, fail the unit and are in the journal', async t => {
  const issuer: CredentialsDesk = {
    answer: () => Promise.reject(new Failure('github-outage', 'GitHub is down')),
    deny: () => Promise.reject(new Error('it was denied')),
  }
  for (const [scene, code] of [
    [{ gone: new Failure('peer-gone', 'it ended') }, 'peer-gone'],
    [{}, 'github-outage'],
  ] as const) {
    const { fetch, log, released } = await serve(t, { peer: SYSTEMD, issuer, policy: JOB, ...scene })
    t.true((await fetch()).length > MOST_BYTES)
    t.deepEqual(
      log.lines.map(({ level, fields }) => [level, codeIn(fields)]),
      [['warn', code]],
    )
    const expected = code === 'peer-gone' ? 0 : 1
    await soon(() => released() === expected)
    t.is(released(), expected)
  }
})

test('whoever does not read is closed after two minutes, and whoever has gone is waited for by no timer', async t => {
  const issuer: CredentialsDesk = {
    answer: () => Promise.withResolvers<never>().promise,
    deny: () => Promise.reject(new Error('it was denied')),
  }
  const { server, fetch, clock, released } = await serve(t, { peer: SYSTEMD, issuer, policy: JOB })
  const accepted = once(server, 'connection')
  const fetched = fetch()
  await accepted
  await clock.advance(119_999)
  t.is(released(), 0)
  await clock.advance(1)
  t.is(await fetched, '')
  await soon(() => released() === 1)
  t.is(released(), 1)
  const quick = await serve(t, { peer: peerOf(1000), issuer, policy: JOB })
  await quick.fetch()
  await soon(() => quick.clock.waiting() === 0)
  t.is(quick.clock.waiting(), 0)
})

test('of very many connections of one holder the one that waits for longest makes room', async t => {
  const issuer: CredentialsDesk = {
    answer: () => Promise.withResolvers<never>().promise,
    deny: () => Promise.reject(new Error('it was denied')),
  }
  const { server, fetch, released } = await serve(t, { peer: SYSTEMD, issuer, policy: JOB })
  const sockets: Socket[] = []
  server.on('connection', socket => void sockets.push(socket))
  const fetched = Array.from({ length: 256 }, fetch)
  await soon(() => sockets.length === 256)
  t.is(released(), 0)
  fetched.push(fetch())
  t.is(await fetched[0], '')
  await soon(() => released() > 0)
  t.is(released(), 1)
  for (const socket of sockets) socket.destroy()
  await Promise.all(fetched)
})
