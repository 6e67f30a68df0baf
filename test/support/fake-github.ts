// A small honest model of GitHub behind the daemon's own contract: Apps, installations, tokens, and refusals to be switched on.

import type { Account, App, Installation } from '../../src/protocol/connection.ts'
import { type Code, Failure } from '../../src/protocol/errors.ts'
import { foldName, type Permissions, permissionsCover, type Scope } from '../../src/protocol/scope.ts'
import { Secret } from '../../src/protocol/secret.ts'
import type { GitHubClock } from '../../src/core/github/clock.ts'
import type { MintedToken } from '../../src/core/github/answers.ts'
import type { KeyState } from '../../src/core/github/app-key.ts'
import type { AppIdentity, Quota } from '../../src/core/github/calls.ts'
import type { GitHub } from '../../src/core/github/github.ts'

type Call = keyof GitHub
export type HeldApp = { app: App; keys: Set<string>; deleted: boolean }
export type HeldInstallation = {
  installation: Installation
  readonly appId: number
  repositories: { id: number; name: string }[]
}
export type IssuedToken = {
  readonly text: string
  readonly installation: number
  readonly repositories?: readonly string[]
  readonly permissions: Permissions
  readonly expiresAtMs: number
  revoked: boolean
}

const HOUR_MS = 3_600_000
const DEADLINE_MS = 30_000

export class World {
  readonly apps = new Map<number, HeldApp>()
  readonly installations = new Map<number, HeldInstallation>()
  readonly tokens = new Map<string, IssuedToken>()
  readonly codes = new Map<string, { owner: Account; name: string; app?: number }>()
  readonly calls: Call[] = []
  /** Accounts whose IP allow list does not admit the daemon. */
  readonly blocked = new Set<string>()
  /** What the API's root says of the pages. */
  pagesUrl: () => string | undefined = () => 'https://github.com/settings/connections/applications{/client_id}'
  /** When an installation was changed last, where that is told. */
  readonly changedMs = new Map<number, number>()
  /** Accounts whose policies keep the App out. */
  readonly forbidding = new Set<string>()
  /** What was last said of each key. */
  readonly keyStates = new Map<string, KeyState>()
  /** Of accounts that the App is not installed on: anybody may read them. */
  readonly publicRepositories = new Map<number, { owner: string; name: string }>()
  /** What all calls end with. */
  outage: Failure | undefined
  quota: Quota | undefined
  /** Granted on top of what was asked for: GitHub would have to be broken. */
  surplus: Permissions = {}
  readonly #refusals: { call: Call; failure: Failure; times: number }[] = []
  readonly #withheld = new Set<Call>()
  readonly #held = new Map<Call, Promise<void>>()
  readonly #nowMs: () => number
  readonly #sleep: (ms: number) => Promise<void>
  #ids = 100

  constructor(nowMs: () => number, sleep: (ms: number) => Promise<void> = () => new Promise<never>(() => {})) {
    this.#nowMs = nowMs
    this.#sleep = sleep
  }

  /** The next `times` calls of this kind end with the failure, and do nothing. */
  refuse(call: Call, code: Code, options: { times?: number; retryAfterSeconds?: number } = {}): void {
    const { times = 1, ...rest } = options
    this.#refusals.push({ call, failure: new Failure(code, `refused: ${code}`, rest), times })
  }

  /** GitHub does what the next call of this kind asks for, and its answer never comes: the deadline passes. */
  withhold(call: Call): void {
    this.#withheld.add(call)
  }

  /** GitHub does what the next call of this kind asks for, and answers once it is let go. */
  hold(call: Call): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#held.set(call, promise)
    return resolve
  }

  /** No more answers are withheld than were before. */
  deliver(): void {
    this.#withheld.clear()
  }

  count(call: Call): number {
    return this.calls.filter(one => one === call).length
  }

  /** The owner presses the button on the page: GitHub redirects with a code. */
  submitManifest(owner: Account, name = 'appliance'): string {
    const code = `code-${this.#ids++}`
    this.codes.set(code, { owner, name })
    return code
  }

  /** The App that is made without a manifest, and the PEM that its page offers. */
  createApp(owner: Account, name = 'appliance'): { app: App; pem: string } {
    const id = this.#ids++
    const app: App = {
      id,
      clientId: `Iv23${id}`,
      slug: `${name}-${id}`,
      name: `${name}-${id}`,
      owner,
      htmlUrl: `https://github.com/apps/${name}-${id}`,
      permissions: { contents: 'write', metadata: 'read' },
    }
    this.apps.set(id, { app, keys: new Set(), deleted: false })
    return { app, pem: this.addKey(id) }
  }

  addKey(appId: number): string {
    const pem = `key ${this.#ids++} of ${appId}`
    this.#app(appId).keys.add(pem)
    return pem
  }

  revokeKey(appId: number, pem: string): void {
    this.#app(appId).keys.delete(pem)
  }

  install(
    appId: number,
    account: Account,
    options: { repositories?: readonly string[]; permissions?: Permissions } = {},
  ): Installation {
    const id = this.#ids++
    const installation: Installation = {
      id,
      account,
      repositorySelection: 'all',
      permissions: options.permissions ?? { contents: 'write', issues: 'write', metadata: 'read' },
      htmlUrl: `https://github.com/organizations/${account.login}/settings/installations/${id}`,
    }
    const repositories = (options.repositories ?? ['Web', 'api']).map(name => ({ id: this.#ids++, name }))
    this.installations.set(id, { installation, appId, repositories })
    return installation
  }

  uninstall(id: number): void {
    this.installations.delete(id)
    for (const token of this.tokens.values()) if (token.installation === id) token.revoked = true
  }

  suspend(id: number, suspended: boolean): void {
    const held = this.installations.get(id)
    if (!held) return
    const { suspendedAtMs: _, ...rest } = held.installation
    held.installation = suspended ? { ...rest, suspendedAtMs: this.#nowMs() } : rest
  }

  deleteApp(id: number): void {
    this.#app(id).deleted = true
    for (const [installation, held] of this.installations) if (held.appId === id) this.uninstall(installation)
  }

  isAlive(token: string): boolean {
    const issued = this.tokens.get(token)
    return issued !== undefined && !issued.revoked && issued.expiresAtMs > this.#nowMs()
  }

  #app(id: number): HeldApp {
    const held = this.apps.get(id)
    if (!held) throw new Error(`no App ${id}`)
    return held
  }

  authenticate({ issuer, keys }: AppIdentity): HeldApp {
    const held = [...this.apps.values()].find(({ app }) => [String(app.id), app.clientId].includes(issuer))
    if (!held || held.deleted) throw new Failure('app-not-found', 'Integration not found')
    for (const { fingerprint } of keys) {
      const works = held.keys.has(fingerprint)
      this.keyStates.set(fingerprint, works ? 'works' : 'rejected')
      if (works) return held
    }
    throw new Failure('key-rejected', 'A JSON web token could not be decoded')
  }

  convert(code: string): { app: App; pem: string } {
    const intent = this.codes.get(code)
    if (!intent || intent.app !== undefined) throw new Failure('code-rejected', 'Not Found')
    const made = this.createApp(intent.owner, intent.name)
    intent.app = made.app.id
    return made
  }

  find(appId: number, id: number): HeldInstallation {
    const held = this.installations.get(id)
    if (held?.appId !== appId) throw new Failure('installation-not-found', 'Not Found')
    this.admit(held.installation)
    return held
  }

  admit({ account }: Installation): void {
    if (this.blocked.has(account.login)) throw new Failure('ip-blocked', 'IP allow list')
    if (this.forbidding.has(account.login)) throw new Failure('account-policy', 'SAML enforcement')
  }

  /** The owner changes something of the installation, and GitHub notes when. */
  change(id: number, change: Partial<Omit<Installation, 'id'>>, repositories?: readonly string[]): void {
    const held = this.installations.get(id)
    if (!held) throw new Error(`no installation ${id}`)
    held.installation = { ...held.installation, ...change }
    if (repositories) held.repositories = repositories.map(name => ({ id: this.#ids++, name }))
    this.changedMs.set(id, this.#ids++)
  }

  changeApp(id: number, change: Partial<App>): void {
    const held = this.#app(id)
    held.app = { ...held.app, ...change }
  }

  mint(as: AppIdentity, scope: Scope): MintedToken {
    const { app } = this.authenticate(as)
    const held = this.find(app.id, scope.installation)
    if (held.installation.suspendedAtMs !== undefined) throw new Failure('suspended', 'has been suspended')
    const asked = scope.permissions ?? held.installation.permissions
    if (!permissionsCover(held.installation.permissions, asked)) {
      throw new Failure('permission-not-granted', 'The permissions requested are not granted to this installation.')
    }
    const repositories = scope.repositories?.map(name => {
      const found = held.repositories.find(repository => foldName(repository.name) === foldName(name))
      if (!found) throw new Failure('repository-not-accessible', 'There is at least one repository')
      return found.name
    })
    const permissions: Permissions = { metadata: 'read', ...asked, ...this.surplus }
    const expiresAtMs = Math.floor(this.#nowMs() / 1000) * 1000 + HOUR_MS
    const text = `ghs_${String(this.#ids++).padStart(36, '0')}`
    const issued = { text, installation: scope.installation, permissions, expiresAtMs, revoked: false }
    this.tokens.set(text, repositories ? { ...issued, repositories } : issued)
    return {
      token: new Secret(text),
      expiresAtMs,
      granted: { permissions, ...(repositories && { repositories }) },
    }
  }

  /** What is common to all calls: faults before, and the answer that never comes after. */
  async answer<T>(call: Call, work: () => T): Promise<T> {
    this.calls.push(call)
    await Promise.resolve()
    if (this.outage) throw this.outage
    const refusal = this.#refusals.find(one => one.call === call && one.times-- > 0)
    if (refusal) throw refusal.failure
    const result = work()
    const held = this.#held.get(call)
    this.#held.delete(call)
    await held
    if (!this.#withheld.delete(call)) return result
    await this.#sleep(DEADLINE_MS)
    throw new Failure('timeout', 'no answer')
  }

  nowMs(): number {
    return this.#nowMs()
  }
}

/** The daemon's view. `isDead`: the process that asked was killed, so no answer reaches it. */
export const createFakeGitHub = (deps: {
  world: World
  githubClock: GitHubClock
  wallNow: () => number
  isDead: () => boolean
}): GitHub => {
  const { world, githubClock } = deps

  const call = async <T>(name: Call, work: () => T): Promise<T> => {
    if (deps.isDead()) return new Promise<never>(() => {})
    const sentAtMs = deps.wallNow()
    const outcome = await world.answer(name, work).then(
      value => ({ value }),
      (error: unknown) => ({ error }),
    )
    if (deps.isDead()) return new Promise<never>(() => {})
    if (!world.outage) githubClock.learn(new Date(world.nowMs()).toUTCString(), sentAtMs)
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }

  const issuedOf = (token: Secret) => {
    const issued = world.tokens.get(token.reveal())
    if (!issued || !world.isAlive(issued.text)) throw new Failure('bad-credentials', 'Bad credentials')
    const held = world.installations.get(issued.installation)
    if (held?.installation.suspendedAtMs !== undefined) throw new Failure('suspended', 'has been suspended')
    if (held) world.admit(held.installation)
    return issued
  }
  const isRefusal = (error: unknown, ...codes: readonly Code[]): boolean =>
    error instanceof Failure && codes.includes(error.code)

  return {
    convertManifest: code =>
      call('convertManifest', () => {
        const { app, pem } = world.convert(code)
        return { app, pem: new Secret(pem) }
      }),
    findPagesUrl: async () => world.pagesUrl(),
    getApp: as => call('getApp', () => world.authenticate(as).app),
    listInstallations: as =>
      call('listInstallations', () => {
        const { app } = world.authenticate(as)
        return [...world.installations.values()]
          .filter(held => held.appId === app.id)
          .map(({ installation }) => installation)
      }),
    getInstallation: (as, id) =>
      call('getInstallation', () => world.find(world.authenticate(as).app.id, id).installation),
    mint: (as, scope) => call('mint', () => world.mint(as, scope)),
    revoke: token =>
      call('revoke', () => {
        try {
          issuedOf(token).revoked = true
        } catch (error) {
          if (!isRefusal(error, 'bad-credentials')) throw error
        }
      }),
    accepts: token =>
      call('accepts', () => {
        try {
          return issuedOf(token) !== undefined
        } catch (error) {
          if (isRefusal(error, 'bad-credentials', 'forbidden', 'suspended')) return false
          throw error
        }
      }),
    listRepositories: token =>
      call('listRepositories', () => ({
        items: world.installations.get(issuedOf(token).installation)?.repositories ?? [],
        isWhole: true,
      })),
    peekRepositories: token =>
      call('peekRepositories', () => {
        const { repositories = [] } = world.installations.get(issuedOf(token).installation) ?? {}
        return { total: repositories.length, names: repositories.slice(0, 100).map(({ name }) => name) }
      }),
    hasRepository: (token, { name }) =>
      call('hasRepository', () => {
        const { repositories = [] } = world.installations.get(issuedOf(token).installation) ?? {}
        return repositories.some(repository => foldName(repository.name) === foldName(name))
      }),
    findRepository: (token, { id }) =>
      call('findRepository', () => {
        const held = world.installations.get(issuedOf(token).installation)
        const found = held?.repositories.find(repository => repository.id === id)
        if (found && held) return { owner: held.installation.account.login, name: found.name }
        return world.publicRepositories.get(id)
      }),
    uninstall: (as, id) =>
      call('uninstall', () => {
        try {
          world.find(world.authenticate(as).app.id, id)
          world.uninstall(id)
        } catch (error) {
          if (!isRefusal(error, 'installation-not-found', 'app-not-found')) throw error
        }
      }),
    findQuota: () => world.quota,
    findChangedMs: installation => world.changedMs.get(installation),
    keyState: fingerprint => world.keyStates.get(fingerprint) ?? 'unknown',
  }
}
