// Routes of an App that signs with its key: itself, its installations, and tokens for them.

import type { Hono } from 'hono'
import { paginate, readBody } from './answers.ts'
import { appOf, type ApiContext, type ApiEnv } from './exchange.ts'
import { API_PREFIX, type Parts } from './parts.ts'
import type { Account, Installation } from './records.ts'
import { notFound } from './refusal.ts'
import { accessToken, BREAKING_VERSION, installation, integration, repository } from './shapes.ts'
import { mintToken, parseTokenRequest } from './tokens.ts'

export const addAppRoutes = (api: Hono<ApiEnv>, parts: Parts): void => {
  const { world, url } = parts
  const installationsOf = (c: ApiContext): Installation[] => {
    const app = appOf(c)
    return [...world.installations.values()].filter(i => i.app === app)
  }
  /** Another App's installation answers as one that does not exist. */
  const named = (c: ApiContext): Installation => {
    const app = appOf(c)
    const found = world.installations.get(Number(c.req.param('id')))
    if (found?.app !== app) throw notFound()
    return found
  }
  const on = (c: ApiContext, account: Account | undefined): Installation => {
    const found = account === undefined ? undefined : world.findInstallationOf(appOf(c), account)
    if (!found) throw notFound()
    return found
  }

  api.get('/app', c => c.json(integration(url, appOf(c), installationsOf(c).length)))
  api.get('/app/installations', c => {
    const page = paginate(c, installationsOf(c), `${url}${API_PREFIX}/app/installations`)
    return c.json(
      page.items.map(i => installation(url, i)),
      200,
      page.headers,
    )
  })
  api.get('/app/installations/:id', c => c.json(installation(url, named(c))))
  api.delete('/app/installations/:id', c => {
    world.uninstall(named(c))
    return c.body(null, c.env.exchange.version >= BREAKING_VERSION ? 202 : 204)
  })
  api.put('/app/installations/:id/suspended', c => {
    world.setSuspended(named(c), true)
    return c.body(null, 204)
  })
  api.delete('/app/installations/:id/suspended', c => {
    world.setSuspended(named(c), false)
    return c.body(null, 204)
  })
  api.post('/app/installations/:id/access_tokens', async c => {
    const { exchange } = c.env
    const body = await readBody(c)
    exchange.scope = body
    const target = named(c)
    const asked = parseTokenRequest(body)
    const lag = parts.faults.strike('replication-lag', exchange)
    const format = c.req.header('x-github-stateless-s2s-token')
    const token = mintToken(world, target, asked, {
      nowMs: parts.clock.nowMs(),
      random: parts.tokenTexts,
      stateless: format === 'enabled' || (format !== 'disabled' && world.settings.statelessByDefault),
      ...(lag === undefined ? {} : { lag: { ms: lag.ms, status: lag.status ?? parts.faults.lagStatus() } }),
    })
    const repositories = token.repositoryIds && world.repositoriesOf(target).filter(r => token.repositoryIds?.has(r.id))
    return c.json(
      accessToken(
        token,
        repositories?.map(r => repository(url, r, exchange.version)),
      ),
      201,
    )
  })

  api.get('/orgs/:name/installation', c => {
    const account = world.findAccount(c.req.param('name'))
    return c.json(installation(url, on(c, account?.kind === 'Organization' ? account : undefined)))
  })
  api.get('/users/:name/installation', c => c.json(installation(url, on(c, world.findAccount(c.req.param('name'))))))
  api.get('/enterprises/:name/installation', c =>
    c.json(installation(url, on(c, world.findEnterprise(c.req.param('name'))))),
  )
  api.get('/repos/:owner/:name/installation', c => {
    const wanted = world.findRepository(c.req.param('owner'), c.req.param('name'))
    const found = on(c, wanted?.owner)
    if (!wanted || !world.repositoriesOf(found).includes(wanted)) throw notFound()
    return c.json(installation(url, found))
  })
}
