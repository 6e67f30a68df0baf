// Routes that an installation access token opens: its repositories, their contents and issues, and its own revocation.

import { createHash } from 'node:crypto'
import type { Hono } from 'hono'
import { paginate, readBody } from './answers.ts'
import { isoSeconds } from './clock.ts'
import { tokenOf, type ApiContext, type ApiEnv } from './exchange.ts'
import { API_PREFIX, type Parts } from './parts.ts'
import { covers } from './permissions.ts'
import type { Repository, Token } from './records.ts'
import { notFound, Refusal } from './refusal.ts'
import { botOf, BREAKING_VERSION, fullRepository, repository, type Json } from './shapes.ts'
import { repositoriesOfToken } from './tokens.ts'

export const addRepositoryRoutes = (api: Hono<ApiEnv>, parts: Parts): void => {
  const { world, url } = parts
  /** A repository outside the token's scope answers as one that does not exist. */
  const reach = (c: ApiContext): Repository => {
    const { caller } = c.env.exchange
    const wanted = world.findRepository(c.req.param('owner') ?? '', c.req.param('name') ?? '')
    if (!wanted || caller.kind !== 'token' || !repositoriesOfToken(world, caller.token).includes(wanted))
      throw notFound()
    return wanted
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
  api.get('/repos/:owner/:name', c => c.json(fullRepository(url, reach(c), versionOf(c))))
  api.get('/repos/:owner/:name/contents', c => {
    const { content: _content, encoding: _encoding, ...entry } = readable(c)
    return c.json([entry])
  })
  api.get('/repos/:owner/:name/contents/:path{.+}', c => {
    const file = readable(c)
    if (c.req.param('path') !== file['path']) throw notFound()
    return c.json(file)
  })
  api.post('/repos/:owner/:name/issues', async c => {
    const wanted = reach(c)
    const token = tokenOf(c)
    need(token, 'issues', 'write')
    const { title, body } = await readBody(c)
    if (typeof title !== 'string' || title === '')
      throw new Refusal(422, 'Invalid request.\n\n"title" wasn\'t supplied.')
    wanted.issues += 1
    const issue = issueOf(url, wanted, {
      id: parts.random.int(2_800_000_000, 3_900_000_000),
      nodeId: `I_kwDO${parts.random.alphanumeric(10)}`,
      title,
      body: typeof body === 'string' ? body : null,
      at: isoSeconds(parts.clock.nowMs()),
      user: botOf(url, token.installation.app),
    })
    return c.json(versionOf(c) >= BREAKING_VERSION ? issue : { ...issue, assignee: null }, 201, {
      location: String(issue['url']),
    })
  })
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

type NewIssue = { id: number; nodeId: string; title: string; body: string | null; at: string; user: Json }

const issueOf = (url: string, r: Repository, issue: NewIssue): Json => {
  const repositoryUrl = `${url}${API_PREFIX}/repos/${r.owner.login}/${r.name}`
  const self = `${repositoryUrl}/issues/${r.issues}`
  return {
    id: issue.id,
    node_id: issue.nodeId,
    number: r.issues,
    url: self,
    repository_url: repositoryUrl,
    html_url: `${url}/${r.owner.login}/${r.name}/issues/${r.issues}`,
    labels_url: `${self}/labels{/name}`,
    comments_url: `${self}/comments`,
    events_url: `${self}/events`,
    title: issue.title,
    body: issue.body,
    user: issue.user,
    state: 'open',
    locked: false,
    labels: [],
    assignees: [],
    milestone: null,
    comments: 0,
    created_at: issue.at,
    updated_at: issue.at,
    closed_at: null,
    author_association: 'NONE',
  }
}
