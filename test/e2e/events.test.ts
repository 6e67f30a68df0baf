// Events on token.sock: whoever may ask for a token hears of it, and of the state; nobody hears of the tokens of others.

import { join } from 'node:path'
import { userInfo } from 'node:os'
import test from 'ava'
import { createClient } from '../../src/protocol/client.ts'
import type { EventBody } from '../../src/protocol/wire.ts'
import { enabled } from '../support/probes.ts'
import { until } from '../support/processes.ts'

const me = userInfo().username
const OTHER = me === 'nobody' ? 'root' : 'nobody'
const profile = (name: string, user: string): string => `[[profiles]]
name = "${name}"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = ["${user}"] }
`

test.serial(
  'the own tokens and the state are told, with the time of expiry; the tokens of others, and scopes, are not',
  async t => {
    const appliance = await enabled(profile('mine', me) + profile('theirs', OTHER))
    const heard: Record<'token' | 'admin', EventBody[]> = { token: [], admin: [] }
    const ended: string[] = []
    for (const name of ['token', 'admin'] as const) {
      const client = createClient(join(appliance.runtime, `${name}.sock`))
      client.subscribe(
        event => heard[name].push(event),
        () => ended.push(name),
      )
    }
    try {
      await until('the first event', () => heard.token.length > 0 && heard.admin.length > 0)
      t.is(heard.token[0]?.state, 'connected')
      await appliance.ask('POST', '/v1/tokens', {})
      await appliance.call('POST', '/v1/tokens', { profile: 'theirs' })
      await appliance.call('POST', '/v1/tokens', { permissions: { issues: 'write' } })
      await until('three mints', () => heard.admin.filter(({ event }) => event === 'token-refreshed').length >= 3)
      const mints = heard.token.filter(({ event }) => event === 'token-refreshed')
      t.deepEqual(
        mints.map(event => Object.keys(event).toSorted()),
        [['at', 'event', 'expires_at', 'profile']],
      )
      t.is(mints[0]?.profile, 'mine')
      t.true(Date.parse(mints[0]?.expires_at ?? '') > Date.now())
      t.deepEqual(
        new Set(heard.admin.filter(({ event }) => event === 'token-refreshed').map(event => event.profile)),
        new Set(['mine', 'theirs', undefined]),
      )
      await appliance.call('DELETE', '/v1/connection?local=true')
      await until('the end of it', () => heard.token.some(({ state }) => state === 'disconnected'))
      t.notRegex(JSON.stringify([heard.token, heard.admin]), /ghs_/)
      await appliance.kill()
      await until('both streams end with the daemon', () => ended.length === 2)
    } finally {
      await appliance.close()
    }
  },
)
