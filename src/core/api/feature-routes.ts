// The routes of the features of GitHub Connect, and of the configuration that switches them.

import { FeaturesAnswer, ReloadAnswer } from '../../protocol/wire.ts'
import { type Route, route } from './route.ts'

const ADMIN = ['admin'] as const

export const FEATURE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/features',
    sockets: ADMIN,
    summary: 'The features of GitHub Connect: which are switched on, what each may do, and what it waits for',
    answer: FeaturesAnswer,
    handle: async ({ operations }) => ({ features: await operations().features.list() }),
  }),
  route({
    method: 'POST',
    path: '/v1/reload',
    sockets: ADMIN,
    summary: 'Reads the configuration again, as SIGHUP does, and says why where it is refused',
    answer: ReloadAnswer,
    handle: ({ backend }) => ({ file: backend.reload() }),
  }),
]
