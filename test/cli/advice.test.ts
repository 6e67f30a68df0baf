// Advice: for every problem, command and person, nothing that they may not run and nothing that leads back to what they just ran.

import test from 'ava'
import { adviceOn, commandsIn, inOptions, MAY_RUN, type Who } from '../../src/cli/advice.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { CATALOGUE, Failure, isCode } from '../../src/protocol/errors.ts'

const codes = Object.keys(CATALOGUE).filter(isCode)
const PEOPLE: readonly Who[] = ['root', 'admin', 'user']
const RANK = { user: 0, admin: 1, root: 2 }

test('the table of who may run what has each command, and no other', t => {
  t.deepEqual(Object.keys(MAY_RUN).toSorted(), COMMANDS.map(({ name }) => name).toSorted())
})

test('for each problem, command and person the advice is theirs to follow, and leads on', t => {
  for (const code of codes) {
    for (const command of Object.keys(MAY_RUN)) {
      for (const who of PEOPLE) {
        const text = adviceOn(new Failure(code, 'detail'), { command, who, socketGiven: false })
        const where = `${code}, ${command}, ${who}: ${text}`
        t.regex(text, /^[A-Z].*\.$/, where)
        // A field of the API, or a route: nothing that can be typed here.
        t.notRegex(text, /`(profile|installation|repositories|permissions)`|GET \/v1/, where)
        // The help of a command is everybody's.
        const named = text.includes('--help') ? [] : commandsIn(text)
        if (!/\bagain\b/.test(text)) t.false(named.includes(command) && !text.includes('--help'), where)
        if (who === 'user') {
          const isForOthers = text.startsWith('Ask an administrator') || text.includes('sudo')
          t.true(isForOthers || named.every(name => MAY_RUN[name] === 'user'), where)
          t.true(isForOthers || !text.includes('`systemctl'), where)
        }
        if (who === 'admin') {
          t.notRegex(text, /`systemctl/, where)
          for (const name of named) {
            const typed = new RegExp('`ghconnect ' + name + '[ `]').test(text)
            t.true(!typed || RANK[MAY_RUN[name] ?? 'root'] <= RANK.admin, where)
          }
        }
      }
    }
  }
})

const denied = (): Failure => new Failure('not-permitted', 'no profile admits this caller')
const closed = (): Failure =>
  new Failure('not-permitted', 'only root may open it', {
    next: 'Run it with sudo, or join the group ghconnect-admin.',
  })
const asked = (command: string, who: Who, socketGiven = false) => ({ command, who, socketGiven })

test('an ordinary user is not sent to a command that refuses them', t => {
  t.is(adviceOn(denied(), asked('token', 'user')), 'Ask an administrator for a profile.')
  t.is(adviceOn(closed(), asked('explain', 'user')), 'Run it with sudo, or join the group ghconnect-admin.')
  t.is(adviceOn(closed(), asked('refresh', 'user')), 'Run it with sudo, or join the group ghconnect-admin.')
})

test('root on token.sock is told of --admin', t => {
  t.regex(adviceOn(denied(), asked('token', 'root')), /^Add --admin for any scope/)
})

test('`cluster status` on a single node does not recommend itself', t => {
  const single = new Failure('cluster-member', 'no cluster is configured here', { next: 'This is a single node.' })
  t.is(adviceOn(single, asked('cluster status', 'root')), 'This is a single node.')
  const other = new Failure('cluster-member', 'this node is not in it')
  t.notRegex(adviceOn(other, asked('cluster status', 'root')), /cluster status/)
})

test('a token that is asked for before the App is installed names the page where it is installed', t => {
  const next = 'Install it: https://github.com/apps/x/installations/new'
  const failure = new Failure('not-connected', 'The App x exists and is not installed yet.', { next })
  t.is(adviceOn(failure, asked('token', 'root')), next)
  t.is(adviceOn(failure, asked('token', 'user')), `Ask an administrator: ${next}`)
})

test('a socket that was named is the thing to check, and not the service', t => {
  const absent = new Failure('daemon-absent', 'nothing listens on /nope')
  t.is(adviceOn(absent, asked('status', 'root', true)), 'Check the path given with --socket or GHCONNECT_SOCKET.')
  t.is(adviceOn(absent, asked('status', 'root')), 'Start it: `systemctl start ghconnectd`.')
  t.regex(adviceOn(absent, asked('token', 'user')), /^Ask an administrator to start it/)
})

test('the command line speaks of its options, not of the fields of the API', t => {
  t.is(inOptions('repositories.0: must be the name of a repository'), '--repo: must be the name of a repository')
  t.is(inOptions('min_ttl_seconds: too big'), '--min-ttl: too big')
  t.is(inOptions('private_key: too long'), 'private_key: too long')
  t.is(
    adviceOn(new Failure('repositories-required', 'x'), asked('token', 'user')),
    'Name the repositories with --repo.',
  )
})

test('what the daemon says of a request itself comes before the help of the command', t => {
  const explaining = { command: 'explain', who: 'root', socketGiven: false } as const
  const own = new Failure('invalid-request', 'pid: process 7 is hidden', { next: 'Add the group.' })
  t.is(adviceOn(own, explaining), 'Add the group.')
  t.is(adviceOn(new Failure('invalid-request', 'pid: no number'), explaining), 'See `ghconnect explain --help`.')
})
