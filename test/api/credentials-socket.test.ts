// The name by which systemd says which credential it fetches, and for which unit.

import test from 'ava'
import { readName } from '../../src/api/credentials-socket.ts'

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
    '\0\0adf9/unit/a.service/token',
    ' \0adf9/unit/a.service/token',
  ])
    t.is(readName(name), undefined, JSON.stringify(name))
})
