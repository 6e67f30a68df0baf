// What a state is to somebody who wants a token: one problem of the catalogue each, or none.

import test from 'ava'
import { TROUBLES } from '../../src/protocol/connection.ts'
import { failureOfState } from '../../src/protocol/state-failure.ts'

const codeOf = (state: string): string | undefined => failureOfState({ state, meaning: 'm', next: 'n' })?.code

test('each state without tokens is a problem of its own, and the others are none', t => {
  t.deepEqual(
    Object.fromEntries(
      [
        'disconnected',
        'disconnecting',
        'key-lost',
        'quarantined',
        'isolated',
        'locked',
        'awaiting-unlock',
        ...TROUBLES,
      ].map(state => [state, codeOf(state)]),
    ),
    {
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
    },
  )
  for (const state of ['connected', 'awaiting-app', 'awaiting-installation']) t.is(codeOf(state), undefined, state)
})

test('the problem says what the state means, and what it asks for', t => {
  const failure = failureOfState({ state: 'blocked', meaning: 'It is blocked.', next: 'Unblock it.' })
  t.is(failure?.message, 'It is blocked.')
  t.is(failure?.next, 'Unblock it.')
})
