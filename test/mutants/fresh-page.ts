// Planted bugs: what a reader of the settings page put in.

import type { Mutant } from './mutant.ts'

export const FRESH_PAGE: readonly Mutant[] = [
  {
    file: 'page/callback.ts',
    what: 'a timeout of GitHub is shown to the owner as a failure, although the code is stored and asked for again',
    find: '(status === 502 || status === 504) && connection.kind',
    put: 'status === 502 && connection.kind',
    test: 'page/forms.test.ts',
  },
  {
    file: 'page/callback.ts',
    what: 'once a look at GitHub has failed, /setup fails with the same failure for every visitor until the daemon is restarted',
    find: '      .finally(() => {\n        looking = undefined',
    put: '      .then(() => {\n        looking = undefined',
    test: 'page/pages.test.ts',
  },
  {
    file: 'page/callback.ts',
    what: 'the state does not go along to the installation: whoever installs the App from the page is not led back to it',
    find: "const query = session ? `?${new URLSearchParams({ state }).toString()}` : ''",
    put: "const query = ''",
    test: 'page/forms.test.ts',
  },
  {
    file: 'page/guards.ts',
    what: 'behind a web server the page is served by plain http although it is to be https',
    find: 'return front?.proto !== undefined && `${front.proto}:` !== base?.protocol ? undefined : base',
    put: 'return base',
    test: 'page/front.test.ts',
  },
  {
    file: 'page/forms.ts',
    what: "the form that finishes a disable disables a connection that stands, without the account's name and without waiting",
    find: "      if (isLive(connection) && connection.kind !== 'disconnecting')\n        throw new Failure('already-connected', 'there is no disable under way')",
    put: '',
    test: 'page/forms.test.ts',
  },
  {
    file: 'page/forms.ts',
    what: 'a refresh of which one scope failed is told as done',
    find: '      if (first) throw new Failure(',
    put: '      if (first && failed.length > 1) throw new Failure(',
    test: 'page/deeds.test.ts',
  },
  {
    file: 'page/forms.ts',
    what: 'an unlock is not waited for: with a wrong identity the page says nothing of it, and the deed is not noted',
    find: 'await deps.unlock(await deps.readIdentities(identity))',
    put: 'void deps.unlock(await deps.readIdentities(identity))',
    test: 'page/deeds.test.ts',
  },
  {
    file: 'page/requests.ts',
    what: 'the audit log does not say which visitor of the web server in front did it',
    find: "`page: ${action}${name === undefined ? '' : ` by ${name}`}`",
    put: '`page: ${action}`',
    test: 'page/front.test.ts',
  },
  {
    file: 'page/views/states.ts',
    what: 'with several installations the button leads to the first, not to the one that is suspended',
    find: 'model.installations.find(one => one.suspended_at !== undefined) ?? first',
    put: 'model.installations.find(one => one.suspended_at === undefined) ?? first',
    test: 'page/content.test.ts',
  },
]
