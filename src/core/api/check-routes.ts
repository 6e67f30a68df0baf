// GET /v1/check: the doctor, as one report or as server-sent events, row by row as they are known.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'
import { CheckReport, CheckRow } from '../../protocol/wire-check.ts'
import { type Backend, type Route, route } from './route.ts'

export const CHECK_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/check',
    sockets: ['admin'],
    summary:
      'A row for each layer between this machine and a token, within 5 seconds; with `Accept: text/event-stream` as events: `row` as each is known (a later row of the same layer and subject takes the place of the earlier one), then `report`',
    answer: CheckReport,
    event: z.union([CheckRow, CheckReport]),
    handle: ({ backend }) => backend.check(),
  }),
]

export const isStream = ({ headers }: IncomingMessage): boolean => headers.accept === 'text/event-stream'

export const streamCheck = async (outgoing: ServerResponse, backend: Backend): Promise<void> => {
  outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  outgoing.flushHeaders()
  const send = (event: 'row' | 'report', data: unknown): void => {
    if (!outgoing.destroyed) outgoing.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
  }
  send('report', await backend.check(row => send('row', row)))
  outgoing.end()
}
