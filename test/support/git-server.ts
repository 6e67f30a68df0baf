// GitHub's other door in tests: repositories over HTTP by git's own backend, open to the tokens that the sandbox knows. The rest goes to the sandbox.

import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { z } from 'zod'

const State = z.object({
  tokens: z.array(
    z.object({
      hashed_token: z.string(),
      live: z.boolean(),
      permissions: z.record(z.string(), z.string()),
      repositories: z.array(z.string()).nullable(),
    }),
  ),
})

export type GitVisit = { readonly path: string; readonly status: number; readonly hash?: string }

export type GitServer = {
  readonly url: string
  /** What git asked for, oldest first. */
  readonly visits: readonly GitVisit[]
  /** A bare repository with one commit of `main`. */
  create(owner: string, name: string): void
  close(): Promise<void>
}

/** `target`: the sandbox's origin. Repositories are made below `folder`. */
export const startGitServer = async (folder: string, target: () => string): Promise<GitServer> => {
  const visits: GitVisit[] = []
  const server = createServer((incoming, outgoing) => {
    const [path = '', query = ''] = (incoming.url ?? '/').split('?')
    const [, repository, action = ''] =
      /^\/[^/]+\/([^/]+)\.git\/(info\/refs|git-(?:upload|receive)-pack)$/.exec(path) ?? []
    if (repository === undefined) return forward(target(), incoming, outgoing)
    const writes = `${action}${query}`.includes('git-receive-pack')
    void admit(target(), incoming, { repository, writes }).then(({ status, hash }) => {
      visits.push({ path, status, ...(hash !== undefined && { hash }) })
      if (status === 200) return serve(folder, { path, query }, { incoming, outgoing })
      incoming.resume()
      return void outgoing.writeHead(status, { 'www-authenticate': 'Basic realm="GitHub"' }).end()
    })
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    visits,
    create(owner, name) {
      const bare = join(folder, owner, `${name}.git`)
      mkdirSync(bare, { recursive: true })
      const git = (...args: string[]): string =>
        execFileSync('git', ['-C', bare, ...args], { encoding: 'utf8', env: { ...process.env, ...WRITER } }).trim()
      git('init', '-q', '--bare', '-b', 'main')
      git('config', 'http.receivepack', 'true')
      const tree = execFileSync('git', ['-C', bare, 'mktree'], { input: '', encoding: 'utf8' }).trim()
      git('update-ref', 'refs/heads/main', git('commit-tree', '-m', 'begin', tree))
    },
    close() {
      const closed = Promise.withResolvers<void>()
      server.close(() => closed.resolve())
      server.closeAllConnections()
      return closed.promise
    },
  }
}

export const WRITER = {
  GIT_AUTHOR_NAME: 'test',
  GIT_AUTHOR_EMAIL: 'test@example.com',
  GIT_COMMITTER_NAME: 'test',
  GIT_COMMITTER_EMAIL: 'test@example.com',
}

/** As GitHub decides: 401 without a live token, 404 outside of its repositories, 403 where it may not write. */
const admit = async (
  target: string,
  { headers }: IncomingMessage,
  wanted: { repository: string; writes: boolean },
): Promise<{ status: number; hash?: string }> => {
  const [, encoded] = /^Basic (.+)$/i.exec(headers.authorization ?? '') ?? []
  if (encoded === undefined) return { status: 401 }
  const pair = Buffer.from(encoded, 'base64').toString()
  const hash = createHash('sha256')
    .update(pair.slice(pair.indexOf(':') + 1))
    .digest('base64')
  const answer = await fetch(`${target}/_sandbox/state`)
  const token = State.parse(await answer.json()).tokens.find(({ hashed_token }) => hashed_token === hash)
  if (!token?.live || !pair.startsWith('x-access-token:')) return { status: 401, hash }
  if (token.repositories && !token.repositories.includes(wanted.repository)) return { status: 404, hash }
  const level = token.permissions['contents']
  return { status: level === 'write' || (level === 'read' && !wanted.writes) ? 200 : 403, hash }
}

type Exchange = { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse }

const serve = (folder: string, { path, query }: { path: string; query: string }, { incoming, outgoing }: Exchange) => {
  const { headers, method = 'GET' } = incoming
  const backend = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: method,
      PATH_INFO: path,
      QUERY_STRING: query,
      CONTENT_TYPE: headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(headers['git-protocol'] ?? ''),
      REMOTE_USER: 'x-access-token',
    },
  })
  incoming.pipe(backend.stdin)
  backend.stdin.on('error', () => {})
  const chunks: Buffer[] = []
  backend.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  backend.once('close', () => {
    const whole = Buffer.concat(chunks)
    const end = whole.indexOf('\r\n\r\n')
    const lines = whole.subarray(0, end).toString().split('\r\n')
    const pairs = lines.map(line => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ])
    const { status = '200', ...rest } = Object.fromEntries(pairs)
    outgoing.writeHead(Number.parseInt(status, 10), rest).end(whole.subarray(end + 4))
  })
}

const forward = (target: string, incoming: IncomingMessage, outgoing: ServerResponse): void => {
  const { method, headers, url } = incoming
  // On a connection of its own: a sandbox whose clock jumps closes those that are kept.
  const onward = request(`${target}${url}`, { method, headers, agent: false }, answer => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(outgoing)
  })
  onward.once('error', () => outgoing.destroy())
  incoming.pipe(onward)
}
