// Enable: the App manifest flow from the link to the first token, resumable after a kill at any step.

import { randomBytes } from 'node:crypto'
import { type Account, type Connection, type Host, type Installation, isLive } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { isLoopback } from '../../protocol/github-addresses.ts'
import { foldName } from '../../protocol/scope.ts'
import { sameText } from '../../protocol/secret.ts'
import type { ConvertedApp } from '../github/answers.ts'
import type { AppKey } from '../github/app-key.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { AppLink } from './app-link.ts'
import { within } from '../../service/limits.ts'
import type { Events } from '../audit/events.ts'
import type { ConnectionState } from './connection-state.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

/** Where GitHub sent the owner's browser to. `trusted`: an administrator typed it. */
type Redirect = { readonly code: string; readonly state?: string; readonly trusted: boolean }

export type Enabling = { readonly url: string; readonly expiresAtMs: number; readonly how: 'manifest' | 'import' }

export type Enable = ReturnType<typeof createEnable>

type AwaitingApp = Extract<Connection, { kind: 'awaiting-app' }>

/** As long as GitHub keeps a conversion code. */
const LINK_MS = 60 * 60_000
const POLL_MS = 3_000
const RETRY_CONVERSION_MS = 5_000
/** For GitHub to say where its pages are. */
const PAGES_MS = 4_000

export const createEnable = (deps: {
  connectionState: ConnectionState
  link: AppLink
  audit: Pick<AuditWriter, 'record'>
  events: Events
  clock: Clock
  log: Log
  readKey: (pem: string) => AppKey
  host: () => Host
  addresses: () => { readonly url: string; readonly apiUrl: string }
  /** The form's address: our page for a manifest, GitHub's pre-filled form for an enterprise. */
  formUrl: (account: Account, state: string) => string
  /** Why our page listens nowhere, if it does not. */
  pageFault?: () => Failure | undefined
  /** The first token proves the whole way; called once the App is installed. */
  onConnected: () => Promise<void>
}) => {
  const { connectionState, link, clock, log } = deps
  let polling = false
  let nextPoll: Timer | undefined
  let retry: Timer | undefined
  /** A key that came from GitHub and could not be written: GitHub does not give it twice. */
  let unstored: { readonly code: string; readonly converted: ConvertedApp } | undefined

  /** One timer, however often somebody asks in between. */
  const retryConversion = (): void => {
    retry?.cancel()
    retry = clock.after(RETRY_CONVERSION_MS, () => void resume())
  }

  const pending = (state: string | undefined): AwaitingApp | undefined => {
    const { connection } = connectionState.read()
    if (connection.kind !== 'awaiting-app' || connection.expiresAtMs <= clock.now()) return undefined
    return state === undefined || sameText(state, connection.state) ? connection : undefined
  }

  const pendingFor = ({ state, trusted }: Omit<Redirect, 'code'>): AwaitingApp => {
    const connection = state === undefined && !trusted ? undefined : pending(state)
    if (!connection || connection.account.type === 'enterprise') {
      throw new Failure('no-enable-pending', 'the link was used, has run out, or belongs to another enable')
    }
    return connection
  }

  /** An App made on the pages of one GitHub is unknown to the API of another. An API that does not answer is left to the other checks. */
  const assertOneGithub = async (): Promise<void> => {
    const { url, apiUrl } = deps.addresses()
    const [pages, api] = [new URL(url), new URL(apiUrl)]
    // Every other pair is proven by its names (github-addresses.ts).
    if (pages.origin === api.origin || !(isLoopback(pages.hostname) || isLoopback(api.hostname))) return
    const untilMs = clock.monotonic() + PAGES_MS
    const asked = await within(link.findPagesUrl(), { clock, untilMs, what: 'GitHub' })
    if (asked.failure) return log.debug('the API did not say where its pages are', { error: asked.failure })
    if (asked.value === undefined || originOf(asked.value) === originOf(url)) return
    const { origin } = new URL(asked.value)
    throw new Failure(
      'configuration',
      `github.url is ${url}, but the API at github.api_url (${apiUrl}) belongs to the GitHub at ${origin}`,
      { next: `Set github.url to ${origin}, or github.api_url to the API of ${url}; then enable again.` },
    )
  }

  const beginNow = (account: Account): Enabling => {
    const { connection } = connectionState.read()
    if (isLive(connection)) {
      const { next } = connectionState.explain()
      throw new Failure('already-connected', `the state is ${connection.kind}, with ${connection.account.login}`, {
        next: connection.kind === 'connected' ? undefined : next,
      })
    }
    if (connection.kind === 'awaiting-app' && connection.conversion) {
      throw new Failure('enable-in-progress', `for ${connection.account.login}`)
    }
    // Where another process has the page's port, it would be handed the form.
    const absent = account.type === 'enterprise' ? undefined : deps.pageFault?.()
    if (absent) throw absent
    const state = randomBytes(16).toString('hex')
    const expiresAtMs = clock.now() + LINK_MS
    deps.audit.record({ event: 'connection.enable', detail: account.login })
    connectionState.transition({ kind: 'awaiting-app', sinceMs: clock.now(), account, state, expiresAtMs })
    return {
      url: deps.formUrl(account, state),
      expiresAtMs,
      how: account.type === 'enterprise' ? 'import' : 'manifest',
    }
  }

  /** `mayBeConverted`: the code was sent before, and its answer never came. */
  const convert = async (mayBeConverted: boolean): Promise<Connection> => {
    const { connection } = connectionState.read()
    if (connection.kind !== 'awaiting-app' || !connection.conversion) return connection
    const { code } = connection.conversion
    if (unstored?.code !== code) {
      try {
        unstored = { code, converted: await link.convertManifest(code) }
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        afterRefusal(connection, error, mayBeConverted)
        throw error
      }
    }
    try {
      const established = storeConverted(connection, unstored.converted)
      unstored = undefined
      return established
    } catch (error) {
      if (connectionState.read().connection !== connection) unstored = undefined
      else if (error instanceof Failure && error.code === 'invalid-key') lose(connection, error.message)
      else retryConversion()
      throw error
    }
  }

  const lose = ({ account }: AwaitingApp, evidence: string): void => {
    unstored = undefined
    connectionState.transition({ kind: 'key-lost', sinceMs: clock.now(), account, evidence })
  }

  const afterRefusal = (connection: AwaitingApp, failure: Failure, mayBeConverted: boolean): void => {
    if (failure.code !== 'code-rejected') {
      log.warn('GitHub gave no key for the new App; it is asked again', { error: failure })
      retryConversion()
    } else if (mayBeConverted) {
      lose(connection, failure.message)
    } else {
      const { conversion: _, ...without } = connection
      connectionState.transition(without)
    }
  }

  const storeConverted = (connection: AwaitingApp, { app, pem }: ConvertedApp): Connection => {
    if (foldName(app.owner.login) !== foldName(connection.account.login)) {
      const remark = `The App ${app.name} belongs to ${app.owner.login}, not to ${connection.account.login}; delete it under ${app.htmlUrl}.`
      connectionState.transition({ kind: 'disconnected', sinceMs: clock.now(), remark })
      throw new Failure('wrong-owner', remark)
    }
    const now = clock.now()
    const established: Connection = {
      kind: 'awaiting-installation',
      sinceMs: now,
      app,
      account: connection.account,
      host: deps.host(),
      enabledAtMs: now,
    }
    const { fingerprint, pem: kept } = deps.readKey(pem.reveal())
    const keys = [{ fingerprint, pem: kept, addedAtMs: now }]
    connectionState.transition(established, { keys, installations: [], newGeneration: true })
    deps.events.emit({ event: 'step', state: established.kind, detail: `App ${app.name} created, its key is stored` })
    void poll()
    return established
  }

  const resumeNow = async (): Promise<void> => {
    const { connection } = connectionState.read()
    if (connection.kind !== 'awaiting-app') return
    if (connection.conversion) {
      const { code, startedAtMs } = connection.conversion
      if (unstored?.code !== code && clock.now() - startedAtMs > LINK_MS) {
        return lose(connection, 'GitHub could not be reached while the code was good')
      }
      await convert(true)
    } else if (connection.expiresAtMs <= clock.now()) {
      const remark = `Nobody finished enabling for ${connection.account.login} within the hour.`
      connectionState.transition({ kind: 'disconnected', sinceMs: clock.now(), remark })
    }
  }

  /** Looks for an installation until there is one; the setup callback only makes it look sooner. */
  const poll = async (): Promise<void> => {
    // A timer may come when what it waits for is there.
    if (polling || connectionState.read().connection.kind !== 'awaiting-installation') return
    polling = true
    try {
      const found = await link.listInstallations()
      if (found.length > 0)
        await connectionState.exclusively(async () => settle(connectionState.read().connection, found))
    } catch (error) {
      log.debug('no installation found yet', { error })
    } finally {
      polling = false
    }
    const { connection } = connectionState.read()
    if (connection.kind !== 'awaiting-installation') return
    // Eager while somebody sits before the page, later at each refresh only.
    if (clock.now() - connection.sinceMs >= LINK_MS) return
    // One timer, however often somebody looks in between: the setup page is open to every local process.
    nextPoll?.cancel()
    nextPoll = clock.after(POLL_MS, () => void poll())
  }

  const settle = (connection: Connection, found: readonly Installation[]): void => {
    if (connection.kind !== 'awaiting-installation' || found.length === 0) return
    connectionState.transition({ ...connection, kind: 'connected', sinceMs: clock.now() }, { installations: found })
    void deps.onConnected().then(
      () => deps.events.emit({ event: 'step', state: 'connected', detail: 'first token minted' }),
      (error: unknown) => log.warn('the first token could not be minted', { error }),
    )
  }

  /** Takes up what was left: a conversion without an answer, an installation to be found, a link that ran out. */
  const resume = async (): Promise<void> => {
    if (connectionState.read().connection.kind === 'awaiting-installation') return poll()
    if (connectionState.read().connection.kind !== 'awaiting-app') return
    await connectionState.exclusively(resumeNow).catch((error: unknown) => log.debug('enable waits', { error }))
  }

  return {
    /** Throws `already-connected`, `enable-in-progress`, and `configuration` where pages and API are of two GitHubs. A pending enable is started over: its link dies. */
    async begin(account: Account): Promise<Enabling> {
      if (!isLive(connectionState.read().connection)) await assertOneGithub()
      return connectionState.exclusively(async () => beginNow(account))
    },
    /** The enable that the page behind the link is for. */
    findPending: (state: string): AwaitingApp | undefined => pending(state),
    /**
     * GitHub's redirect, or what an administrator pasted. `state` binds it to this enable; only admin.sock may leave it out.
     * Resolves when the key is on the disk. Throws `no-enable-pending`, `code-rejected`, `wrong-owner`, or what stands in the way to
     * GitHub: then it is asked again automatically.
     */
    async complete({ code, ...redirect }: Redirect): Promise<Connection> {
      // Anybody may come here: a caller without a pending state waits for nothing, and holds nothing up.
      pendingFor(redirect)
      return connectionState.exclusively(async () => {
        const connection = pendingFor(redirect)
        if (connection.conversion) return convert(true)
        connectionState.transition({ ...connection, conversion: { code, startedAtMs: clock.now() } })
        return convert(false)
      })
    },
    resume,
  }
}

/** Of a web address; names of one host count as one. */
const originOf = (url: string): string =>
  new URL(url).origin.replace(/:\/\/(?:127\.\d+\.\d+\.\d+|\[::1\])(?=:|$)/, '://localhost')
