// GitHub as the operations see it: called as the stored App, never while quarantined, every outcome noted.

import { isLive, issuerOf, mayCallOut } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { AppKey } from '../github/app-key.ts'
import type { AppIdentity } from '../github/calls.ts'
import type { GitHub } from '../github/github.ts'
import type { StoredKey } from '../store/records.ts'
import type { Store } from '../store/database.ts'

export type Outcome = { readonly failure: Failure; readonly atMs: number }

export type AppLink = ReturnType<typeof createAppLink>

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
}) => {
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

  const watch =
    <A extends unknown[], T>(call: (...args: A) => Promise<T>) =>
    (...args: A): Promise<T> =>
      observed(() => call(...args))

  /** A call that began with the keys from before a rotation may end after the old one was revoked: it is made once more with the new ones. */
  const asStored =
    <A extends unknown[], T>(call: (as: AppIdentity, ...args: A) => Promise<T>) =>
    (...args: A): Promise<T> =>
      observed(async () => {
        const began = identity()
        try {
          return await call(began, ...args)
        } catch (error) {
          const now = identity()
          if (!(error instanceof Failure) || error.code !== 'key-rejected' || !hasOtherKey(began, now)) throw error
          return call(now, ...args)
        }
      })

  return {
    convertManifest: watch(github.convertManifest),
    /** A failure is not noted as trouble: no App depends on it. */
    async findPagesUrl(): Promise<string | undefined> {
      assertMayCall()
      return github.findPagesUrl()
    },
    /** As another App than the stored one: to prove a key before it is stored. */
    getAppAs: (as: AppIdentity) => observed(() => github.getApp(as), as),
    getApp: asStored(github.getApp),
    listInstallations: asStored(as => github.listInstallations(as, store.connection.read().installations)),
    getInstallation: asStored(github.getInstallation),
    mint: asStored(github.mint),
    uninstall: asStored(github.uninstall),
    revoke: watch(github.revoke),
    accepts: watch(github.accepts),
    listRepositories: watch(github.listRepositories),
    peekRepositories: watch(github.peekRepositories),
    hasRepository: watch(github.hasRepository),
    findRepository: watch(github.findRepository),
    findQuota: github.findQuota,
    findChangedMs: github.findChangedMs,
    keyState: github.keyState,
    /**
     * What stood between this machine and GitHub at the last call; undefined after a call that went through. The last is what began last:
     * a call that hung under previous settings says nothing of the current ones.
     */
    findTrouble: (): Outcome | undefined =>
      trouble?.generation === store.connection.read().generation ? trouble : undefined,
    /** Told of each call's end: undefined where it went through. */
    onOutcome: (listener: (failure: Failure | undefined) => void): void => void listeners.push(listener),
    /** Told when a call went through after others had not. */
    onRecovery: (listener: () => void): void => void recoveries.push(listener),
  }
}

/** Of the same App. */
const hasOtherKey = (began: AppIdentity, now: AppIdentity): boolean =>
  now.issuer === began.issuer &&
  now.keys.some(({ fingerprint }) => !began.keys.some(key => key.fingerprint === fingerprint))
