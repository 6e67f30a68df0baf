// GitHub as the operations see it: called as the stored App, never while quarantined, every outcome noted.

import { type Installation, isLive, issuerOf, mayCallOut } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Scope } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'
import type {
  AppIdentity,
  AppKey,
  ConvertedApp,
  GitHub,
  KeyState,
  Listed,
  MintedToken,
  Quota,
  Repository,
} from '../github/request.ts'
import type { Clock } from '../../service/clock.ts'
import type { Store } from '../store/database.ts'
import type { StoredKey } from '../store/connection-store.ts'
import type { App } from '../../protocol/connection.ts'

export type Outcome = { readonly failure: Failure; readonly atMs: number }

export type AppLink = {
  convertManifest(code: string): Promise<ConvertedApp>
  /** An address on GitHub's pages, as its API names it. A failure is not noted as trouble: no App depends on it. */
  findPagesUrl(): Promise<string | undefined>
  /** As another App than the stored one: to prove a key before it is stored. */
  getAppAs(identity: AppIdentity): Promise<App>
  getApp(): Promise<App>
  listInstallationsAs(identity: AppIdentity): Promise<readonly Installation[]>
  listInstallations(): Promise<readonly Installation[]>
  getInstallation(id: number): Promise<Installation>
  mint(scope: Scope): Promise<MintedToken>
  revoke(token: Secret): Promise<void>
  accepts(token: Secret): Promise<boolean>
  listRepositories(token: Secret): Promise<Listed<Repository>>
  uninstall(id: number): Promise<void>
  readonly peekRepositories: GitHub['peekRepositories']
  readonly hasRepository: GitHub['hasRepository']
  readonly findRepository: GitHub['findRepository']
  findQuota(installation: number): Quota | undefined
  /** When an installation was changed last, where GitHub said so. */
  findChangedMs(installation: number): number | undefined
  /** What GitHub last said of a key, by its fingerprint. */
  keyState(fingerprint: string): KeyState
  /**
   * What stood between this machine and GitHub at the last call; undefined after a call that went through. The last is what began last:
   * a call that hung under former settings says nothing of those that hold now.
   */
  findTrouble(): Outcome | undefined
  /** Told of each call's end: undefined where it went through. */
  onOutcome(listener: (failure: Failure | undefined) => void): void
  /** Told when a call went through after others had not. */
  onRecovery(listener: () => void): void
}

/** Failures that say something of this one request only, not of the way to GitHub or the App. */
const OF_THE_REQUEST = new Set<string>([
  'permission-not-granted',
  'repository-not-accessible',
  'code-rejected',
  'bad-credentials',
  'forbidden',
])

/** What these say of another App's identity, they do not say of the stored one's. */
const OF_THE_IDENTITY = new Set<string>(['key-rejected', 'app-not-found'])

export const createAppLink = (deps: {
  github: GitHub
  store: Store
  clock: Clock
  readKey: (pem: string) => AppKey
  /** Why this node calls nobody. */
  whyNotCalling?: () => Failure | undefined
}): AppLink => {
  const { github, store, clock } = deps
  const listeners: ((failure: Failure | undefined) => void)[] = []
  /** With the generation it was met under: what stood in the way of a former connection says nothing of this one. */
  let trouble: (Outcome & { readonly generation: number }) | undefined
  let begun = 0
  const recoveries: (() => void)[] = []
  let judged = 0
  let keys: { stored: readonly StoredKey[]; parsed: readonly AppKey[] } | undefined

  const identity = (): AppIdentity => {
    const record = store.connection.read()
    if (!isLive(record.connection)) throw new Failure('not-connected', 'no App is stored')
    if (keys?.stored !== record.keys) {
      keys = { stored: record.keys, parsed: record.keys.map(key => deps.readKey(key.pem.reveal())) }
    }
    return { issuer: issuerOf(record.connection.app), keys: keys.parsed }
  }

  const assertMayCall = (): void => {
    if (!mayCallOut(store.connection.read().connection)) {
      throw new Failure('quarantined', 'no call goes out while the credentials are quarantined')
    }
    const mute = deps.whyNotCalling?.()
    if (mute) throw mute
  }

  const observed = async <T>(call: () => Promise<T>, as?: AppIdentity): Promise<T> => {
    const { generation } = store.connection.read()
    assertMayCall()
    const number = ++begun
    const judge = (outcome: typeof trouble): void => {
      if (number < judged) return
      judged = number
      const recovered = trouble !== undefined && outcome === undefined
      trouble = outcome
      if (recovered) for (const listener of recoveries) listener()
    }
    try {
      const result = await call()
      judge(undefined)
      for (const listener of listeners) listener(undefined)
      return result
    } catch (error) {
      const failure = asFailure(error)
      // A refusal of this one request is an answer of GitHub's: the way there is open.
      const answered = OF_THE_REQUEST.has(failure.code) || (as !== undefined && OF_THE_IDENTITY.has(failure.code))
      judge(answered ? undefined : { failure, atMs: clock.now(), generation })
      for (const listener of listeners) listener(failure)
      throw failure
    }
  }

  /** A call that began with the keys of before a rotation may end after the old one was revoked: it is made once more with those of now. */
  const asStored = <T>(call: (as: AppIdentity) => Promise<T>): Promise<T> =>
    observed(async () => {
      const began = identity()
      try {
        return await call(began)
      } catch (error) {
        const now = identity()
        if (!(error instanceof Failure) || error.code !== 'key-rejected' || !hasOtherKey(began, now)) throw error
        return call(now)
      }
    })

  return {
    convertManifest: code => observed(() => github.convertManifest(code)),
    async findPagesUrl() {
      assertMayCall()
      return github.findPagesUrl()
    },
    getAppAs: as => observed(() => github.getApp(as), as),
    getApp: () => asStored(as => github.getApp(as)),
    listInstallationsAs: as => observed(() => github.listInstallations(as), as),
    listInstallations: () => asStored(as => github.listInstallations(as, store.connection.read().installations)),
    getInstallation: id => asStored(as => github.getInstallation(as, id)),
    mint: scope => asStored(as => github.mint(as, scope)),
    revoke: token => observed(() => github.revoke(token)),
    accepts: token => observed(() => github.accepts(token)),
    listRepositories: token => observed(() => github.listRepositories(token)),
    uninstall: id => asStored(as => github.uninstall(as, id)),
    peekRepositories: (token, installation) => observed(() => github.peekRepositories(token, installation)),
    hasRepository: (token, of) => observed(() => github.hasRepository(token, of)),
    findRepository: (token, of) => observed(() => github.findRepository(token, of)),
    findQuota: installation => github.findQuota(installation),
    findChangedMs: installation => github.findChangedMs(installation),
    keyState: fingerprint => github.keyState(fingerprint),
    findTrouble: () => (trouble?.generation === store.connection.read().generation ? trouble : undefined),
    onOutcome: listener => void listeners.push(listener),
    onRecovery: listener => void recoveries.push(listener),
  }
}

/** Of the same App. */
const hasOtherKey = (began: AppIdentity, now: AppIdentity): boolean =>
  now.issuer === began.issuer &&
  now.keys.some(({ fingerprint }) => !began.keys.some(key => key.fingerprint === fingerprint))
