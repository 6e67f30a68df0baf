// The fields of a form: what may be shown again when it failed, and whose form it is.

import test from 'ava'
import { Hono } from 'hono'
import { asFailure } from '../../src/protocol/errors.ts'
import { type Env, readFields } from '../../src/page/requests.ts'

const send = async (fields: Readonly<Record<string, string | Blob>>): Promise<unknown> => {
  const app = new Hono<Env>()
  app.post('/', async c => {
    c.set('session', { visitor: { peer: {} as never }, prefix: '/s/x', csrf: 'of this session' })
    try {
      return c.json((await readFields(c)).typed)
    } catch (error) {
      return c.json(asFailure(error).code)
    }
  })
  const body = new FormData()
  for (const [name, value] of Object.entries(fields)) body.append(name, value)
  return (await app.request('/', { method: 'POST', body })).json()
}

test('what was typed is shown again, but for whatever is a key', async t => {
  const secrets = { private_key: 'a key', identity: 'AGE-SECRET-KEY-1', key_file: 'a key', identity_file: 'a key' }
  const typed = { id: ' 7 ', account: 'octo-org', recipient: 'age1x' }
  t.deepEqual(await send({ csrf: 'of this session', ...typed, ...secrets }), { ...typed, id: '7' })
  t.deepEqual(await send({ csrf: 'of this session', id: '7', key_file: new Blob(['a key']) }), { id: '7' })
})

test('a form of another session is refused', async t => {
  for (const csrf of ['of another', '', 'of this sessio', 'of this session ever'])
    t.is(await send({ csrf, id: '7' }), 'cross-site', csrf)
  t.is(await send({ id: '7' }), 'cross-site')
})
