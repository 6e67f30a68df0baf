// The body of a request: whole however it arrives, JSON and nothing else, and bounded by what comes, not by what was announced.

import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import type { Operations } from '../../../src/core/operations.ts'
import { createApiRig } from '../../support/api-rig.ts'

const KIB = 1_024

/** Notes each token request and each key that gets through. */
const setUp = async (t: Parameters<typeof createApiRig>[0], socket: 'admin' | 'token' = 'token') => {
  const requests: unknown[] = []
  const keys: string[] = []
  const notes: (readonly [what: string, keysBefore: number])[] = []
  const operations = {
    issuer: { answer: (request: unknown) => (requests.push(request), { token: 'ghs_x' }) },
    keys: {
      add: async (pem: { reveal(): string }) => (keys.push(pem.reveal()), { added: 'x', alreadyHeld: false }),
      list: () => [],
    },
    noteRequest: (_: unknown, what: string) => void notes.push([what, keys.length]),
  } as unknown as Operations
  return { ...(await createApiRig(t, { socket, operations })), requests, keys, notes }
}

const JSON_TYPE = 'content-type: application/json'

test('a body that arrives in pieces is read whole, also where a letter lies in two of them', async t => {
  const { open, server, keys } = await setUp(t, 'admin')
  const text = 'Schlüssel → 鍵'
  const body = Buffer.from(JSON.stringify({ private_key: text }))
  const opened = await open(
    `POST /v1/keys HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${JSON_TYPE}\r\ncontent-length: ${body.length}\r\n\r\n`,
  )
  await once(server, 'request')
  // Each byte by itself: what was sent before is read before the next is.
  for (const byte of body) {
    opened.client.write(Buffer.of(byte))
    for (let turns = 0; turns < 5; turns++) await setImmediate()
  }
  await opened.closed()
  t.regex(opened.text(), /^HTTP\/1\.1 200/)
  t.deepEqual(keys, [text])
})

test('a body that does not tell its length is refused where it is too large, however small its pieces are', async t => {
  const { open, clock, requests } = await setUp(t)
  const piece = `${(KIB).toString(16)}\r\n${' '.repeat(KIB)}\r\n`
  const head = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\n${JSON_TYPE}\r\ntransfer-encoding: chunked\r\n\r\n`
  const within = await open(`${head}${piece.repeat(60)}2\r\n{}\r\n0\r\n\r\n`)
  t.regex(await within.until(/ghs_x/), /^HTTP\/1\.1 200/)
  const beyond = await open(head)
  for (let sent = 0; sent < 70 && !beyond.client.destroyed; sent++) {
    beyond.client.write(piece)
    await setImmediate()
  }
  beyond.client.write('2\r\n{}\r\n0\r\n\r\n')
  // A refusal waits a moment.
  while (beyond.text() === '') {
    await setImmediate()
    await clock.advance(250)
  }
  t.regex(beyond.text(), /^HTTP\/1\.1 413 /)
  t.is(requests.length, 1)
  within.client.destroy()
})

test('only JSON is read, with parameters of its type or without', async t => {
  const { ask, requests } = await setUp(t)
  const json = [
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'Application/JSON ;charset=utf-8',
  ]
  for (const type of json) t.is((await ask('POST /v1/tokens', [`content-type: ${type}`], '{}')).status, 200, type)
  for (const type of ['application/jsonp', 'application/json-patch+json', 'text/plain', 'text/plain; application/json'])
    t.regex((await ask('POST /v1/tokens', [`content-type: ${type}`], '{}')).text, /invalid-request/, type)
  t.regex((await ask('POST /v1/tokens', [], '{}')).text, /invalid-request/)
  t.is(requests.length, json.length)
})

test('a request that is asked again and again is parsed once; one that may hold a key is kept nowhere', async t => {
  const { ask, requests } = await setUp(t)
  const small = JSON.stringify({ profile: 'small' })
  const large = JSON.stringify({ profile: 'large', repositories: Array.from({ length: 100 }, (_, n) => `repo-${n}`) })
  for (const body of [small, small, large, large]) t.is((await ask('POST /v1/tokens', [JSON_TYPE], body)).status, 200)
  t.is(requests[0], requests[1])
  t.not(requests[2], requests[3])
  t.deepEqual(requests[2], requests[3])
})

test('a body that one route takes is checked anew where it is sent to another one', async t => {
  const { ask, requests, keys } = await setUp(t, 'admin')
  for (const [body, taker, other] of [
    ['{}', '/v1/tokens', '/v1/keys'],
    ['{"private_key":"x"}', '/v1/keys', '/v1/tokens'],
  ] as const) {
    t.is((await ask(`POST ${taker}`, [JSON_TYPE], body)).status, 200)
    t.regex((await ask(`POST ${other}`, [JSON_TYPE], body)).text, /urn:ghconnect:problem:invalid-request/, body)
  }
  t.deepEqual([requests, keys], [[{}], ['x']])
})

test('who asks for a change is in the audit log before it is made', async t => {
  const { ask, notes, keys } = await setUp(t, 'admin')
  t.is((await ask('POST /v1/keys', [JSON_TYPE], JSON.stringify({ private_key: 'x' }))).status, 200)
  t.is(keys.length, 1)
  t.deepEqual(notes, [['POST /v1/keys', 0]])
})

test('git is told nothing in return for what it erases, and so asks its next helper', async t => {
  const { ask, requests } = await setUp(t)
  const asGit = ['accept: text/x-git-credential', JSON_TYPE]
  const given = await ask('POST /v1/tokens', asGit, '{}')
  t.is(given.status, 200)
  t.regex(given.text, /^password=ghs_x$/m)
  const erased = await ask('POST /v1/tokens', asGit, JSON.stringify({ rejected: 'a'.repeat(43) }))
  t.deepEqual([erased.status, erased.text], [204, ''])
  t.is(requests.length, 2, 'the daemon heard of it')
})
