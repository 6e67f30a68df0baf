// Planted bugs: who may write what in a cluster, and which of two truths counts.

import type { Mutant } from './mutant.ts'

export const CLUSTER: readonly Mutant[] = [
  {
    file: 'cluster/election.ts',
    what: 'a former leader takes the office of its successor away',
    find: "await etcd.commit([fence], [{ kind: 'delete', key: KEYS.leader }])",
    put: "await etcd.commit([], [{ kind: 'delete', key: KEYS.leader }])",
    test: 'cluster/election.test.ts',
  },
  {
    file: 'cluster/election.ts',
    what: 'the office of a former process of the same name counts',
    find: 'known?.holder === node && lease !== undefined && entry?.lease === lease.id',
    put: 'known?.holder === node && lease !== undefined',
    test: 'cluster/election.test.ts',
  },
  {
    file: 'cluster/election.ts',
    what: 'a leader whose lease has ended still leads',
    find: 'const leads = (): boolean => office !== undefined && office.lease.isHeld()',
    put: 'const leads = (): boolean => office !== undefined',
    test: 'cluster/election.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'a refused write of the record counts as done',
    find: '      return committed\n    },\n    tokens:',
    put: '      return true\n    },\n    tokens:',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'a refused write of tokens counts as done',
    find: '        if (!committed) return count\n',
    put: '',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'tokens are written without a fence',
    find: '          [fence],\n          drawn.flatMap',
    put: '          [],\n          drawn.flatMap',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'the record is written over another one',
    find: '[...conditions, unchanged],',
    put: 'conditions,',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'the record is written without the right of its writer',
    find: '[...conditions, unchanged],',
    put: '[unchanged],',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'an older token of a follower overwrites a newer one',
    find: 'await etcd.commit([{ key: name, modRevision }], writes)',
    put: 'await etcd.commit([], writes)',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'a former leader deletes tokens',
    find: "          [fence],\n          part.map(key => ({ kind: 'delete', key })),",
    put: "          [],\n          part.map(key => ({ kind: 'delete', key })),",
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'a record with other bytes under a known revision is not noticed',
    find: 'if (entry && raw?.equals(entry.value) && entry.modRevision === seen.modRevision) return',
    put: 'if (entry && entry.modRevision === seen.modRevision) return',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'a record of another history under a known revision raises no doubt',
    find: ' || (entry.modRevision === seen.modRevision && !raw?.equals(entry.value)))',
    put: ')',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'a newer token under a known name is not noticed in a list',
    find: 'if (kept?.seal !== sealOf(value)) return true',
    put: 'if (!kept) return true',
    test: 'cluster/link.test.ts',
  },
  {
    file: 'cluster/board.ts',
    what: 'a token stays under the name that a former secret gave it',
    find: "former === undefined || former === name ? [write] : [write, { kind: 'delete', key: former }]",
    put: '[write]',
    test: 'cluster/link.test.ts',
  },
]
