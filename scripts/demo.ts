// The demonstration: sandbox and daemon in one state folder, a connection enabled without a human, and a round of proofs.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { actAsOwner, deleteApp } from '../src/sandbox/owner.ts'

const ROOT = resolve(import.meta.dirname, '..')
const STATE = join(ROOT, '.state', 'demo')
/** The path of a unix socket has at most 107 bytes. */
const RUNTIME = join(STATE, 'run').length < 90 ? join(STATE, 'run') : mkdtempSync(join(tmpdir(), 'ghconnect-'))
const CONFIG = join(STATE, 'config.toml')
const GHCONNECT = join(ROOT, 'src', 'ghconnect.ts')
const ORGANIZATION = 'octo-org'

const children: ChildProcess[] = []
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const run = promisify(execFile)

const freePort = async (): Promise<number> => {
  const server = createServer()
  const { promise, resolve: listening } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening)
  await promise
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Starts a child and waits for the line that says it is ready. Its log goes to a file of the state folder. */
const start = async (name: string, args: readonly string[], ready: RegExp): Promise<void> => {
  const child = spawn(process.execPath, ['--disable-sigusr1', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  const { promise, resolve: isReady, reject } = Promise.withResolvers<void>()
  let text = ''
  const read = (chunk: Buffer): void => {
    text += chunk.toString()
    writeFileSync(join(STATE, `${name}.log`), chunk, { flag: 'a', mode: 0o600 })
    if (ready.test(text)) isReady()
  }
  child.stdout.on('data', read)
  child.stderr.on('data', read)
  child.once('exit', code => reject(new Error(`${name} ended with ${code}:\n${text}`)))
  await promise
}

const ghconnect = async (...args: string[]): Promise<string> => {
  const { stdout } = await run(process.execPath, [GHCONNECT, ...args, '--config', CONFIG])
  return stdout.trim()
}

/** Beside what `prepare` wipes. */
const OWNER = `${STATE}.pid`

/** One demonstration at a time: the second would wipe the state of the first. Throws, naming the process that runs. */
const claim = (): void => {
  mkdirSync(dirname(OWNER), { recursive: true })
  try {
    writeFileSync(OWNER, String(process.pid), { flag: 'wx' })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    const pid = Number(readFileSync(OWNER, 'utf8'))
    if (isDemo(pid)) {
      const detail = `./scripts/start runs already, as process ${pid}: end it first (kill ${pid})`
      throw new Error(detail, { cause: error })
    }
    // Left by one that was killed.
    rmSync(OWNER, { force: true })
    return claim()
  }
  process.once('exit', () => rmSync(OWNER, { force: true }))
}

const isDemo = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('scripts/demo.ts')
  } catch {
    return false
  }
}

const prepare = async (): Promise<{ github: string }> => {
  claim()
  rmSync(STATE, { recursive: true, force: true })
  mkdirSync(RUNTIME, { recursive: true, mode: 0o700 })
  writeFileSync(join(STATE, 'store.key'), randomBytes(32), { mode: 0o600 })
  const github = `http://127.0.0.1:${await freePort()}`
  const config = `# Made by ./scripts/start: the daemon against the sandbox.
[github]
url = "${github}"
api_url = "${github}/api/v3"
[app]
permissions = { metadata = "read", contents = "read", issues = "write" }
[paths]
state = "${join(STATE, 'state')}"
runtime = "${RUNTIME}"
[store]
key_file = "${join(STATE, 'store.key')}"
[web]
listen = "127.0.0.1:${await freePort()}"
[[profiles]]
name = "demo"
installation = "${ORGANIZATION}"
permissions = { contents = "read", issues = "write" }
allow = { users = ["${userInfo().username}"] }
`
  writeFileSync(CONFIG, config, { mode: 0o600 })
  await start('sandbox', [GHCONNECT, 'sandbox', '--listen', new URL(github).host], /http:\/\//)
  say(`The sandbox stands in for GitHub at ${github}`)
  await start('daemon', [join(ROOT, 'src', 'ghconnectd.ts'), '--config', CONFIG], /"message":"ready"/)
  say(`The daemon runs; its state is in ${relative(process.cwd(), STATE) || '.'}`)
  return { github }
}

type Answer = { status: number; body: Record<string, unknown> }

const callSocket = async (socket: string, method: string, path: string, body?: unknown): Promise<Answer> => {
  const { promise, resolve: answered, reject } = Promise.withResolvers<Answer>()
  const text = body === undefined ? undefined : JSON.stringify(body)
  const headers = {
    host: 'localhost',
    ...(text && { 'content-type': 'application/json', 'content-length': text.length }),
  }
  const call = request({ socketPath: join(RUNTIME, socket), method, path, headers }, answer => {
    const chunks: Buffer[] = []
    answer.on('data', (chunk: Buffer) => chunks.push(chunk))
    answer.on('end', () =>
      answered({ status: answer.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) }),
    )
  })
  call.on('error', reject)
  call.end(text)
  return promise
}

/** Enables as an administrator would, and plays the owner of the organization on GitHub's pages. */
const enable = async (): Promise<void> => {
  const begun = await callSocket('admin.sock', 'POST', '/v1/connection', {
    account: { type: 'organization', login: ORGANIZATION },
  })
  if (begun.status !== 202) throw new Error(`enable answered ${JSON.stringify(begun.body)}`)
  await actAsOwner({ formUrl: String(begun.body['url']), account: ORGANIZATION })
  await until('connected')
}

const until = async (state: string): Promise<void> => {
  for (let tries = 0; tries < 150; tries++) {
    const { body } = await callSocket('admin.sock', 'GET', '/v1/status')
    if (body['state'] === state) return
    await new Promise(pause => setTimeout(pause, 200))
  }
  throw new Error(`the state did not become ${state}; see ${relative(process.cwd(), STATE)}/daemon.log`)
}

/** What GitHub answers to a request for a file of a repository with this token. */
const readWith = async (github: string, token: string, repository: string): Promise<number> => {
  const headers = { authorization: `Bearer ${token}`, 'x-github-api-version': '2026-03-10' }
  const answer = await fetch(`${github}/api/v3/repos/${ORGANIZATION}/${repository}/contents/README.md`, { headers })
  await answer.text()
  return answer.status
}

const expect = (what: string, got: unknown, wanted: unknown): void => {
  if (got !== wanted) throw new Error(`${what}: expected ${String(wanted)}, got ${String(got)}`)
  say(`   ${what}: ${String(got)}`)
}

const once = async (github: string): Promise<void> => {
  say('\n1. Enable: an App is created through the manifest flow and installed')
  await enable()
  const status = JSON.parse(await ghconnect('status', '--json'))
  expect('state', status.state, 'connected')
  expect('keys stored', status.keys.length, 1)

  say('\n2. Token: for one repository, read only, over the unix socket')
  const web = await ghconnect('token', '--repo', 'web', '--permission', 'contents=read')
  expect('GitHub lets it read octo-org/web', await readWith(github, web, 'web'), 200)
  expect('GitHub hides octo-org/api from it', await readWith(github, web, 'api'), 404)
  expect(
    'the same request again gives the same token',
    (await ghconnect('token', '--repo', 'web', '--permission', 'contents=read')) === web,
    true,
  )

  say('\n3. Refresh: new tokens for all scopes; the old ones live on until they end')
  const refreshed = await callSocket('admin.sock', 'POST', '/v1/refresh')
  expect('failed', Array.isArray(refreshed.body['failed']) ? refreshed.body['failed'].length : '?', 0)
  expect('GitHub still takes the token that a job may hold', await readWith(github, web, 'web'), 200)

  say('\n4. Disable: tokens revoked, App uninstalled and deleted, key shredded')
  await callSocket('admin.sock', 'DELETE', '/v1/connection')
  expect('serving stopped at once', (await callSocket('token.sock', 'POST', '/v1/tokens', {})).status, 503)
  expect('GitHub refuses the old token', await readWith(github, web, 'web'), 401)
  await deleteApp({ url: github, owner: ORGANIZATION, slug: status.app.slug })
  await until('disconnected')
  const after = JSON.parse(await ghconnect('status', '--json'))
  expect('keys stored', after.keys.length, 0)
  expect('the store with the key is gone', !existsSync(join(STATE, 'state', 'store', '1')), true)
  say('\nA complete round: enabled, served, refreshed, disabled.')
}

const stay = async (github: string): Promise<void> => {
  await enable()
  const token = await ghconnect('token', '--repo', 'web', '--permission', 'contents=read')
  const cli = relative(process.cwd(), join(ROOT, 'scripts', 'ghconnect')) || 'ghconnect'
  const options = `--config ${relative(process.cwd(), CONFIG)}`
  say(`
Connected. A token for octo-org/web, contents: read (worth nothing outside the sandbox):

  ${token}

Try next, in another terminal:

  ${cli} status ${options}
  ${cli} ui ${options}             (the settings page)
  curl --unix-socket ${join(RUNTIME, 'token.sock')} -X POST localhost/v1/tokens \\
    -H 'content-type: application/json' -d '{"repositories":["web"],"permissions":{"contents":"read"}}'
  ${cli} disable ${options}        (the App's owner: ${github}/organizations/${ORGANIZATION}/settings/apps)

Ctrl-C ends the demonstration.`)
  const { promise, resolve: interrupted } = Promise.withResolvers<void>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted())
  await promise
}

const stopAll = async (): Promise<void> => {
  for (const child of children.toReversed()) {
    child.removeAllListeners('exit')
    if (child.exitCode !== null) continue
    const { promise, resolve: ended } = Promise.withResolvers<void>()
    child.once('exit', () => ended())
    child.kill('SIGTERM')
    await promise
  }
  if (!RUNTIME.startsWith(STATE)) rmSync(RUNTIME, { recursive: true, force: true })
}

try {
  const { github } = await prepare()
  if (process.argv.includes('--once')) await once(github)
  else await stay(github)
} catch (error) {
  say(`\nFailed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 70
} finally {
  await stopAll()
}
