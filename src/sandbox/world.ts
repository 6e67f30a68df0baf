// The state machine behind the pages and the API: accounts, repositories, Apps, keys, installations, manifest codes.

import type { SandboxClock } from './clock.ts'
import type { KeyForge, NewKey } from './keys.ts'
import { narrowed, withMetadata, type Permissions } from './permissions.ts'
import type { Random } from './random.ts'
import type { Account, AccountKind, App, AppDraft, Installation, ManifestCode, Repository, Token } from './records.ts'

export const CODE_LIFE_MS = 3_600_000
export const MAX_KEYS = 25
export const MAX_NAME = 34

export type World = {
  readonly accounts: readonly Account[]
  readonly repositories: ReadonlyMap<number, Repository>
  readonly apps: ReadonlyMap<number, App>
  readonly installations: ReadonlyMap<number, Installation>
  readonly tokens: Map<string, Token>
  readonly settings: { statelessByDefault: boolean; hourlyQuota: number }
  findAccount(login: string): Account | undefined
  findEnterprise(slug: string): Account | undefined
  findRepository(owner: string, name: string): Repository | undefined
  /** By a name that it had, unless another one has that now. */
  findRenamed(owner: string, name: string): Repository | undefined
  /** By App id or by client id, as `iss` may be either. */
  findAppByIssuer(issuer: string): App | undefined
  findAppBySlug(slug: string): App | undefined
  findInstallationOf(app: App, account: Account): Installation | undefined
  repositoriesOf(installation: Installation): Repository[]
  createAccount(kind: AccountKind, login: string, enterprise?: string): Account
  createRepository(owner: Account, name: string): Repository
  renameRepository(repository: Repository, name: string): void
  /** An App without a key. Throws an Error with GitHub's text where the name will not do. */
  createApp(draft: AppDraft): App
  renameApp(app: App, name: string): void
  addKey(app: App): Promise<NewKey>
  removeKeys(app: App, id?: number): void
  /** Uninstalls it everywhere as well. */
  deleteApp(app: App): void
  /** As if it had never been deleted. */
  restoreApp(app: App, installed: readonly Installation[]): void
  issueCode(app: App, pem: string): ManifestCode
  /** Once, within an hour; afterwards `undefined`. */
  redeemCode(code: string): ManifestCode | undefined
  install(app: App, account: Account, repositoryIds?: ReadonlySet<number>): Installation
  uninstall(installation: Installation): void
  setSuspended(installation: Installation, suspended: boolean): void
  setPermissions(installation: Installation, permissions: Permissions): void
  /** What the App asks for from now on: what it gives up is gone from its installations at once, what is new waits for each owner. */
  setAppPermissions(app: App, permissions: Permissions): void
  setRepositories(installation: Installation, ids: ReadonlySet<number> | undefined): void
  /** Back to the seeded world, with the same ids where there is a seed. */
  reset(): void
}

export type WorldDeps = { clock: SandboxClock; random: Random; keys: KeyForge }

export const createWorld = ({ clock, random, keys }: WorldDeps): World => {
  const accounts: Account[] = []
  const repositories = new Map<number, Repository>()
  const apps = new Map<number, App>()
  const installations = new Map<number, Installation>()
  const tokens = new Map<string, Token>()
  const codes = new Map<string, ManifestCode>()
  const settings = { statelessByDefault: false, hourlyQuota: 5000 }
  const last = { account: 0, repository: 0, app: 0, installation: 0, key: 0 }
  const nextId = (kind: keyof typeof last): number => {
    last[kind] += random.int(1, 500)
    return last[kind]
  }
  const nodeId = (prefix: string): string => `${prefix}_kgDO${random.alphanumeric(6)}`
  const touch = (record: App | Installation): void => {
    record.updatedAtMs = clock.nowMs()
  }

  const world: World = {
    accounts,
    repositories,
    apps,
    installations,
    tokens,
    settings,
    findAccount: login => accounts.find(a => a.kind !== 'Enterprise' && same(a.login, login)),
    findEnterprise: slug => accounts.find(a => a.kind === 'Enterprise' && same(a.login, slug)),
    findRepository: (owner, name) => repositories.values().find(r => same(r.owner.login, owner) && same(r.name, name)),
    findRenamed: (owner, name) =>
      repositories.values().find(r => r.formerNames.some(former => same(former, `${owner}/${name}`))),
    findAppByIssuer: issuer =>
      (/^\d+$/.test(issuer) ? apps.get(Number(issuer)) : undefined) ??
      apps.values().find(app => app.clientId === issuer),
    findAppBySlug: slug => apps.values().find(app => app.slug === slug),
    findInstallationOf: (app, account) => installations.values().find(i => i.app === app && i.account === account),
    repositoriesOf: installation =>
      [...repositories.values()].filter(
        r => r.owner === installation.account && (installation.repositoryIds?.has(r.id) ?? true),
      ),

    createAccount: (kind, login, enterprise) => {
      const account: Account = {
        kind,
        id: nextId('account'),
        nodeId: nodeId(kind[0] ?? 'U'),
        login,
        createdAtMs: clock.nowMs(),
        ...(enterprise === undefined ? {} : { enterprise }),
      }
      accounts.push(account)
      return account
    },
    createRepository: (owner, name) => {
      const id = nextId('repository')
      const repository = {
        id,
        nodeId: nodeId('R'),
        owner,
        name,
        createdAtMs: clock.nowMs(),
        issues: [],
        formerNames: [],
      }
      repositories.set(id, repository)
      return repository
    },
    renameRepository: (repository, name) => {
      repository.formerNames.push(`${repository.owner.login}/${repository.name}`)
      repository.name = name
    },
    createApp: draft => {
      const slug = freeSlug(draft.name)
      const id = nextId('app')
      const app: App = {
        id,
        nodeId: nodeId('A'),
        slug,
        name: draft.name,
        owner: draft.owner,
        description: draft.description ?? null,
        externalUrl: draft.url,
        ...(draft.setupUrl === undefined ? {} : { setupUrl: draft.setupUrl }),
        setupOnUpdate: draft.setupOnUpdate ?? false,
        public: draft.public ?? false,
        permissions: withMetadata(draft.permissions),
        events: draft.events ?? [],
        clientId: `Iv23li${random.alphanumeric(14)}`,
        clientSecret: random.hex(40),
        webhookSecret: null,
        keys: [],
        createdAtMs: clock.nowMs(),
        updatedAtMs: clock.nowMs(),
      }
      apps.set(id, app)
      return app
    },
    renameApp: (app, name) => {
      if (slugOf(name) !== app.slug) app.slug = freeSlug(name)
      app.name = name
      touch(app)
    },
    addKey: async app => {
      if (app.keys.length >= MAX_KEYS) throw new Error(`An App can have at most ${MAX_KEYS} private keys.`)
      const key = await keys.take()
      app.keys.push({
        id: nextId('key'),
        publicKey: key.publicKey,
        fingerprint: key.fingerprint,
        createdAtMs: clock.nowMs(),
      })
      touch(app)
      return key
    },
    removeKeys: (app, id) => {
      app.keys = id === undefined ? [] : app.keys.filter(key => key.id !== id)
      touch(app)
    },
    deleteApp: app => {
      for (const installation of installations.values()) if (installation.app === app) world.uninstall(installation)
      apps.delete(app.id)
      for (const [code, issued] of codes) if (issued.app === app) codes.delete(code)
    },
    restoreApp: (app, installed) => {
      apps.set(app.id, app)
      for (const installation of installed) installations.set(installation.id, installation)
    },
    issueCode: (app, pem) => {
      const issued = { code: random.hex(40), app, pem, expiresAtMs: clock.nowMs() + CODE_LIFE_MS }
      codes.set(issued.code, issued)
      return issued
    },
    redeemCode: code => {
      const issued = codes.get(code)
      codes.delete(code)
      return issued !== undefined && clock.nowMs() < issued.expiresAtMs ? issued : undefined
    },

    install: (app, account, repositoryIds) => {
      const there = world.findInstallationOf(app, account)
      if (there) {
        world.setRepositories(there, repositoryIds)
        return there
      }
      const id = nextId('installation')
      const installation: Installation = {
        id,
        app,
        account,
        permissions: app.permissions,
        createdAtMs: clock.nowMs(),
        updatedAtMs: clock.nowMs(),
        ...(repositoryIds === undefined ? {} : { repositoryIds }),
      }
      installations.set(id, installation)
      return installation
    },
    uninstall: installation => {
      installations.delete(installation.id)
      for (const [text, token] of tokens) if (token.installation === installation) tokens.delete(text)
    },
    setSuspended: (installation, suspended) => {
      if (suspended) installation.suspendedAtMs ??= clock.nowMs()
      else delete installation.suspendedAtMs
      touch(installation)
    },
    setPermissions: (installation, permissions) => {
      installation.permissions = withMetadata(permissions)
      touch(installation)
    },
    setAppPermissions: (app, permissions) => {
      app.permissions = withMetadata(permissions)
      touch(app)
      for (const installation of installations.values()) {
        if (installation.app === app)
          world.setPermissions(installation, narrowed(installation.permissions, app.permissions))
      }
    },
    setRepositories: (installation, ids) => {
      if (ids === undefined) delete installation.repositoryIds
      else installation.repositoryIds = ids
      touch(installation)
    },
    reset: () => {
      for (const map of [repositories, apps, installations, tokens, codes]) map.clear()
      accounts.length = 0
      random.rewind()
      Object.assign(settings, { statelessByDefault: false, hourlyQuota: 5000 })
      // Where GitHub's own counters stood in 2026, about.
      Object.assign(last, {
        account: 210_000_000,
        repository: 1_100_000_000,
        app: 2_400_000,
        installation: 98_000_000,
        key: 3_700_000,
      })
      populate(world)
    },
  }

  const freeSlug = (name: string): string => {
    if (name.length > MAX_NAME) throw new Error(`Name is too long (maximum is ${MAX_NAME} characters)`)
    const slug = slugOf(name)
    if (slug === '') throw new Error("Name can't be blank")
    if (world.findAppBySlug(slug)) throw new Error('Name has already been taken')
    return slug
  }

  world.reset()
  return world
}

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()

const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')

const populate = (world: World): void => {
  const enterprise = world.createAccount('Enterprise', 'octo-enterprise')
  const organization = world.createAccount('Organization', 'octo-org', enterprise.login)
  for (const name of ['web', 'api', 'docs', 'infra']) world.createRepository(organization, name)
  world.createRepository(world.createAccount('Organization', 'other-org'), 'web')
  world.createRepository(world.createAccount('User', 'octocat'), 'hello-world')
}
