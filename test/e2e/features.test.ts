// A feature from the switch to its consumer: switched on by command, asked of the App, approved by the owner, used by git.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { z } from 'zod'
import { FeaturesAnswer, Status } from '../../src/protocol/wire.ts'
import { approvePermissions, editPermissions } from '../../src/sandbox/owner.ts'
import { CLI, createAppliance } from '../support/appliance.ts'
import { startGitServer, WRITER } from '../support/git-server.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const CONSUMER = join(ROOT, 'docs/examples/fetch-action.sh')
const run = promisify(execFile)
const NAME = 'actions-from-github'

type Ran = { code: number; stdout: string; stderr: string }
const State = z.object({
  apps: z.array(z.object({ id: z.int() })),
  tokens: z.array(z.object({ hashed_token: z.string(), permissions: z.record(z.string(), z.string()) })),
})

test('from the switch to the files: each step says who has to do what, and the consumer works once the owner approved', async t => {
  let target = ''
  const repositories = mkdtempSync(join(tmpdir(), 'ghconnect-git-'))
  const server = await startGitServer(repositories, () => target)
  const appliance = await createAppliance({
    toml: '',
    github: { url: server.url, apiUrl: `${server.url}/api/v3` },
  })
  const { configFile, runtime, folder } = appliance
  t.teardown(async () => {
    await appliance.close()
    await server.close()
    rmSync(repositories, { recursive: true, force: true })
  })
  target = appliance.sandbox.url
  server.create('octo-org', 'web')
  mkdirSync(join(folder, 'home'))
  const env = {
    PATH: process.env['PATH'],
    HOME: join(folder, 'home'),
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_NOSYSTEM: '1',
    GHCONNECT_CONFIG: configFile,
    GHCONNECT_SOCKET: runtime,
    GITHUB_SERVER_URL: server.url,
    GHCONNECT_GIT_HELPER: join(ROOT, 'scripts/git-credential-ghconnect'),
    ...WRITER,
  }
  const execute = (file: string, ...args: string[]): Promise<Ran> =>
    run(file, args, { env, cwd: folder }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: Ran) => ({ code: error.code, stdout: error.stdout, stderr: error.stderr }),
    )
  const ghconnect = (...args: string[]): Promise<Ran> => execute(process.execPath, CLI, ...args)
  const fetchAction = (): Promise<Ran> => execute(CONSUMER, 'octo-org/web', 'main', join(folder, 'action'))
  const featureOf = async () => {
    const { features } = FeaturesAnswer.parse(JSON.parse((await ghconnect('features', '--json')).stdout))
    return features.find(one => one.name === NAME)
  }
  const warningCodes = async () =>
    Status.parse((await appliance.call('GET', '/v1/status')).body).warnings.map(({ code }) => code)

  await appliance.start()
  await appliance.enable()
  const [app] = State.parse(await appliance.control('GET', 'state')).apps
  // An App of the days before: it asks for next to nothing.
  await appliance.control('POST', `apps/${app?.id}/permissions`, { permissions: { metadata: 'read' } })
  t.is((await featureOf())?.state, 'off')
  t.not((await fetchAction()).code, 0)

  const before = readFileSync(configFile, 'utf8')
  const switched = await ghconnect('features', 'enable', NAME, '--user', userInfo().username)
  t.is(switched.code, 0, switched.stderr)
  t.regex(switched.stdout, /actions-from-github: app-lacks\. The App does not ask for contents: read\./)
  t.is(readFileSync(configFile, 'utf8'), before)
  const lacking = await featureOf()
  t.is(lacking?.state, 'app-lacks')
  t.true((await warningCodes()).includes('feature-permissions'))
  const refused = await fetchAction()
  t.regex(refused.stderr, /permissions requested are not granted to this installation/)
  const explained = await ghconnect('explain', '--profile', NAME, '--user', userInfo().username)
  t.regex(explained.stdout, /granted: by profile actions-from-github/)

  await editPermissions({ permissionsUrl: `${lacking?.link}`, permissions: { contents: 'read' } })
  const waiting = await featureOf()
  t.is(waiting?.state, 'awaiting-approval')
  t.deepEqual(waiting?.missing, { contents: 'read' })
  t.false((await warningCodes()).includes('feature-permissions'))
  t.not((await fetchAction()).code, 0)

  await approvePermissions({ installationUrl: `${waiting?.link}` })
  t.is((await featureOf())?.state, 'on')
  const fetched = await fetchAction()
  t.is(fetched.code, 0, fetched.stderr)
  t.true(existsSync(join(folder, 'action/.git')))
  const used = server.visits.findLast(visit => visit.status === 200)?.hash
  const { tokens } = State.parse(await appliance.control('GET', 'state'))
  t.deepEqual(tokens.find(token => token.hashed_token === used)?.permissions, { contents: 'read', metadata: 'read' })

  const off = await ghconnect('features', 'disable', NAME)
  t.is(off.stdout, `${NAME} is off.\n`)
  t.is((await ghconnect('token', '--profile', NAME)).code, 77)
  t.not((await fetchAction()).code, 0)
})

test('beside a configuration that is wrong nothing is written, and without a daemon it waits for the next start', async t => {
  const appliance = await createAppliance({ toml: '' })
  t.teardown(() => appliance.close())
  await appliance.start()
  const env = { ...process.env, GHCONNECT_CONFIG: appliance.configFile, GHCONNECT_SOCKET: appliance.runtime }
  const ghconnect = (...args: string[]) =>
    run(process.execPath, [CLI, ...args], { env }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: Ran) => error,
    )
  const file = appliance.configFile.replace('config.toml', 'config.features.toml')
  appliance.configure('[store]\n')
  const broken = await ghconnect('features', 'enable', NAME)
  t.is(broken.code, 78)
  t.false(existsSync(file))
  appliance.configure('')
  t.is((await ghconnect('features', 'enable', NAME)).code, 0)
  t.true(existsSync(file))
  const listed = await ghconnect('features')
  t.regex(listed.stdout, /actions-from-github +awaiting-connection +contents: read, metadata: read/)
  await appliance.kill()
  const stopped = await ghconnect('features', 'disable', NAME)
  t.is(stopped.code, 0)
  t.regex(stopped.stderr, /reads it at its next start/)
  t.false(existsSync(file))
})
