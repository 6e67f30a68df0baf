// Planted bugs: what the settings page says and how it is closed to others.

import type { Mutant } from './mutant.ts'

export const PAGE: readonly Mutant[] = [
  {
    file: 'page/model-of.ts',
    what: 'a node that is cut off looks connected',
    find: '    state: status.state as DaemonState,\n',
    put: '    state: connection.kind,\n',
    test: 'page/model-of.test.ts',
  },
  {
    file: 'page/views/html.ts',
    what: 'a name that turns the direction of text disguises what is around it',
    find: "if (typeof value === 'string') return value.replaceAll(DISGUISE, '\\uFFFD')",
    put: "if (typeof value === 'string') return value",
    test: 'page/pages.test.ts',
  },
  {
    file: 'page/server.ts',
    what: 'a request that is refused before its path is looked at can be framed and kept',
    find: '    protect(c)\n    c.status(',
    put: '    c.status(',
    test: 'page/pages.test.ts',
  },
]
