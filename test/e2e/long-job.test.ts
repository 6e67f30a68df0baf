// A job of three hours: by the gateway, by the file that exec keeps and by git in turns, and never with a token that has ended.

import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { type GitServer, startGitServer } from '../support/git-server.ts'
import { startCli, until } from '../support/processes.ts'
import { travel } from '../support/time-machine.ts'
import { callUnix } from '../support/unix-http.ts'

const HELPER = resolve(import.meta.dirname, '../../scripts/git-credential-ghconnect')
const run = promisify(execFile)
const MINUTE = 60_000
const HOURS = 3

const PROFILE = `[[profiles]]
name = "job"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = ["${userInfo().username}"] }
`

test.serial(`in ${HOURS} hours of gateway, kept file and git no request meets an expired token`, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-job-'))
  let server: GitServer | undefined
  const world = await travel({
    toml: PROFILE,
    async front(sandbox) {
      server = await startGitServer(folder, () => sandbox)
      server.create('octo-org', 'web')
      return server.url
    },
  })
  const { appliance, time } = world
  const url = `${server?.url}/octo-org/web.git`
  const path = join(folder, 'token')
  const job = startCli(
    ['exec', '--socket', appliance.runtime, '--refresh-file', path, '--', 'sh', '-c', 'echo up; read end; exit 5'],
    { ...time.env, NODE_NO_WARNINGS: '1' },
  )
  const tokens = new Set<string>()

  const byGateway = async (when: string): Promise<void> => {
    const at = '/v1/github/repos/octo-org/web/contents/README.md'
    const answer = await callUnix(join(appliance.runtime, 'token.sock'), { method: 'GET', path: at })
    t.is(answer.status, 200, `gateway, ${when}: ${answer.text}`)
  }
  const byFile = async (when: string): Promise<void> => {
    const token = readFileSync(path, 'utf8')
    tokens.add(token)
    t.is(await world.use(token), 200, `file, ${when}`)
  }
  const byGit = async (when: string): Promise<void> => {
    const helper = `credential.helper=${HELPER} --socket ${appliance.runtime}`
    const env = { PATH: process.env['PATH'], HOME: folder, GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_NOSYSTEM: '1' }
    const { stdout } = await run('git', ['-c', helper, 'ls-remote', url], { env })
    t.regex(stdout, /refs\/heads\/main/, `git, ${when}`)
  }
  const ways = [byGateway, byFile, byGit]

  try {
    await until('the job runs', () => job.output().includes('up'))
    for (let minute = 1; minute <= HOURS * 60; minute++) {
      time.advance(MINUTE)
      // Asleep, it would see the new time when its wait is over by the clock of this machine: a stop and its end wake it.
      for (const signal of ['SIGSTOP', 'SIGCONT'] as const) job.child.kill(signal)
      await ways[minute % ways.length]?.(`minute ${minute}`)
      // What the minute made due is done in it.
      await world.settled()
    }
    t.true(tokens.size >= HOURS, `the file held ${tokens.size} tokens`)
    const visits = server?.visits.filter(({ hash }) => hash !== undefined) ?? []
    t.true(visits.length >= HOURS * 20)
    t.deepEqual(new Set(visits.map(({ status }) => status)), new Set([200]))
    job.child.stdin?.end('end\n')
    t.is(await job.ended, 5, job.output())
  } finally {
    await job.stop('SIGKILL')
    await world.close()
    await server?.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
