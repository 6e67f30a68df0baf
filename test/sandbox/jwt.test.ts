// The sandbox refuses what GitHub refuses of an App's JSON web token, in GitHub's words.

import { generateKeyPairSync } from 'node:crypto'
import test from 'ava'
import { createBench, messageOf, type JwtChange } from './support.ts'

const UNDECODABLE = 'A JSON web token could not be decoded'
const BAD_EXPIRY =
  "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
const FAR_EXPIRY = "'Expiration time' claim ('exp') is too far in the future"
const BAD_ISSUED = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"

test('an App is let in by its id as a number, its id as text, and its client id', async t => {
  const bench = await createBench(t)
  const app = await bench.app('ids')
  for (const iss of [app.id, String(app.id), app.clientId]) {
    const answer = await bench.call('/app', { authorization: bench.jwt(app, { claims: { iss } }) })
    t.is(answer.status, 200)
    t.like(answer.body, { id: app.id, slug: 'ids', client_id: app.clientId })
  }
})

test('claims that GitHub refuses are refused in its words', async t => {
  const bench = await createBench(t)
  const app = await bench.app('claims')
  const now = bench.nowS()
  const cases: [JwtChange['claims'], number, string][] = [
    [{ exp: now + 660 }, 401, FAR_EXPIRY],
    [{ exp: now - 1 }, 401, BAD_EXPIRY],
    [{ exp: 'soon' }, 401, BAD_EXPIRY],
    [{ exp: undefined }, 401, BAD_EXPIRY],
    [{ iat: now + 30 }, 401, BAD_ISSUED],
    [{ iat: now - 60.5 }, 401, BAD_ISSUED],
    [{ iat: undefined }, 401, BAD_ISSUED],
    [{ iss: 1 }, 404, 'Integration not found'],
    [{ iss: 'Iv23linobody' }, 404, 'Integration not found'],
    [{ iss: undefined }, 404, 'Integration not found'],
  ]
  for (const [claims, status, message] of cases) {
    const answer = await bench.call('/app', { authorization: bench.jwt(app, { claims: claims ?? {} }) })
    t.is(answer.status, status)
    t.is(messageOf(answer), message)
  }
})

test('an expiry of exactly ten minutes is let in', async t => {
  const bench = await createBench(t)
  const app = await bench.app('limit')
  const claims = { exp: bench.nowS() + 600 }
  t.is((await bench.call('/app', { authorization: bench.jwt(app, { claims }) })).status, 200)
})

test('what is no JSON web token of the App cannot be decoded', async t => {
  const bench = await createBench(t)
  const app = await bench.app('garbage')
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const installation = await bench.install(app)
  const good = bench.jwt(app)
  for (const authorization of [
    undefined,
    'Bearer x',
    'Bearer a.b.c',
    good.replace('Bearer', 'token'),
    `${good}.x`,
    `${good.slice(0, -4)}AAAA`,
    bench.jwt(app, { key: stranger }),
    bench.jwt(app, { header: { alg: 'none' } }),
    bench.jwt(app, { header: { alg: 'HS256' } }),
    `Bearer ${await bench.token(app, installation)}`,
  ]) {
    const answer = await bench.call('/app', authorization === undefined ? {} : { authorization })
    t.is(answer.status, 401)
    t.is(messageOf(answer), UNDECODABLE)
  }
})

test('any of the keys of an App will do, until it is deleted', async t => {
  const bench = await createBench(t)
  const app = await bench.app('keys')
  await bench.control(`apps/${app.id}/generate-key`, {})
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200)
  await bench.control(`apps/${app.id}/revoke-keys`, {})
  const keyless = await bench.call('/app', { authorization: bench.jwt(app) })
  t.is(keyless.status, 401)
  t.is(messageOf(keyless), 'Integration must generate a public key')
  await bench.control(`apps/${app.id}/generate-key`, {})
  t.is(messageOf(await bench.call('/app', { authorization: bench.jwt(app) })), UNDECODABLE)
})

test('a deleted App is not found', async t => {
  const bench = await createBench(t)
  const app = await bench.app('gone')
  await bench.control(`apps/${app.id}/delete`, {})
  const answer = await bench.call('/app', { authorization: bench.jwt(app) })
  t.is(answer.status, 404)
  t.is(messageOf(answer), 'Integration not found')
})

test("the times of a token are judged by the sandbox's clock, which every answer tells", async t => {
  const bench = await createBench(t)
  const app = await bench.app('clock')
  const authorization = bench.jwt(app)
  await bench.control('clock', { offset_ms: 3_600_000 })
  const late = await bench.call('/app', { authorization })
  t.is(messageOf(late), BAD_EXPIRY)
  t.true(Math.abs(Date.parse(late.headers.get('date') ?? '') - Date.now() - 3_600_000) < 5000)
  await bench.control('clock', { offset_ms: -3_600_000 })
  t.is(messageOf(await bench.call('/app', { authorization })), FAR_EXPIRY)
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200)
})
