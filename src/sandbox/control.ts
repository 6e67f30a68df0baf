// The control API under /_sandbox/: tests read the world and the log, move the clock, order faults and act as GitHub's side.

import { Hono } from 'hono'
import { z } from 'zod'
import { isoSeconds } from './clock.ts'
import { Fault } from './faults.ts'
import type { Parts } from './parts.ts'
import type { Account, App, Installation, Repository } from './records.ts'
import { Refusal } from './refusal.ts'
import { describeState } from './state.ts'
import { MAX_KEYS } from './world.ts'

const Permissions = z.record(z.string(), z.string())
const Repositories = z.union([z.literal('all'), z.array(z.string())])
const ClockChange = z.union([z.strictObject({ offset_ms: z.number() }), z.strictObject({ advance_ms: z.number() })])
const NewAccount = z.strictObject({ login: z.string().min(1), enterprise: z.string().optional() })
const NewRepository = z.strictObject({ owner: z.string(), name: z.string().min(1) })
const NewApp = z.strictObject({
  owner: z.string(),
  name: z.string(),
  permissions: Permissions.default({}),
  public: z.boolean().default(false),
  setup_url: z.string().optional(),
  without_key: z.boolean().default(false),
})
const NewInstallation = z.strictObject({
  app: z.union([z.number(), z.string()]),
  account: z.string(),
  repositories: Repositories.default('all'),
})
const Settings = z.strictObject({
  stateless_by_default: z.boolean().optional(),
  hourly_quota: z.int().positive().optional(),
})

export const CONTROL_PREFIX = '/_sandbox'

export const createControl = (parts: Parts): Hono => {
  const { world, clock, faults, log } = parts
  const control = new Hono().basePath(CONTROL_PREFIX)
  const account = (login: string): Account => {
    const found = world.findAccount(login) ?? world.findEnterprise(login)
    if (!found) throw new Refusal(404, `no account ${login}`)
    return found
  }
  const app = (issuer: string): App => {
    const found = world.findAppByIssuer(issuer) ?? world.findAppBySlug(issuer)
    if (!found) throw new Refusal(404, `no App ${issuer}`)
    return found
  }
  const installation = (id: string): Installation => {
    const found = world.installations.get(Number(id))
    if (!found) throw new Refusal(404, `no installation ${id}`)
    return found
  }
  const repository = (owner: string, name: string): Repository => {
    const found = world.findRepository(owner, name)
    if (!found) throw new Refusal(404, `no repository ${owner}/${name}`)
    return found
  }
  const idsOf = (owner: Account, chosen: 'all' | string[]): ReadonlySet<number> | undefined => {
    if (chosen === 'all') return undefined
    return new Set(chosen.map(name => repository(owner.login, name).id))
  }

  control.get('/state', c => c.json(describeState(parts)))
  control.get('/log', c => c.json(log.since(Number(c.req.query('since') ?? 0))))
  control.post('/clock', async c => {
    const change = await body(c.req, ClockChange)
    if ('offset_ms' in change) clock.setOffset(change.offset_ms)
    else clock.advance(change.advance_ms)
    return c.json({ offset_ms: clock.offsetMs(), now: isoSeconds(clock.nowMs()) })
  })
  control.post('/settings', async c => {
    const change = await body(c.req, Settings)
    if (change.stateless_by_default !== undefined) world.settings.statelessByDefault = change.stateless_by_default
    if (change.hourly_quota !== undefined) world.settings.hourlyQuota = change.hourly_quota
    return c.json(world.settings)
  })
  control.get('/faults', c => c.json(faults.list()))
  control.post('/faults', async c => {
    faults.add(await body(c.req, Fault))
    return c.json(faults.list(), 201)
  })
  control.delete('/faults', c => c.json({ removed: faults.clear(c.req.query('kind')) }))
  control.post('/reset', c => {
    clock.setOffset(0)
    faults.clear()
    log.clear()
    parts.quotas.clear()
    for (const stream of [parts.random, parts.tokenTexts, parts.requestIds]) stream.rewind()
    world.reset()
    return c.json({ reset: true })
  })

  control.post('/organizations', async c => {
    const { login, enterprise } = await body(c.req, NewAccount)
    if (world.findAccount(login)) throw new Refusal(409, `${login} is taken`)
    return c.json({ id: world.createAccount('Organization', login, enterprise).id, login }, 201)
  })
  control.post('/accounts/:login/rename', async c => {
    const { login } = await body(c.req, z.strictObject({ login: z.string().min(1) }))
    const renamed = account(c.req.param('login'))
    if (world.findAccount(login) ?? world.findEnterprise(login)) throw new Refusal(409, `${login} is taken`)
    renamed.login = login
    return c.json({ id: renamed.id, login })
  })
  control.post('/repositories', async c => {
    const { owner, name } = await body(c.req, NewRepository)
    if (world.findRepository(owner, name)) throw new Refusal(409, `${owner}/${name} is taken`)
    return c.json({ id: world.createRepository(account(owner), name).id, owner, name }, 201)
  })
  control.post('/repositories/:owner/:name/rename', async c => {
    const { name } = await body(c.req, z.strictObject({ name: z.string().min(1) }))
    const renamed = repository(c.req.param('owner'), c.req.param('name'))
    if (world.findRepository(renamed.owner.login, name)) throw new Refusal(409, `${name} is taken`)
    world.renameRepository(renamed, name)
    return c.json({ id: renamed.id, name })
  })
  control.post('/apps', async c => {
    const wanted = await body(c.req, NewApp)
    const made = refusing(() =>
      world.createApp({
        owner: account(wanted.owner),
        name: wanted.name,
        url: parts.url,
        permissions: wanted.permissions,
        public: wanted.public,
        ...(wanted.setup_url === undefined ? {} : { setupUrl: wanted.setup_url }),
      }),
    )
    const pem = wanted.without_key ? null : (await world.addKey(made)).pem
    return c.json({ id: made.id, client_id: made.clientId, slug: made.slug, pem }, 201)
  })
  /** What the two routes below took away; GitHub itself gives nothing back, but its wrong answers end. */
  const taken = new Map<string, () => void>()
  control.post('/apps/:id/delete', c => {
    const gone = app(c.req.param('id'))
    const installed = [...world.installations.values()].filter(one => one.app === gone)
    world.deleteApp(gone)
    taken.set(c.req.param('id'), () => {
      world.restoreApp(gone, installed)
    })
    return c.json({ deleted: true })
  })
  control.post('/apps/:id/revoke-keys', async c => {
    const { fingerprint } = await body(c.req, z.strictObject({ fingerprint: z.string().optional() }))
    const keyed = app(c.req.param('id'))
    const key = keyed.keys.find(one => one.fingerprint === fingerprint)
    if (fingerprint !== undefined && !key) throw new Refusal(404, `no key ${fingerprint}`)
    const { keys } = keyed
    world.removeKeys(keyed, key?.id)
    taken.set(c.req.param('id'), () => {
      keyed.keys = keys
    })
    return c.json({ revoked: true })
  })
  control.post('/apps/:id/restore', c => {
    const giveBack = taken.get(c.req.param('id'))
    if (!giveBack) throw new Refusal(404, 'nothing was taken from it')
    giveBack()
    taken.delete(c.req.param('id'))
    return c.json({ restored: true })
  })
  control.post('/apps/:id/generate-key', async c => {
    const keyed = app(c.req.param('id'))
    if (keyed.keys.length >= MAX_KEYS) throw new Refusal(422, `at most ${MAX_KEYS} keys`)
    const key = await world.addKey(keyed)
    return c.json({ pem: key.pem, fingerprint: key.fingerprint }, 201)
  })
  control.post('/apps/:id/permissions', async c => {
    const { permissions } = await body(c.req, z.strictObject({ permissions: Permissions }))
    const changed = app(c.req.param('id'))
    world.setAppPermissions(changed, permissions)
    return c.json({ permissions: changed.permissions })
  })
  control.post('/apps/:id/transfer', async c => {
    const { owner } = await body(c.req, z.strictObject({ owner: z.string() }))
    const moved = app(c.req.param('id'))
    moved.owner = account(owner)
    return c.json({ id: moved.id, owner: moved.owner.login })
  })
  control.post('/apps/:id/rename', async c => {
    const { name } = await body(c.req, z.strictObject({ name: z.string() }))
    const renamed = app(c.req.param('id'))
    refusing(() => {
      world.renameApp(renamed, name)
    })
    return c.json({ id: renamed.id, slug: renamed.slug, name })
  })

  control.post('/installations', async c => {
    const wanted = await body(c.req, NewInstallation)
    const on = account(wanted.account)
    const made = world.install(app(String(wanted.app)), on, idsOf(on, wanted.repositories))
    return c.json({ id: made.id, account: on.login }, 201)
  })
  control.post('/installations/:id/suspend', c => {
    world.setSuspended(installation(c.req.param('id')), true)
    return c.json({ suspended: true })
  })
  control.post('/installations/:id/unsuspend', c => {
    world.setSuspended(installation(c.req.param('id')), false)
    return c.json({ suspended: false })
  })
  control.post('/installations/:id/uninstall', c => {
    world.uninstall(installation(c.req.param('id')))
    return c.json({ uninstalled: true })
  })
  control.post('/installations/:id/permissions', async c => {
    const { permissions } = await body(c.req, z.strictObject({ permissions: Permissions }))
    const changed = installation(c.req.param('id'))
    world.setPermissions(changed, permissions)
    return c.json({ permissions: changed.permissions })
  })
  control.post('/installations/:id/approve', c => {
    const approved = installation(c.req.param('id'))
    world.setPermissions(approved, approved.app.permissions)
    return c.json({ permissions: approved.permissions })
  })
  control.post('/installations/:id/repositories', async c => {
    const { repositories } = await body(c.req, z.strictObject({ repositories: Repositories }))
    const changed = installation(c.req.param('id'))
    world.setRepositories(changed, idsOf(changed.account, repositories))
    return c.json({ repositories: world.repositoriesOf(changed).map(r => r.name) })
  })

  control.notFound(c => c.json({ error: 'no such control' }, 404))
  control.onError(error => {
    if (error instanceof Refusal) return Response.json({ error: error.message }, { status: error.status })
    throw error
  })
  return control
}

const body = async <T>(request: { text(): Promise<string> }, schema: z.ZodType<T>): Promise<T> => {
  const parsed = schema.safeParse(parseJson(await request.text()))
  if (!parsed.success) throw new Refusal(400, z.prettifyError(parsed.error))
  return parsed.data
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text === '' ? '{}' : text)
  } catch (cause) {
    throw new Refusal(400, `not JSON: ${String(cause)}`)
  }
}

/** The world's rules throw plain errors; here they are a 422. */
const refusing = <T>(act: () => T): T => {
  try {
    return act()
  } catch (cause) {
    throw cause instanceof Refusal ? cause : new Refusal(422, cause instanceof Error ? cause.message : String(cause))
  }
}
