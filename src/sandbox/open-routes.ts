// Routes that need no credentials: the root, meta, the rate limit, and the conversion of an App manifest.

import type { Hono } from 'hono'
import { holderOf, type ApiEnv } from './exchange.ts'
import { API_PREFIX, type Parts } from './parts.ts'
import { notFound } from './refusal.ts'
import { BREAKING_VERSION, conversion } from './shapes.ts'

export const addOpenRoutes = (api: Hono<ApiEnv>, { world, clock, quotas, url }: Parts): void => {
  api.get('/', c => {
    const { authorizations_url, ...root } = rootOf(url + API_PREFIX, url)
    return c.json(c.env.exchange.version >= BREAKING_VERSION ? root : { ...root, authorizations_url })
  })
  api.get('/meta', c =>
    c.json({
      verifiable_password_authentication: false,
      ...Object.fromEntries(['hooks', 'web', 'api', 'git'].map(name => [name, ['127.0.0.0/8']])),
      domains: { website: ['localhost'] },
    }),
  )
  api.get('/rate_limit', c => {
    const quota = quotas.look(holderOf(c.env.exchange), clock.nowMs())
    const core = {
      limit: quota.limit,
      used: quota.used,
      remaining: quota.remaining,
      reset: quota.resetAtS,
      resource: 'core',
    }
    const other = (resource: string) => ({ ...core, used: 0, remaining: core.limit, resource })
    return c.json({
      resources: { core, search: other('search'), integration_manifest: other('integration_manifest') },
      ...(c.env.exchange.version >= BREAKING_VERSION ? {} : { rate: core }),
    })
  })
  api.post('/app-manifests/:code/conversions', c => {
    const issued = world.redeemCode(c.req.param('code'))
    if (!issued) throw notFound()
    return c.json(conversion(url, issued.app, issued.pem), 201)
  })
}

const rootOf = (api: string, web: string) => ({
  authorizations_url: `${api}/authorizations`,
  current_user_url: `${api}/user`,
  current_user_authorizations_html_url: `${web}/settings/connections/applications{/client_id}`,
  code_search_url: `${api}/search/code?q={query}{&page,per_page,sort,order}`,
  commit_search_url: `${api}/search/commits?q={query}{&page,per_page,sort,order}`,
  emails_url: `${api}/user/emails`,
  emojis_url: `${api}/emojis`,
  events_url: `${api}/events`,
  feeds_url: `${api}/feeds`,
  followers_url: `${api}/user/followers`,
  following_url: `${api}/user/following{/target}`,
  gists_url: `${api}/gists{/gist_id}`,
  issue_search_url: `${api}/search/issues?q={query}{&page,per_page,sort,order}`,
  issues_url: `${api}/issues`,
  keys_url: `${api}/user/keys`,
  label_search_url: `${api}/search/labels?q={query}&repository_id={repository_id}{&page,per_page}`,
  notifications_url: `${api}/notifications`,
  organization_url: `${api}/orgs/{org}`,
  organization_repositories_url: `${api}/orgs/{org}/repos{?type,page,per_page,sort}`,
  organization_teams_url: `${api}/orgs/{org}/teams`,
  public_gists_url: `${api}/gists/public`,
  rate_limit_url: `${api}/rate_limit`,
  repository_url: `${api}/repos/{owner}/{repo}`,
  repository_search_url: `${api}/search/repositories?q={query}{&page,per_page,sort,order}`,
  current_user_repositories_url: `${api}/user/repos{?type,page,per_page,sort}`,
  starred_url: `${api}/user/starred{/owner}{/repo}`,
  starred_gists_url: `${api}/gists/starred`,
  user_url: `${api}/users/{user}`,
  user_organizations_url: `${api}/user/orgs`,
  user_repositories_url: `${api}/users/{user}/repos{?type,page,per_page,sort}`,
  user_search_url: `${api}/search/users?q={query}{&page,per_page,sort,order}`,
})
