// How tests listen on unix sockets: as the daemon does.

import type { Listening } from '../../src/core/api/sockets.ts'
import { duplicate } from '../../src/service/libc.ts'

export const LISTENING: Listening = {
  ownerOf: () => 'nobody',
  duplicate: server => duplicate(Number(Reflect.get(Object(Reflect.get(server, '_handle')), 'fd'))),
}
