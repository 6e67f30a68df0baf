// What to do about a problem, for the person who ran this command: nothing that they may not run, nothing that leads back here.

import type { Code, Failure } from '../protocol/errors.ts'

/** `admin`: not root, and a member of the group that may open admin.sock. */
export type Who = 'root' | 'admin' | 'user'

export type Asked = {
  /** As in the table of commands: `keys add`. */
  readonly command: string
  readonly who: Who
  /** The caller named the socket. */
  readonly socketGiven: boolean
}

/** Who may run which command with success. `root`: a sealed key or the database key is root's alone. */
const COMMANDS_OF: Readonly<Record<Who, readonly string[]>> = {
  user: `status, token, exec, sink, git-credential, profiles, snapshot inspect, snapshot verify, config check, debug bundle,
    sandbox, completion`.split(/,\s+/),
  admin:
    `enable, import, disable, refresh, revoke, installations, explain, features, audit, audit verify, snapshot export,
    snapshot restore, recovery-key create, adopt, keys list, keys add, keys retire, check, ui, cluster status, cluster join,
    cluster leave, cluster promote, cluster rotate-secret, reload`.split(/,\s+/),
  root: ['features enable', 'features disable', 'unlock', 'store-key', 'store-key rotate', 'daemon'],
}

export const MAY_RUN: Readonly<Record<string, Who>> = Object.fromEntries(
  (['user', 'admin', 'root'] as const).flatMap(who => COMMANDS_OF[who].map(name => [name, who])),
)

const RANK: Readonly<Record<Who, number>> = { user: 0, admin: 1, root: 2 }

/** Problems that the caller of any command can do something about; the rest is for an administrator. */
const OF_THE_CALLER = new Set<Code>([
  'usage',
  'invalid-request',
  'body-too-large',
  'browser-refused',
  'not-permitted',
  'peer-gone',
  'profile-required',
  'installation-required',
  'repositories-required',
  'rate-limited',
  'daemon-absent',
  'bundle-corrupt',
  'bundle-wrong-identity',
  'bundle-newer',
  'bundle-sealed',
  'io',
  'timeout',
  'quota',
  'bad-credentials',
])

export const adviceOn = (failure: Failure, asked: Asked): string => {
  const { command, who } = asked
  const own = BY_CODE[failure.code]?.(asked, failure) ?? failure.next
  const text = !own.includes('--help') && leadsBack(own, command) ? elsewhere(command) : own
  return forPerson(text, { who, isTheirs: OF_THE_CALLER.has(failure.code) })
}

/** A text for an administrator, as this person may use it. */
export const forPerson = (text: string, { who, isTheirs = true }: { who: Who; isTheirs?: boolean }): string => {
  if (who === 'root' || /^(Run it with sudo|Ask an administrator)/.test(text)) return text
  const bySudo = text.replaceAll('`systemctl ', '`sudo systemctl ')
  if (who === 'admin') return withSudo(bySudo)
  const mayRun =
    !bySudo.includes('sudo ') && commandsIn(text).every(name => MAY_RUN[name] === 'user' || text.includes('--help'))
  // To wait is everybody's.
  const asksNothing = /^(Nothing|Wait)/.test(text) && commandsIn(text).length === 0
  return (isTheirs && mayRun) || asksNothing ? text : `Ask an administrator: ${bySudo}`
}

/** Whole names of commands that the text tells to run. */
export const commandsIn = (text: string): string[] =>
  [...text.matchAll(/`(?:sudo )?ghconnect ([a-z-]+)(?: ([a-z-]+))?/g)].flatMap(([, first = '', second]) => {
    const pair = `${first} ${second}`
    return pair in MAY_RUN ? [pair] : first in MAY_RUN ? [first] : []
  })

/** What a member of the group cannot do, root can. */
const withSudo = (text: string): string =>
  text.replaceAll(/`ghconnect [^`]+`/g, quoted =>
    !quoted.includes('--help') && commandsIn(quoted).some(name => RANK[MAY_RUN[name] ?? 'root'] > RANK.admin)
      ? quoted.replace('`ghconnect', '`sudo ghconnect')
      : quoted,
  )

const leadsBack = (text: string, command: string): boolean =>
  commandsIn(text).includes(command) && !/\bagain\b/.test(text)

const elsewhere = (command: string): string =>
  command === 'status'
    ? 'See the journal: `journalctl -u ghconnectd`.'
    : 'See `ghconnect status`, and the journal: `journalctl -u ghconnectd`.'

const help = ({ command }: Asked): string => `See \`ghconnect ${command} --help\`.`.replace('ghconnect  ', 'ghconnect ')

/** In the words of the command line, where the catalogue speaks to a client of the API. */
const BY_CODE: Partial<Record<Code, (asked: Asked, failure: Failure) => string>> = {
  usage: (asked, failure) => (failure.next === failure.entry.next ? help(asked) : failure.next),
  // What the daemon says of this very request comes first.
  'invalid-request': (asked, failure) => (failure.next === failure.entry.next ? help(asked) : failure.next),
  'unknown-route': () =>
    'The daemon and this command are of different versions: restart the daemon with `systemctl restart ghconnectd`.',
  'profile-required': () => 'Name one with --profile; `ghconnect profiles` lists yours.',
  'installation-required': () => 'Name one with --installation: its id, or the name of the account.',
  'repositories-required': () => 'Name the repositories with --repo.',
  'not-permitted': (asked, failure) => ofRefusal(asked, failure),
  'daemon-absent': ({ socketGiven, who }, failure) =>
    failure.next !== failure.entry.next
      ? failure.next
      : socketGiven
        ? 'Check the path given with --socket or GHCONNECT_SOCKET.'
        : who === 'user'
          ? 'Ask an administrator to start it: `sudo systemctl start ghconnectd`.'
          : 'Start it: `systemctl start ghconnectd`.',
  configuration: (_, failure) =>
    failure.next === failure.entry.next
      ? 'Correct the named key, then check the file again with `ghconnect config check`.'
      : failure.next,
  'bundle-corrupt': () => 'Nothing was changed. Use another snapshot.',
  locked: ({ command, who }, failure) => {
    if (command !== 'unlock' || failure.next !== failure.entry.next) return failure.next
    return who === 'root'
      ? 'Provide the store key (systemd credential `store.key` or [store] key_file), or restore a snapshot: `ghconnect snapshot restore`.'
      : 'Run it with sudo: only root can seal a new store key.'
  },
}

const ofRefusal = ({ command, who }: Asked, { next, entry }: Failure): string => {
  // A file or socket is closed to this caller, and whoever found it knows who may open it.
  if (next !== entry.next) return next
  if (MAY_RUN[command] !== 'user') {
    return who === 'root' ? 'See the reason above; nobody on this machine may do more than root.' : 'Run it with sudo.'
  }
  if (who === 'user') return 'Ask an administrator for a profile.'
  const admin = command === 'token' || command === 'exec' || command === 'profiles'
  return admin ? 'Add --admin for any scope, or add a profile; `ghconnect explain` shows who would get what.' : next
}

const FLAGS: Readonly<Record<string, string>> = {
  repositories: '--repo',
  permissions: '--permission',
  min_ttl_seconds: '--min-ttl',
  installation: '--installation',
  profile: '--profile',
  'account.login': 'the account',
}

/** A field of the request, by the name of its option. */
export const inOptions = (detail: string): string =>
  detail.replace(/^([a-z_]+(?:\.login)?)(?:\.[\w-]+)?(?=: )/, (field, name: string) => FLAGS[name] ?? field)
