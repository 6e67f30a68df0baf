// git itself, over HTTP, with one line of configuration: it clones, fetches and pushes by tokens that it never keeps.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { tmpdir, userInfo } from 'node:os'
import { promisify } from 'node:util'
import test from 'ava'
import { type Appliance, CLI, createAppliance } from '../support/appliance.ts'
import { startGitServer, WRITER } from '../support/git-server.ts'
import { findLeaksBelow } from '../support/leaks.ts'
import { callUnix } from '../support/unix-http.ts'

const HELPER = resolve(import.meta.dirname, '../../scripts/git-credential-ghconnect')
const run = promisify(execFile)
const me = userInfo().username

const WRITERS = `[[profiles]]
name = "writers"
installation = "octo-org"
permissions = { contents = "write" }
allow = { users = ["${me}"] }
`
const TWO = `[[profiles]]
name = "web"
installation = "octo-org"
repositories = ["web"]
permissions = { contents = "write" }
allow = { users = ["${me}"] }
[[profiles]]
name = "others"
installation = "octo-org"
repositories = ["a*"]
permissions = { contents = "read" }
allow = { users = ["${me}"] }
`

type Ran = { code: number; stdout: string; stderr: string }

const prepare = async (toml: string) => {
  let target = ''
  const repositories = mkdtempSync(join(tmpdir(), 'ghconnect-git-'))
  const server = await startGitServer(repositories, () => target)
  const appliance: Appliance = await createAppliance({
    toml,
    github: { url: server.url, apiUrl: `${server.url}/api/v3` },
  })
  target = appliance.sandbox.url
  for (const name of ['web', 'api']) server.create('octo-org', name)
  await appliance.start()
  await appliance.enable()
  const home = join(appliance.folder, 'home')
  mkdirSync(home)
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: home,
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_NOSYSTEM: '1',
    ...WRITER,
  }
  const git = (...args: string[]): Promise<Ran> =>
    run('git', args, { cwd: home, env }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: Ran) => ({ code: error.code, stdout: error.stdout, stderr: error.stderr }),
    )
  const helper = `${HELPER} --socket ${appliance.runtime}`
  await git('config', '--global', `credential.${server.url}.helper`, helper)
  return {
    appliance,
    server,
    git,
    home,
    helper,
    env,
    async close() {
      await appliance.close()
      await server.close()
      rmSync(repositories, { recursive: true, force: true })
    },
  }
}

test.serial('one line of configuration: a private repository is cloned, and what is pushed arrives', async t => {
  const { appliance, server, git, home, close } = await prepare(WRITERS)
  try {
    const cloned = await git('clone', `${server.url}/octo-org/web.git`, 'web')
    t.is(cloned.code, 0, cloned.stderr)
    writeFileSync(join(home, 'web', 'file'), 'text\n')
    await git('-C', 'web', 'add', 'file')
    await git('-C', 'web', 'commit', '-qm', 'more')
    const pushed = await git('-C', 'web', 'push', 'origin', 'HEAD:main')
    t.is(pushed.code, 0, pushed.stderr)
    const again = await git('clone', `${server.url}/octo-org/web.git`, 'again')
    t.is(again.code, 0, again.stderr)
    t.is(readFileSync(join(home, 'again', 'file'), 'utf8'), 'text\n')
    t.true(server.visits.some(({ path, status }) => path.endsWith('/git-receive-pack') && status === 200))
    const { token } = (await appliance.ask('POST', '/v1/tokens', {})).body
    t.deepEqual(findLeaksBelow(home, [{ name: 'token', text: String(token) }]), [], 'git keeps no token')
  } finally {
    await close()
  }
})

test.serial('with useHttpPath the repository decides which profile is meant, and what it may', async t => {
  const { server, git, close } = await prepare(TWO)
  try {
    const unsure = await git('clone', `${server.url}/octo-org/web.git`, 'unsure')
    t.not(unsure.code, 0)
    t.regex(unsure.stderr, /ghconnect: these profiles would allow it|profile others holds patterns|several profiles/i)
    t.regex(unsure.stderr, /credential\.useHttpPath true/)
    await git('config', '--global', 'credential.useHttpPath', 'true')
    for (const name of ['web', 'api'])
      t.is((await git('clone', `${server.url}/octo-org/${name}.git`, name)).code, 0, name)
    t.is((await git('-C', 'web', 'push', 'origin', 'HEAD:other')).code, 0)
    t.not((await git('-C', 'api', 'push', 'origin', 'HEAD:other')).code, 0)
    const none = await git('clone', `${server.url}/octo-org/docs.git`, 'docs')
    t.not(none.code, 0)
    t.regex(none.stderr, /ghconnect: no profile allows this/)
  } finally {
    await close()
  }
})

test.serial('a token that the server refuses is erased, which has a new one minted', async t => {
  const { appliance, server, git, close } = await prepare(WRITERS)
  try {
    const { token } = (await appliance.ask('POST', '/v1/tokens', { min_ttl_seconds: 600 })).body
    await fetch(`${appliance.sandbox.apiUrl}/installation/token`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${String(token)}` },
    })
    t.not((await git('clone', `${server.url}/octo-org/web.git`, 'first')).code, 0)
    const second = await git('clone', `${server.url}/octo-org/web.git`, 'second')
    t.is(second.code, 0, second.stderr)
  } finally {
    await close()
  }
})

test.serial(
  'set up beside a helper that stores everything, git hands it nothing, and all is as before when that is undone',
  async t => {
    const { appliance, server, git, home, env, close } = await prepare(WRITERS)
    const settings = join(home, '.gitconfig')
    const setup = (...args: string[]) =>
      run(process.execPath, [CLI, 'git-credential', 'setup', '--config', appliance.configFile, ...args], { env })
    try {
      await git('config', '--global', '--remove-section', `credential.${server.url}`)
      await git('config', '--global', 'credential.helper', 'store')
      await git('config', '--global', `credential.${server.url}.helper`, 'cache')
      const before = readFileSync(settings, 'utf8')
      await setup('--global')
      const once = readFileSync(settings, 'utf8')
      await setup()
      t.is(readFileSync(settings, 'utf8'), once, 'a second time changes nothing')
      // The helper is found by its name: from a checkout as from the package.
      env['PATH'] = `${resolve(HELPER, '..')}:${env['PATH']}`
      env['GHCONNECT_SOCKET'] = appliance.runtime
      const cloned = await git('clone', `${server.url}/octo-org/web.git`, 'web')
      t.is(cloned.code, 0, cloned.stderr)
      t.false(existsSync(join(home, '.git-credentials')), 'the other helper stored nothing')
      t.is((await git('-C', 'web', 'fetch')).code, 0)
      await setup('--undo')
      t.is(readFileSync(settings, 'utf8').replace(/\[credential "[^"]+"\]\n(?=\[|$)/g, ''), before)
    } finally {
      await close()
    }
  },
)

const feed = (helper: string, word: string, input: string, env: NodeJS.ProcessEnv): Promise<Ran> => {
  const { promise, resolve: done } = Promise.withResolvers<Ran>()
  const child = execFile('sh', ['-c', `${helper} ${word}`], { env }, (error, stdout, stderr) =>
    done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
  )
  // A helper that reads no input may be gone before it came.
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  return promise
}

test.serial('the helper answers for its hosts alone, stores nothing, and says what is wrong', async t => {
  const { appliance, server, helper, env, close } = await prepare(WRITERS)
  try {
    const ours = `protocol=http\nhost=${new URL(server.url).host}\n`
    const got = await feed(helper, 'get', ours, env)
    const { token, expires_at: end } = (await appliance.ask('POST', '/v1/tokens', {})).body
    const expiry = Date.parse(String(end)) / 1000
    t.deepEqual(got, {
      code: 0,
      stdout: `username=x-access-token\npassword=${String(token)}\npassword_expiry_utc=${String(expiry)}\n`,
      stderr: '',
    })
    t.is((await feed(helper, 'get', ours.trimEnd(), env)).stdout, got.stdout, 'the last line may lack its end')
    const marked = await feed(helper, 'get', `capability[]=authtype\n${ours}`, env)
    t.is(marked.stdout, `capability[]=authtype\nephemeral=1\n${got.stdout}`)
    const nothing = { code: 0, stdout: '', stderr: '' }
    t.deepEqual(await feed(helper, 'get', 'protocol=https\nhost=example.com\n\n', env), nothing)
    t.deepEqual(await feed(helper, 'get', `${ours}username=octocat\n`, env), nothing)
    t.deepEqual(await feed(helper, 'store', `${ours}username=x\npassword=y\n`, env), nothing)
    t.deepEqual(
      await feed(helper, 'erase', `${ours}username=x-access-token\npassword=${'y'.repeat(40)}\n`, env),
      nothing,
    )
    t.deepEqual(await feed(helper, 'erase', ours, env), nothing)
    t.deepEqual(await feed(helper, 'invented-later', ours, env), nothing)
    t.is((await feed(helper, '', '', env)).code, 64)
    const other = await feed(`${helper} --profile absent`, 'get', ours, env)
    t.is(other.code, 1)
    t.regex(other.stderr, /^ghconnect: no profile allows this request to this process\nghconnect: Ask an administrator/)
    await appliance.kill()
    const gone = await feed(helper, 'get', ours, env)
    t.is(gone.stdout, '')
    t.regex(gone.stderr, /ghconnect: nothing answers on /)
  } finally {
    await close()
  }
})

test.serial('the API answers git in its own words, and others in JSON', async t => {
  const { appliance, server, close } = await prepare(WRITERS)
  const socket = join(appliance.runtime, 'token.sock')
  const ask = (body: string, headers: Record<string, string>) =>
    callUnix(socket, {
      method: 'POST',
      path: '/v1/tokens',
      body,
      headers: { accept: 'text/x-git-credential', ...headers },
    })
  try {
    const json = await ask('{"repositories":["web"]}', { 'content-type': 'application/json' })
    t.is(json.status, 200)
    t.is(json.headers['content-type'], 'text/x-git-credential')
    t.is(json.headers['cache-control'], 'no-store')
    t.regex(json.text, /^username=x-access-token\npassword=ghs_\S+\npassword_expiry_utc=\d{10}\n$/)
    const git = { 'content-type': 'text/x-git-credential' }
    t.is((await ask('protocol=https\nhost=example.com\n', git)).status, 204)
    const wrong = await ask(`protocol=http\nhost=${new URL(server.url).host}\nrejected=short\n`, git)
    t.is(wrong.body['type'], 'urn:ghconnect:problem:invalid-request')
    t.is((await ask('x'.repeat(70_000), git)).status, 413)
  } finally {
    await close()
  }
})
