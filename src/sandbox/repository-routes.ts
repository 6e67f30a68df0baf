// Routes that an installation access token opens: its repositories, their contents and issues, and its own revocation.

import { createHash } from 'node:crypto'
import type { Hono } from 'hono'
import { DOCUMENTATION, paginate, readBody } from './answers.ts'
import { tokenOf, type ApiContext, type ApiEnv } from './exchange.ts'
import { API_PREFIX, type Parts } from './parts.ts'
import { covers } from './permissions.ts'
import type { Repository, Token } from './records.ts'
import { notFound, Refusal } from './refusal.ts'
import { fullRepository, issue, repository, type Json } from './shapes.ts'
import { repositoriesOfToken } from './tokens.ts'

/** GitHub's own links and redirects name a repository by its id. */
const REPOSITORY = ['/repos/:owner/:name', '/repositories/:id'] as const

export const addRepositoryRoutes = (api: Hono<ApiEnv>, parts: Parts): void => {
  const { world, url } = parts

  const named = (c: ApiContext): Repository | undefined => {
    const { owner = '', name = '', id } = c.req.param()
    return id === undefined ? world.findRepository(owner, name) : world.repositories.get(Number(id))
  }
  /** A repository outside the token's scope answers as one that does not exist. */
  const covered = (c: ApiContext, wanted: Repository | undefined): wanted is Repository => {
    const { caller } = c.env.exchange
    return wanted !== undefined && caller.kind === 'token' && repositoriesOfToken(world, caller.token).includes(wanted)
  }
  const reach = (c: ApiContext): Repository => {
    const wanted = named(c)
    if (!covered(c, wanted)) throw notFound()
    return wanted
  }
  const byId = (r: Repository, rest: string): string => `${url}${API_PREFIX}/repositories/${r.id}${rest}`
  /** From a former name GitHub leads on to the id, query included. */
  const moved = (c: ApiContext): Response | undefined => {
    const { owner = '', name = '' } = c.req.param()
    const renamed = named(c) ? undefined : world.findRenamed(owner, name)
    if (!covered(c, renamed)) return undefined
    const { pathname, search } = new URL(c.req.url)
    const rest = pathname.slice(API_PREFIX.length).split('/').slice(4)
    const location = byId(renamed, [...(rest.length > 0 ? [''] : []), ...rest].join('/') + search)
    const status = c.req.method === 'GET' || c.req.method === 'HEAD' ? 301 : 307
    const message = status === 301 ? 'Moved Permanently' : 'Temporary Redirect'
    return c.json({ message, url: location, documentation_url: DOCUMENTATION }, status, { location })
  }

  const readable = (c: ApiContext): Json => {
    const wanted = reach(c)
    need(tokenOf(c), 'contents', 'read')
    return readme(url, wanted)
  }

  api.delete('/installation/token', c => {
    tokenOf(c).revoked = true
    return c.body(null, 204)
  })
  api.get('/installation/repositories', c => {
    const token = tokenOf(c)
    const all = repositoriesOfToken(world, token)
    const page = paginate(c, all, `${url}${API_PREFIX}/installation/repositories`)
    return c.json(
      {
        total_count: all.length,
        repository_selection: (token.repositoryIds ?? token.installation.repositoryIds) ? 'selected' : 'all',
        repositories: page.items.map(r => repository(url, r, versionOf(c))),
      },
      200,
      page.headers,
    )
  })
  for (const path of ['/repos/:owner/:name', '/repos/:owner/:name/*'])
    api.use(path, async (c, next) => {
      const answer = moved(c)
      if (!answer) await next()
      return answer
    })
  for (const base of REPOSITORY) {
    api.get(base, c => c.json(fullRepository(url, reach(c), versionOf(c))))
    api.get(`${base}/contents`, c => {
      const { content: _content, encoding: _encoding, ...entry } = readable(c)
      return c.json([entry])
    })
    api.get(`${base}/contents/:path{.+}`, c => {
      const file = readable(c)
      if (c.req.param('path') !== file['path']) throw notFound()
      return c.json(file)
    })
    api.get(`${base}/issues`, c => {
      const wanted = reach(c)
      need(tokenOf(c), 'issues', 'read')
      const numbers = wanted.issues.map((_, at) => at + 1)
      // The newest comes first where nothing else is asked for.
      if (c.req.query('direction') !== 'asc') numbers.reverse()
      const page = paginate(c, numbers, byId(wanted, '/issues'))
      return c.json(
        page.items.map(number => issue(url, wanted, number, versionOf(c))),
        200,
        page.headers,
      )
    })
    api.get(`${base}/issues/:number{\\d+}`, c => {
      const wanted = reach(c)
      need(tokenOf(c), 'issues', 'read')
      return c.json(issue(url, wanted, Number(c.req.param('number')), versionOf(c)))
    })
    api.post(`${base}/issues`, async c => {
      const wanted = reach(c)
      const token = tokenOf(c)
      need(token, 'issues', 'write')
      const { title, body } = await readBody(c)
      if (typeof title !== 'string' || title === '')
        throw new Refusal(422, 'Invalid request.\n\n"title" wasn\'t supplied.')
      wanted.issues.push({
        id: parts.random.int(2_800_000_000, 3_900_000_000),
        nodeId: `I_kwDO${parts.random.alphanumeric(10)}`,
        title,
        body: typeof body === 'string' ? body : null,
        createdAtMs: parts.clock.nowMs(),
        author: token.installation.app,
      })
      const made = issue(url, wanted, wanted.issues.length, versionOf(c))
      return c.json(made, 201, { location: String(made['url']) })
    })
  }
}

const versionOf = (c: ApiContext): string => c.env.exchange.version

const need = (token: Token, name: string, level: string): void => {
  if (covers(token.permissions, name, level)) return
  throw new Refusal(403, 'Resource not accessible by integration', {
    headers: { 'x-accepted-github-permissions': `${name}=${level}` },
  })
}

const readme = (url: string, r: Repository): Json => {
  const text = `# ${r.name}\n\nA repository of the sandbox.\n`
  const full = `${r.owner.login}/${r.name}`
  const sha = createHash('sha1')
    .update(`blob ${Buffer.byteLength(text)}\0${text}`)
    .digest('hex')
  const self = `${url}${API_PREFIX}/repos/${full}/contents/README.md?ref=main`
  const git = `${url}${API_PREFIX}/repos/${full}/git/blobs/${sha}`
  const page = `${url}/${full}/blob/main/README.md`
  return {
    name: 'README.md',
    path: 'README.md',
    sha,
    size: Buffer.byteLength(text),
    url: self,
    html_url: page,
    git_url: git,
    download_url: `${url}/raw/${full}/main/README.md`,
    type: 'file',
    content: `${Buffer.from(text).toString('base64')}\n`,
    encoding: 'base64',
    _links: { self, git, html: page },
  }
}
