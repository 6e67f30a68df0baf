// Who asked for a change on admin.sock: noted in the audit log before it is made.

import type { Operations } from '../operations.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import type { Route, SocketName } from './route.ts'

/**
 * Undefined for routes that change nothing. What the note returns is called once the change was made: it notes it then where the log
 * was closed until that moment, as with an unlock.
 */
export const noteOf = (
  route: Route,
  { socket, operations }: { socket: SocketName; operations: () => Operations },
): ((caller: Caller) => () => void) | undefined => {
  if (socket !== 'admin' || route.method === 'GET' || route.changesNothing) return undefined
  const detail = `${route.method} ${route.path}`
  return ({ attested }) => {
    const noted = attempt(() => operations().noteRequest(attested.peer, detail))
    return () => void (noted || attempt(() => operations().noteRequest(attested.peer, detail)))
  }
}

/** False while the store is closed. */
const attempt = (note: () => void): boolean => {
  try {
    note()
    return true
  } catch {
    return false
  }
}
