// The routes of the App's private keys: list, add, retire. No answer holds a key.

import { Secret } from '../../protocol/secret.ts'
import { AddKeyAnswer, AddKeyRequest, KeysAnswer, RetireKeyAnswer, RetireKeyQuery } from '../../protocol/wire.ts'
import { type Route, route } from './route.ts'

const ADMIN = ['admin'] as const

export const KEY_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/keys',
    sockets: ADMIN,
    summary: "The App's private keys by fingerprint: which one signs, and what GitHub said of each",
    answer: KeysAnswer,
    handle: ({ operations }) => ({ keys: operations().keys.list() }),
  }),
  route({
    method: 'POST',
    path: '/v1/keys',
    sockets: ADMIN,
    summary: 'Add a second private key: proven with GitHub, it signs from then on, and the other one is the fallback',
    body: AddKeyRequest,
    answer: AddKeyAnswer,
    async handle({ body, operations }) {
      const { keys } = operations()
      const { added, alreadyHeld } = await keys.add(new Secret(body.private_key))
      return { added, already_held: alreadyHeld, keys: keys.list() }
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/keys',
    sockets: ADMIN,
    summary: 'Retire the fallback, or the key that is named, once GitHub took a signature of the one that stays',
    query: RetireKeyQuery,
    answer: RetireKeyAnswer,
    async handle({ query, operations }) {
      const { keys } = operations()
      const { retired, deleteOnGitHub } = await keys.retire(query.fingerprint)
      return { retired: [...retired], keys: keys.list(), delete_on_github: deleteOnGitHub }
    },
  }),
]
