// `ghconnect explain`: what is asked of the daemon, and how its answer reads.

import test from 'ava'
import type { ExplainAnswer } from '../../../src/protocol/wire-policy.ts'
import { runCli, startDaemon } from '../rig.ts'

const ANSWER: ExplainAnswer = {
  caller: { pid: 4711, uid: 998, user: 'git', groups: ['git'], unit: 'cron.service' },
  decision: { outcome: 'not-permitted', detail: 'no profile allows this request to this caller' },
  profiles: [
    {
      profile: 'actions',
      outcome: 'denied',
      reasons: [
        { list: 'users', outcome: 'match', detail: 'uid 998 is one of git (998)' },
        { list: 'groups', outcome: 'any', detail: 'any group' },
        { list: 'units', outcome: 'no-match', detail: 'cron.service is none of actions-sync.service' },
        { list: 'scope', outcome: 'match', detail: 'installation 1, web, contents: read' },
      ],
      scope: { installation: 1, repositories: ['web'], permissions: { contents: 'read' } },
    },
  ],
}

test('each list of each profile has its line', async t => {
  const daemon = await startDaemon(t, { 'admin POST /v1/policy/explain': { body: ANSWER } })
  const ran = await runCli(['explain', '--pid', '4711', '--repo', 'web', '--socket', daemon.folder])
  t.is(ran.code, 0)
  t.is(
    ran.stdout,
    [
      'Caller    process 4711, user git (998), groups git, unit cron.service',
      'Decision  not-permitted: no profile allows this request to this caller',
      '',
      'actions  denied',
      '  users   match     uid 998 is one of git (998)',
      '  groups  any       any group',
      '  units   no-match  cron.service is none of actions-sync.service',
      '  scope   match     installation 1, web, contents: read',
      '',
    ].join('\n'),
  )
  t.deepEqual(daemon.seen[0]?.body, { pid: 4711, repositories: ['web'] })
})

test('options become the request, and JSON is the answer as it is', async t => {
  const daemon = await startDaemon(t, { 'admin POST /v1/policy/explain': { body: ANSWER } })
  const line = 'explain --profile actions --user git --group adm --unit a.service --permission contents=read --json'
  const ran = await runCli([...line.split(' '), '--socket', daemon.folder])
  t.deepEqual(JSON.parse(ran.stdout), ANSWER)
  t.deepEqual(daemon.seen[0]?.body, {
    profile: 'actions',
    user: 'git',
    group: 'adm',
    unit: 'a.service',
    permissions: { contents: 'read' },
  })
})

test('as JSON, explain asks nothing of libc, also where no token is served', async t => {
  const withheld = { code: 'audit-unavailable', detail: 'the disk is full', next: 'Free space.' }
  const daemon = await startDaemon(t, { 'admin POST /v1/policy/explain': { body: { ...ANSWER, withheld } } })
  let asked = 0
  const who = async () => (asked++, 'user' as const)
  const ran = await runCli(['explain', '--json', '--socket', daemon.folder], { who })
  t.deepEqual([ran.code, JSON.parse(ran.stdout).withheld.next, asked], [0, 'Free space.', 0])
  const told = await runCli(['explain', '--socket', daemon.folder], { who })
  t.regex(told.stdout, /Ask an administrator: Free space\./)
  t.is(asked, 1)
})

test('a process and a description of another one do not go together', async t => {
  for (const line of ['explain --pid 1 --user git', 'explain --pid x', 'explain --pid 0']) {
    const ran = await runCli(line.split(' '))
    t.is(ran.code, 64, line)
  }
})
