// Who may ask for what, against the running daemon: callers that fork, pipeline and vanish; explain; the audit log and its copies.

import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { AuditAnswer, type AuditRowBody, ExplainAnswer } from '../../src/protocol/wire-policy.ts'
import type { Appliance } from '../support/appliance.ts'
import { enabled, ghconnect, NOBODY, shell } from '../support/probes.ts'
import { ageKey } from '../support/age-key.ts'

const ME = userInfo()
const WANTED = { repositories: ['web'], permissions: { contents: 'read' } }
const profile = (name: string, more: string): string => `[[profiles]]
name = "${name}"
installation = "octo-org"
${more}
`
const PROFILES =
  profile('mine', `permissions = { contents = "read", issues = "write" }\nallow = { users = ["${ME.username}"] }`) +
  profile('unit', `repositories = ["web"]\nallow = { users = ["${ME.username}"], units = ["no-such-unit.service"] }`) +
  profile('pattern', `repositories = ["a*", "i*"]\nallow = { users = ["nobody"] }`)

let appliance: Appliance & { wrong: string[] }
test.before(async () => {
  appliance = await enabled(PROFILES)
  chmodSync(appliance.folder, 0o755)
})
test.after.always(() => appliance.close())
test.afterEach(t => t.deepEqual(appliance.wrong, []))

const tokenSocket = (): string => join(appliance.runtime, 'token.sock')
const audit = async (after = 0): Promise<AuditRowBody[]> =>
  AuditAnswer.parse((await appliance.call('GET', `/v1/audit?after=${after}&limit=1000`)).body).rows
const lastRow = async (): Promise<number> => (await audit()).at(-1)?.sequence ?? 0

/** A caller that talks HTTP by hand: `PARENT` runs after the connection was used once, `CHILD` in a fork of it. */
const forking = (parent: string, child: string): string => `perl -MIO::Socket::UNIX -e '
  my $s = IO::Socket::UNIX->new(Peer => "${tokenSocket()}") or die;
  my $body = "{\\"repositories\\":[\\"web\\"],\\"permissions\\":{\\"contents\\":\\"read\\"}}";
  sub ask { print $s "POST /v1/tokens HTTP/1.1\\r\\nhost: localhost\\r\\ncontent-type: application/json\\r\\ncontent-length: " . length($body) . "\\r\\n\\r\\n$body"; $s->flush; sysread($s, my $answer, 65536); return $answer =~ m{^HTTP/1.1 (\\d+)} ? $1 : "none" }
  my $first = ask(); my $parent = $$; my $pid = fork;
  if ($pid == 0) { ${child} }
  ${parent}'`

test.serial(
  'a forked child with an inherited socket is the process that connected, as long as that one lives',
  async t => {
    const living = forking('waitpid($pid, 0);', 'print "$first ", ask(); exit;')
    t.is((await shell(living)).stdout, '200 200')
    const ended = forking(
      'exit;',
      'select(undef, undef, undef, 0.01) while getppid() == $parent; my $second = ask(); print "$first $second"; exit;',
    )
    t.is((await shell(ended)).stdout, '200 403', 'a cached token, asked for by nobody who was attested')
  },
)

test.serial('requests that one peer pipelines are decided one by one, and answered in their order', async t => {
  const bodies = [WANTED, { profile: 'unit' }, WANTED, { ...WANTED, permissions: { contents: 'write' } }, WANTED]
  const text = bodies
    .map(body => JSON.stringify(body))
    .map(
      (body, at) =>
        `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n${at === bodies.length - 1 ? 'connection: close\r\n' : ''}\r\n${body}`,
    )
    .join('')
  const socket = connect(tokenSocket())
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
  socket.write(text)
  await once(socket, 'close')
  t.deepEqual(
    [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ['200', '403', '200', '403', '200'],
  )
})

test.serial('a peer that exits between connect and request is refused, or not there to be answered', async t => {
  const before = await lastRow()
  const vanishing = `perl -MIO::Socket::UNIX -e 'for (1..20) { if (!fork) { my $s = IO::Socket::UNIX->new(Peer => "${tokenSocket()}"); exit } } 1 while wait > 0'`
  t.is((await shell(vanishing)).code, 0)
  t.is((await appliance.ask('POST', '/v1/tokens', WANTED)).status, 200)
  const grants = (await audit(before)).filter(row => row.event === 'token.grant')
  t.true(
    grants.every(row => row.pid === process.pid),
    'nobody else was granted anything',
  )
})

test.serial('explain says who would get what, and is right about a live process', async t => {
  const explain = async (body: unknown): Promise<ExplainAnswer> => {
    const answer = await appliance.call('POST', '/v1/policy/explain', body)
    t.is(answer.status, 200, answer.text)
    return ExplainAnswer.parse(answer.body)
  }
  const reasonOf = ({ profiles }: ExplainAnswer, name: string, list: string): string =>
    profiles.find(one => one.profile === name)?.reasons.find(one => one.list === list)?.detail ?? ''

  const me = await explain({ pid: process.pid, ...WANTED, profile: 'mine' })
  t.is(me.decision.outcome, 'granted')
  t.like(me.caller, { pid: process.pid, uid: ME.uid, user: ME.username })
  t.is((await appliance.ask('POST', '/v1/tokens', { profile: 'mine', ...WANTED })).status, 200, 'as it was said')

  const unit = await explain({ pid: process.pid, profile: 'unit' })
  t.is(unit.decision.outcome, 'not-permitted')
  t.regex(reasonOf(unit, 'unit', 'units'), /no-such-unit\.service/)
  t.is(
    (await explain({ user: ME.username, unit: 'no-such-unit.service', profile: 'unit' })).decision.outcome,
    'granted',
  )
  t.is((await explain({ user: ME.username, profile: 'unit' })).decision.outcome, 'depends')

  t.is((await explain({ user: 'nobody' })).decision.outcome, 'repositories-required')
  t.is((await explain({ user: 'nobody', repositories: ['api'] })).decision.outcome, 'granted')
  t.is((await explain({ user: 'nobody', repositories: ['web'] })).decision.outcome, 'not-permitted')

  for (const [body, detail] of [
    [{ user: 'no-such-user' }, /there is no user/],
    [{ group: 'no-such-group' }, /there is no group/],
    [{ pid: 4_194_304 }, /there is no process/],
    [{ pid: 1, user: 'nobody' }, /either pid or/],
    [{ unti: 'x' }, /no such field/],
  ] as const) {
    const answer = await appliance.call('POST', '/v1/policy/explain', body)
    t.is(answer.status, 400)
    t.regex(String(answer.body['detail']), detail)
  }
  t.is((await appliance.ask('POST', '/v1/policy/explain', {})).status, 403, 'for administrators only')
})

test.serial('under a pattern a request has to name its repositories', async t => {
  const ask = async (body: unknown): Promise<string> => {
    const line = `curl -s --unix-socket ${tokenSocket()} -H 'content-type: application/json' -d '${JSON.stringify(body)}' localhost/v1/tokens`
    return (await shell(line, ME.uid === 0 ? NOBODY : undefined)).stdout
  }
  // Only root can ask as another user; anyone else is shown by explain that the same is answered.
  const required = ME.uid === 0 ? await ask({ profile: 'pattern' }) : 'repositories-required'
  t.regex(required, /repositories-required/)
  const narrowed = ME.uid === 0 ? await ask({ profile: 'pattern', repositories: ['api'] }) : '"repositories":["api"]'
  t.regex(narrowed, /"repositories":\["api"\]/)
})

test.serial('each kind of event is in the log, with who, what and GitHub hash, and never a token', async t => {
  const before = await lastRow()
  const { body } = await appliance.ask('POST', '/v1/tokens', { profile: 'mine', repositories: ['api'] })
  await appliance.ask('POST', '/v1/tokens', {
    profile: 'unit',
    repositories: ['web'],
    permissions: { contents: 'read' },
  })
  await appliance.call('POST', '/v1/refresh')
  const { recipient, identity } = ageKey()
  t.is((await appliance.call('POST', '/v1/recovery-keys', { recipient })).status, 200)
  const exported = await fetchBundle()
  const restored = await appliance.call('POST', '/v1/snapshots/restore', {
    bundle: exported.toString('base64'),
    identity,
  })
  t.is(restored.status, 200, restored.text)
  const rows = await audit(before)
  const grant = rows.find(row => row.event === 'token.grant')
  t.like(grant, { uid: ME.uid, pid: process.pid, profile: 'mine' })
  t.regex(grant?.scope ?? '', /^installation \d+, api, /)
  const [hash] = [grant?.hashed_token]
  const { stdout } = await shell(`printf %s '${String(body['token'])}' | openssl dgst -sha256 -binary | base64`)
  t.is(hash, stdout.trim())
  const events = new Set(rows.map(row => row.event))
  for (const event of [
    'token.grant',
    'token.deny',
    'dotcom_connection.token_updated',
    'recovery-key.add',
    'snapshot.export',
    'snapshot.restore',
  ]) {
    t.true(events.has(event), event)
  }
  const asked = rows.filter(row => row.event === 'admin.request')
  t.true(asked.every(row => row.uid === ME.uid && row.pid === process.pid))
  t.deepEqual(
    asked.map(row => row.detail),
    ['/v1/refresh', '/v1/recovery-keys', '/v1/snapshots', '/v1/snapshots/restore'].map(path => `POST ${path}`),
  )
  const all = await audit()
  const denial = rows.find(row => row.event === 'token.deny')
  t.like(denial, { uid: ME.uid, pid: process.pid, scope: 'profile unit, web, contents: read' })
  t.true(all.some(row => row.event === 'dotcom_connection.create' && row.detail === 'octo-org'))
  t.true(all.some(row => row.event === 'connection.connected'))
  t.false(JSON.stringify(all).includes('ghs_'))
})

const fetchBundle = (): Promise<Buffer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const options = { socketPath: join(appliance.runtime, 'admin.sock'), method: 'POST', path: '/v1/snapshots' }
  request({ ...options, headers: { host: 'localhost' } }, answer => {
    const chunks: Buffer[] = []
    answer.on('data', (chunk: Buffer) => chunks.push(chunk))
    answer.once('end', () => resolve(Buffer.concat(chunks)))
  })
    .once('error', reject)
    .end()
  return promise
}

test.serial('the log is proven by its chain and by the copies in the journal; a cut tail shows', async t => {
  const file = join(appliance.folder, 'journal.log')
  writeFileSync(file, appliance.log())
  const verify = (): ReturnType<typeof ghconnect> =>
    ghconnect('audit', 'verify', '--journal', file, '--config', appliance.configFile)
  const good = await verify()
  t.is(good.code, 0, good.output)
  t.regex(good.output, /Intact: rows 1 to \d+\n/)
  const last = await lastRow()
  t.true(Number(/Compared with the journal: (\d+)/.exec(good.output)?.[1]) >= last - 1)
  const copy = readFileSync(file, 'utf8')
    .split('\n')
    .findLast(line => line.includes('"sequence"'))
  writeFileSync(file, `${copy}\n${copy?.replace(/"sequence":\d+/, `"sequence":${last + 3}`)}\n`)
  const cut = await verify()
  t.is(cut.code, 65)
  t.regex(cut.output, new RegExp(`rows ${last + 3} to ${last + 3} are in the journal, and not in the log`))
})

test.serial('whoever follows gets the rows that were, then each as it comes', async t => {
  const last = await lastRow()
  const sequences: number[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const outgoing = request(
    {
      socketPath: join(appliance.runtime, 'admin.sock'),
      path: `/v1/audit?follow=true&after=${last - 2}`,
      headers: { host: 'localhost' },
    },
    answer => {
      t.is(answer.headers['content-type'], 'text/event-stream')
      answer.on('data', (chunk: Buffer) => {
        for (const [, id] of chunk.toString().matchAll(/^id: (\d+)$/gm)) sequences.push(Number(id))
        if (sequences.length === 2)
          void appliance.ask('POST', '/v1/tokens', { profile: 'mine', repositories: ['infra'] })
        if (sequences.length >= 3) resolve()
      })
    },
  )
  outgoing.end()
  await promise
  outgoing.destroy()
  t.deepEqual(sequences.slice(0, 3), [last - 1, last, last + 1])
  t.is((await appliance.call('GET', '/v1/audit?follow=perhaps')).status, 400)
  t.is((await appliance.call('GET', '/v1/audit?limit=all')).status, 400)
  t.is((await appliance.ask('GET', '/v1/audit?follow=true')).status, 403)
})
