// What the pools of connections share from one reload to the next.

import test from 'ava'
import { createTrust } from '../../src/platform/outbound-pool.ts'
import { createAuthority } from '../support/certificates.ts'

test('the same roots are read once, however often the settings are read again', t => {
  const authority = createAuthority('Corporate Test CA')
  t.teardown(() => authority.remove())
  const trust = createTrust()
  const first = trust(undefined)
  t.is(trust(undefined), first)
  const withPrivate = trust(authority.ca)
  t.not(withPrivate, first)
  t.is(trust(authority.ca), withPrivate)
})
