// The JSON that GitHub's API gives for each noun. Shapes: GitHub's OpenAPI description.

import { isoSeconds } from './clock.ts'
import { API_PREFIX } from './parts.ts'
import { notFound } from './refusal.ts'
import type { Account, App, Installation, Issue, Repository, Token } from './records.ts'

export type Json = Record<string, unknown>

/** Since this version several old fields are gone. */
export const BREAKING_VERSION = '2026-03-10'

export const account = (url: string, a: Account): Json => {
  const common = { id: a.id, node_id: a.nodeId, avatar_url: `${url}/avatars/${a.id}` }
  if (a.kind === 'Enterprise')
    return {
      ...common,
      name: a.login,
      slug: a.login,
      description: null,
      website_url: null,
      html_url: `${url}/enterprises/${a.login}`,
      created_at: isoSeconds(a.createdAtMs),
      updated_at: isoSeconds(a.createdAtMs),
    }
  return { ...common, ...userLinks(url, a.login), login: a.login, type: a.kind }
}

/** The bot that acts where an App writes. */
export const botOf = (url: string, app: App): Json => ({
  id: app.id + 200_000_000,
  node_id: `BOT_${app.nodeId}`,
  avatar_url: `${url}/avatars/${app.id}`,
  ...userLinks(url, `${app.slug}[bot]`),
  login: `${app.slug}[bot]`,
  type: 'Bot',
})

export const integration = (url: string, app: App, installations: number): Json => ({
  id: app.id,
  slug: app.slug,
  client_id: app.clientId,
  node_id: app.nodeId,
  owner: account(url, app.owner),
  name: app.name,
  description: app.description,
  external_url: app.externalUrl,
  html_url: `${url}/apps/${app.slug}`,
  created_at: isoSeconds(app.createdAtMs),
  updated_at: isoSeconds(app.updatedAtMs),
  permissions: app.permissions,
  events: app.events,
  installations_count: installations,
})

/** What `POST /app-manifests/{code}/conversions` answers, once. */
export const conversion = (url: string, app: App, pem: string): Json => {
  const { installations_count: _count, ...rest } = integration(url, app, 0)
  return { ...rest, client_secret: app.clientSecret, webhook_secret: app.webhookSecret, pem }
}

export const installationPage = (url: string, a: Account, id: number): string =>
  a.kind === 'User' ? `${url}/settings/installations/${id}` : `${url}${ownerPath(a)}/settings/installations/${id}`

/** Where the pages of an account's settings begin. */
export const ownerPath = (a: Account): string =>
  a.kind === 'User' ? '' : `/${a.kind === 'Enterprise' ? 'enterprises' : 'organizations'}/${a.login}`

export const installation = (url: string, i: Installation): Json => ({
  id: i.id,
  client_id: i.app.clientId,
  account: account(url, i.account),
  repository_selection: i.repositoryIds === undefined ? 'all' : 'selected',
  access_tokens_url: `${url}${API_PREFIX}/app/installations/${i.id}/access_tokens`,
  repositories_url: `${url}${API_PREFIX}/installation/repositories`,
  html_url: installationPage(url, i.account, i.id),
  app_id: i.app.id,
  app_slug: i.app.slug,
  target_id: i.account.id,
  target_type: i.account.kind,
  permissions: i.permissions,
  events: i.app.events,
  created_at: isoSeconds(i.createdAtMs),
  updated_at: isoSeconds(i.updatedAtMs),
  single_file_name: null,
  has_multiple_single_files: false,
  single_file_paths: [],
  suspended_by: i.suspendedAtMs === undefined ? null : account(url, i.account),
  suspended_at: i.suspendedAtMs === undefined ? null : isoSeconds(i.suspendedAtMs),
})

export const accessToken = (token: Token, repositories: readonly Json[] | undefined): Json => ({
  token: token.token,
  expires_at: isoSeconds(token.expiresAtMs),
  permissions: token.permissions,
  repository_selection:
    repositories !== undefined || token.installation.repositoryIds !== undefined ? 'selected' : 'all',
  ...(repositories === undefined ? {} : { repositories }),
})

const REPOSITORY_LINKS: Record<string, string> = {
  archive_url: '/{archive_format}{/ref}',
  assignees_url: '/assignees{/user}',
  blobs_url: '/git/blobs{/sha}',
  branches_url: '/branches{/branch}',
  collaborators_url: '/collaborators{/collaborator}',
  comments_url: '/comments{/number}',
  commits_url: '/commits{/sha}',
  compare_url: '/compare/{base}...{head}',
  contents_url: '/contents/{+path}',
  contributors_url: '/contributors',
  deployments_url: '/deployments',
  downloads_url: '/downloads',
  events_url: '/events',
  forks_url: '/forks',
  git_commits_url: '/git/commits{/sha}',
  git_refs_url: '/git/refs{/sha}',
  git_tags_url: '/git/tags{/sha}',
  hooks_url: '/hooks',
  issue_comment_url: '/issues/comments{/number}',
  issue_events_url: '/issues/events{/number}',
  issues_url: '/issues{/number}',
  keys_url: '/keys{/key_id}',
  labels_url: '/labels{/name}',
  languages_url: '/languages',
  merges_url: '/merges',
  milestones_url: '/milestones{/number}',
  notifications_url: '/notifications{?since,all,participating}',
  pulls_url: '/pulls{/number}',
  releases_url: '/releases{/id}',
  stargazers_url: '/stargazers',
  statuses_url: '/statuses/{sha}',
  subscribers_url: '/subscribers',
  subscription_url: '/subscription',
  tags_url: '/tags',
  teams_url: '/teams',
  trees_url: '/git/trees{/sha}',
}

export const repository = (url: string, r: Repository, version: string): Json => {
  const fullName = `${r.owner.login}/${r.name}`
  const api = `${url}${API_PREFIX}/repos/${fullName}`
  const created = isoSeconds(r.createdAtMs)
  return {
    id: r.id,
    node_id: r.nodeId,
    name: r.name,
    full_name: fullName,
    private: true,
    owner: account(url, r.owner),
    html_url: `${url}/${fullName}`,
    description: `${r.name} of ${r.owner.login}, in the sandbox`,
    fork: false,
    url: api,
    ...Object.fromEntries(Object.entries(REPOSITORY_LINKS).map(([name, path]) => [name, api + path])),
    created_at: created,
    updated_at: created,
    pushed_at: created,
    git_url: `git://${new URL(url).host}/${fullName}.git`,
    ssh_url: `git@${new URL(url).hostname}:${fullName}.git`,
    clone_url: `${url}/${fullName}.git`,
    svn_url: `${url}/${fullName}`,
    homepage: null,
    size: 1,
    stargazers_count: 0,
    watchers_count: 0,
    forks_count: 0,
    open_issues_count: r.issues.length,
    language: null,
    has_issues: true,
    has_projects: true,
    has_wiki: true,
    has_pages: false,
    has_discussions: false,
    ...(version >= BREAKING_VERSION ? {} : { has_downloads: true }),
    mirror_url: null,
    archived: false,
    disabled: false,
    license: null,
    allow_forking: true,
    is_template: false,
    web_commit_signoff_required: false,
    topics: [],
    visibility: 'private',
    forks: 0,
    open_issues: r.issues.length,
    watchers: 0,
    default_branch: 'main',
  }
}

export const fullRepository = (url: string, r: Repository, version: string): Json => ({
  ...repository(url, r, version),
  ...(r.owner.kind === 'Organization' ? { organization: account(url, r.owner) } : {}),
  network_count: 0,
  subscribers_count: 0,
})

export const issue = (url: string, r: Repository, number: number, version: string): Json => {
  const { id, nodeId, title, body, createdAtMs, author } = issueAt(r, number)
  const repositoryUrl = `${url}${API_PREFIX}/repos/${r.owner.login}/${r.name}`
  const self = `${repositoryUrl}/issues/${number}`
  return {
    id,
    node_id: nodeId,
    number,
    url: self,
    repository_url: repositoryUrl,
    html_url: `${url}/${r.owner.login}/${r.name}/issues/${number}`,
    labels_url: `${self}/labels{/name}`,
    comments_url: `${self}/comments`,
    events_url: `${self}/events`,
    title,
    body,
    user: botOf(url, author),
    state: 'open',
    locked: false,
    labels: [],
    ...(version >= BREAKING_VERSION ? {} : { assignee: null }),
    assignees: [],
    milestone: null,
    comments: 0,
    created_at: isoSeconds(createdAtMs),
    updated_at: isoSeconds(createdAtMs),
    closed_at: null,
    author_association: 'NONE',
  }
}

const issueAt = (r: Repository, number: number): Issue => {
  const found = r.issues[number - 1]
  if (!found) throw notFound()
  return found
}

const userLinks = (url: string, login: string): Json => {
  const api = `${url}${API_PREFIX}/users/${encodeURIComponent(login)}`
  return {
    gravatar_id: '',
    url: api,
    html_url: `${url}/${encodeURIComponent(login)}`,
    followers_url: `${api}/followers`,
    following_url: `${api}/following{/other_user}`,
    gists_url: `${api}/gists{/gist_id}`,
    starred_url: `${api}/starred{/owner}{/repo}`,
    subscriptions_url: `${api}/subscriptions`,
    organizations_url: `${api}/orgs`,
    repos_url: `${api}/repos`,
    events_url: `${api}/events{/privacy}`,
    received_events_url: `${api}/received_events`,
    site_admin: false,
  }
}
