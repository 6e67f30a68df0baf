// How tests listen on unix sockets: as the daemon does.

import type { Listening } from '../../src/api/sockets.ts'
import { duplicate } from '../../src/platform/libc.ts'

export const LISTENING: Listening = {
  ownerOf: () => 'nobody',
  duplicate: server => duplicate(Number(Reflect.get(Object(Reflect.get(server, '_handle')), 'fd'))),
}
