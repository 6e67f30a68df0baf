// Planted bugs of a reader who had not seen the tests: sockets and operations.

import type { Mutant } from './mutant.ts'

export const FRESH_API: readonly Mutant[] = [
  {
    file: 'core/api/dispatcher.ts',
    what: 'what is a DELETE is not noted with who asked for it',
    find: "!name.startsWith('GET ') && !endpoint.changesNothing",
    put: "name.startsWith('POST ') && !endpoint.changesNothing",
    test: 'core/api/handlers.test.ts',
  },
  {
    file: 'core/api/dispatcher.ts',
    what: 'an unlock is in no audit log',
    find: '    if (!isNoted) note(caller)\n',
    put: '',
    test: 'core/api/handlers.test.ts',
  },
  {
    file: 'core/api/handlers.ts',
    what: 'an adopt is not waited for',
    find: 'await operations().snapshots.adopt()',
    put: 'void operations().snapshots.adopt()',
    test: 'core/api/snapshot-routes.test.ts',
  },
  {
    file: 'core/api/handlers.ts',
    what: 'an export with config=false has the configuration in it',
    find: "withConfig: query.config === 'true'",
    put: 'withConfig: query.config !== undefined',
    test: 'core/api/snapshot-routes.test.ts',
  },
  {
    file: 'core/api/body.ts',
    what: 'a body that one route took is given to another one unchecked',
    find: 'const known = kept.get(schema) ?? new Map<string, unknown>()\n  kept.set(schema, known)',
    put: 'const known = kept.get(kept as never) ?? new Map<string, unknown>()\n  kept.set(kept as never, known)',
    test: 'core/api/body.test.ts',
  },
  {
    file: 'core/api/body.ts',
    what: 'a body that had no room is read on, and charged for after its end',
    find: '    incoming.pause()\n    chunks.length = 0\n',
    put: '    chunks.length = 0\n',
    test: 'core/api/body.test.ts',
  },
  {
    file: 'core/peers/holder.ts',
    what: 'where others hold all the room, a small request is refused',
    find: 'if (own > assured && (own > limits.ofHolder || all + cost > limits.all)) return false',
    put: 'if (own > limits.ofHolder || all + cost > limits.all) return false',
    test: 'core/api/body.test.ts',
  },
  {
    file: 'core/connection/drift.ts',
    what: 'what GitHub said of one App is taken for the App of the next connection',
    find: '        if (!isMeant()) return\n        appSeenAtMs',
    put: '        appSeenAtMs',
    test: 'core/connection/drift.test.ts',
  },
  {
    file: 'core/tokens/mint-limits.ts',
    what: 'rests that are over are told until somebody asks',
    find: '        .filter(({ leftMs }) => leftMs > 0)\n',
    put: '',
    test: 'core/tokens/mint-limits.test.ts',
  },
  {
    file: 'core/peers/rate-limit.ts',
    what: 'a holder that was forgotten has one share on its old connections and another one on its new ones',
    find: '        dropped.dropped = true\n',
    put: '',
    test: 'core/peers/rate-limit.test.ts',
  },
  {
    file: 'core/tokens/token-cache.ts',
    what: 'a token that GitHub refuses stays on the disk',
    find: '      delete entry[slot]\n      shares.charge(entry)\n      saveSoon(entry.key)\n',
    put: '      delete entry[slot]\n      shares.charge(entry)\n',
    test: 'core/tokens/token-disk.test.ts',
  },
  {
    file: 'core/tokens/minting.ts',
    what: 'what was refused for its permissions does not rest',
    find: '    entry.failedUnder = connectionState.read().installations\n',
    put: '',
    test: 'core/tokens/tokens-told.test.ts',
  },
]
