// Planted bugs of the store and the bundle, chosen by a reader who had not seen the tests.

import type { Mutant } from './mutant.ts'

export const FRESH_STORE: readonly Mutant[] = [
  {
    file: 'core/snapshot/bundle.ts',
    what: 'what is exported is not read back as content',
    find: '    if (!(await contentToPayload(readPayload(sample, subject))).equals(sample)) throw corrupt(OTHERWISE)\n',
    put: '',
    test: 'core/snapshot/bundle.test.ts',
  },
  {
    file: 'core/offline.ts',
    what: 'an export without the daemon holds tokens that have ended, and two of a scope',
    find: 'tokens: newestOf(content.tokens, clock.now())',
    put: 'tokens: content.tokens',
    test: 'core/offline.test.ts',
  },
  {
    file: 'core/audit/audit-archive.ts',
    what: 'a file is full by its highest sequence: from the second one on each append begins another',
    find: 'file.head().sequence - file.anchor().sequence >= rowsPerFile',
    put: 'file.head().sequence >= rowsPerFile',
    test: 'core/audit/audit-archive.test.ts',
  },
  {
    file: 'core/audit/audit-archive.ts',
    what: 'the archives of former logs count as bytes of this one',
    find: 'bytes: () => sizeBelow(folder),',
    put: 'bytes: () => sizeBelow(options.folder),',
    test: 'core/audit/audit-archive.test.ts',
  },
  {
    file: 'core/store/sqlite.ts',
    what: 'free space is compared in blocks: with 200 MB left the disk counts as full',
    find: 'return bavail * bsize < 64 * 1024',
    put: 'return bavail < 64 * 1024',
    test: 'core/store/failures.test.ts',
  },
  {
    file: 'core/store/folders.ts',
    what: 'a folder above the current one, left by a kill, stays in the way of the next store',
    find: 'Number(name) !== options.current)',
    put: 'Number(name) < options.current)',
    test: 'core/store/database.test.ts',
  },
  {
    file: 'core/store/tables.ts',
    what: 'rows of keys that are gone take along the tokens that are written for such a key',
    find: '    for (const key of gone) removeBoth.run(key)\n    for (const token of tokens) insert.run(toRow(token))\n',
    put: '    for (const token of tokens) insert.run(toRow(token))\n    for (const key of gone) removeBoth.run(key)\n',
    test: 'core/store/contents.test.ts',
  },
  {
    file: 'core/store/tables.ts',
    what: 'after a restore the generation is that of where it came from, and not higher',
    find: 'Math.max(record.generation, change.above ?? 0) + (change.newGeneration ? 1 : 0)',
    put: 'Math.max(record.generation + (change.newGeneration ? 1 : 0), change.above ?? 0)',
    test: 'core/store/database.test.ts',
  },
  {
    file: 'core/store/records.ts',
    what: 'a deadline out of its bounds is repaired in silence',
    find: "    if (DECIDING.has(path.at(-1) ?? '')) throw malformed(what, path)\n",
    put: '',
    test: 'core/store/bounds.test.ts',
  },
  {
    file: 'core/snapshot/content.ts',
    what: 'a bundle of a live connection in another state than connected needs no key',
    find: 'if (isLive(record.connection) && record.keys.length === 0)',
    put: "if (record.connection.kind === 'connected' && record.keys.length === 0)",
    test: 'core/snapshot/bundle.test.ts',
  },
  {
    file: 'core/snapshot/archive.ts',
    what: 'an archive may go on with zeros after its end',
    find: 'if (rest.length > 2 * BLOCK || !isZero(rest))',
    put: 'if (!isZero(rest))',
    test: 'core/snapshot/hostile.test.ts',
  },
  {
    file: 'core/snapshot/archive.ts',
    what: "a name in a stranger's archive reaches the terminal with its control and direction characters",
    find: String.raw`JSON.stringify(name.slice(0, 100).replaceAll(/[^\x20-\x7e]/g, '?'))`,
    put: 'JSON.stringify(name.slice(0, 100))',
    test: 'core/snapshot/hostile.test.ts',
  },
]
