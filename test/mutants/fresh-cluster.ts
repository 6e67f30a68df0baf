// Planted bugs that a reader who knew no test thought of: between nodes, on the way to GitHub, and in what is configured.

import type { Mutant } from './mutant.ts'

export const FRESH_CLUSTER: readonly Mutant[] = [
  {
    file: 'core/cluster/view.ts',
    what: 'asks that went away while etcd was out of reach stay for ever',
    find: 'for (const map of [members, asks]) map.clear()',
    put: 'for (const map of [members]) map.clear()',
    test: 'core/cluster/link.test.ts',
  },
  {
    file: 'core/cluster/view.ts',
    what: 'the end of the former name of a token takes the token away that has a new one',
    find: 'if (tokens.get(token)?.name === key) tokens.delete(token)',
    put: 'tokens.delete(token)',
    test: 'core/cluster/link.test.ts',
  },
  {
    file: 'core/cluster/link.ts',
    what: 'a leader that loses touch is not told that it leads no more',
    find: '      noteLead()\n      handlers.onTouch(inTouch)',
    put: '      handlers.onTouch(inTouch)',
    test: 'core/cluster/link.test.ts',
  },
  {
    file: 'core/cluster/etcd.ts',
    what: 'a list of several pages has the revision of the last one',
    find: 'at ??= page.header.revision',
    put: 'at = page.header.revision',
    test: 'core/cluster/etcd.test.ts',
    slow: true,
  },
  {
    file: 'core/github/calls.ts',
    what: 'all pages of a list have one ETag',
    find: 'JSON.stringify([deps.settings().apiUrl, as.issuer, route, parameters])',
    put: 'JSON.stringify([deps.settings().apiUrl, as.issuer, route])',
    test: 'core/github/conditional.test.ts',
  },
  {
    file: 'core/github/calls.ts',
    what: "the Date of a portal sets GitHub's clock",
    find: '      if (!isGitHubs(answered)) {',
    put: "      const told = response.headers.get('date')\n      if (told) githubClock.learn(told, sentAtMs)\n      if (!isGitHubs(answered)) {",
    test: 'core/github/request.test.ts',
  },
  {
    file: 'core/github/github.ts',
    what: 'a full page with an entry that means nothing is the last one',
    find: 'if (!hasNext(headers, items.length))',
    put: 'if (!hasNext(headers, items.filter(Boolean).length))',
    test: 'core/github/installations.test.ts',
  },
  {
    file: 'service/config-parse.ts',
    what: 'a front_user beside a port is accepted',
    find: "  if (listen && !isUnix) wrong('front_user', 'needs a unix socket in listen: nobody can tell who connects to a port')\n",
    put: '',
    test: 'service/config.test.ts',
  },
  {
    file: 'service/config-parse.ts',
    what: 'a profile may have the name of a feature',
    find: "    if (Object.hasOwn(FEATURES, name)) report(['profiles', at, 'name'], 'is the name of a feature')\n",
    put: '',
    test: 'service/features-file.test.ts',
  },
  {
    file: 'service/config-parse.ts',
    what: 'root is nobody',
    find: 'if (id !== undefined) return [{ name, id }]',
    put: 'if (id) return [{ name, id }]',
    test: 'service/config.test.ts',
  },
  {
    file: 'service/config-shape.ts',
    what: 'findings behind a profile that was taken away name another profile',
    find: 'return [table, (isContainer(element) ? origins.get(element) : undefined) ?? index, ...rest]',
    put: 'return [table, index, ...rest]',
    test: 'core/config-check.test.ts',
  },
  {
    file: 'core/outbound/fetch.ts',
    what: 'who goes away while an answer is read is told that the answer broke off',
    find: '    if (signal?.aborted) throw signal.reason\n',
    put: '',
    test: 'core/outbound/fetch.test.ts',
  },
  {
    file: 'service/proxy.ts',
    what: 'an empty variable in lower case hides the one in upper case',
    find: 'env[name.toLowerCase()] || env[name] || undefined',
    put: '(env[name.toLowerCase()] ?? env[name]) || undefined',
    test: 'service/proxy.test.ts',
  },
]
