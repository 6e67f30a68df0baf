// What a state is to somebody who wants a token: a problem of its own, or none.

import test from 'ava'
import { CATALOGUE } from '../../src/domain/errors.ts'
import { failureOfState } from '../../src/domain/state-failure.ts'

const of = (state: string) => failureOfState({ state, meaning: 'It is so.', next: 'Do this.' })

test('each state in which no token is to be had is a problem with the words of the state', t => {
  const codes = {
    disconnected: 'not-connected',
    disconnecting: 'not-connected',
    'key-lost': 'key-lost',
    quarantined: 'quarantined',
    isolated: 'isolated',
    locked: 'locked',
    'awaiting-unlock': 'locked',
    suspended: 'suspended',
    uninstalled: 'installation-not-found',
    'app-deleted': 'app-not-found',
    'key-rejected': 'key-rejected',
    blocked: 'ip-blocked',
  } as const
  for (const [state, code] of Object.entries(codes)) {
    t.like(of(state), { code, message: 'It is so.', next: 'Do this.' }, state)
    t.true(Object.hasOwn(CATALOGUE, code))
  }
})

test('whoever is connected, or about to be, has no problem', t => {
  for (const state of ['connected', 'awaiting-app', 'awaiting-installation']) t.is(of(state), undefined)
})
