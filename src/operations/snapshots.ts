// Snapshots: the credentials out into a bundle, and back in one swap once everything is proven.

import { createHash } from 'node:crypto'
import { type Connection, type Host, isLive, isOtherHost } from '../domain/connection.ts'
import { Failure } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { BundleOptions } from '../snapshot/bundle.ts'
import type { BundleContent } from '../snapshot/content.ts'
import type { BundleHeader } from '../snapshot/header.ts'
import type { ConnectionRecord } from '../store/connection-store.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { Journey } from './journey.ts'
import type { Recovery } from './recovery.ts'
import type { Tokens } from './tokens.ts'
import type { Trail } from './trail.ts'

export type RestoreWish = {
  /** What may open the payload; none at hand: a sealed bundle waits for `unlock`. */
  readonly identities: readonly Secret[]
  /** Take a bundle of an unknown signer over a live connection. */
  readonly force: boolean
}

export type Restored = {
  readonly outcome: 'restored' | 'unchanged' | 'awaiting-unlock'
  readonly header: BundleHeader
  /** Sentences for whoever reads the backup's log. */
  readonly warnings: readonly string[]
}

export type Snapshots = {
  export(): Promise<Uint8Array>
  /** Throws `bundle-corrupt`, `bundle-newer`, `bundle-wrong-identity`, `bundle-untrusted`; then nothing was changed. */
  restore(bundle: Uint8Array, wish: RestoreWish): Promise<Restored>
  /** Completes the restore that waits for an identity. Throws `invalid-request` where none waits. */
  unlock(identities: readonly Secret[]): Promise<Restored>
  /** The header of the bundle that waits, if one does. */
  findWaiting(): BundleHeader | undefined
  /** This machine takes the place of the one that the credentials were enabled on. */
  adopt(): Promise<void>
}

/** The functions of the bundle, which is an adapter. */
export type BundleTools = {
  writeBundle(content: BundleContent, options: BundleOptions): Promise<Uint8Array>
  readHeader(bundle: Uint8Array): BundleHeader
  openBundle(bundle: Uint8Array, identities: readonly Secret[]): Promise<BundleContent>
  recipientOf(identity: Secret): Promise<string>
}

type Opened = {
  readonly header: BundleHeader
  readonly content: BundleContent
  /** Of the recovery keys that may be taken over. */
  readonly recipients: readonly string[]
}

/** Where a sealed bundle is kept until its identity comes. */
export type WaitingBundle = { find(): Uint8Array | undefined; put(bundle: Uint8Array): void; remove(): void }

const RESTORED = 'connection.restored'

export const createSnapshots = (deps: {
  store: Store
  journey: Journey
  tokens: Tokens
  trail: Trail
  recovery: Recovery
  clock: Clock
  log: Log
  tools: BundleTools
  waiting: WaitingBundle
  host: () => Host
  settings: () => SnapshotSettings
  /** The key is proven and a token minted at once where GitHub can be reached; told to whoever waits by the state. */
  onRestored: () => void
}): Snapshots => {
  const { store, journey, tokens, trail, recovery, clock, tools, waiting } = deps

  const isTrusted = ({ signer }: BundleHeader): boolean =>
    signer === recovery.signer().publicKey || deps.settings().trusted.includes(signer)

  const assertTrusted = (header: BundleHeader, { force }: RestoreWish): string[] => {
    const { connection } = journey.read()
    if (isTrusted(header)) return []
    const what = `written by ${header.signer} for App ${header.app_id ?? 'none'} of ${header.account?.login ?? 'no account'}`
    if (isLive(connection) && !force) throw new Failure('bundle-untrusted', `the bundle was ${what}`)
    return [`The bundle was ${what}; this signer is not known here.`]
  }

  const isSame = (header: BundleHeader): boolean => {
    const mark = store.facts.find(RESTORED)
    return JSON.stringify(mark) === JSON.stringify(markOf(header, journey.read().generation))
  }

  const take = async ({ header, content, recipients }: Opened): Promise<string[]> => {
    const { generation } = journey.read()
    const { connection, warnings } = arrive(content.connection, { host: deps.host(), nowMs: clock.now() })
    tokens.drop()
    journey.shred(connection, { installations: content.installations, keys: content.keys, above: content.generation })
    if (connection.kind !== 'quarantined') tokens.take(content.tokens)
    recovery.adopt(recipients)
    store.facts.put(RESTORED, markOf(header, journey.read().generation))
    waiting.remove()
    await recovery.ensureWrap()
    trail.record({
      event: 'snapshot.restore',
      detail: `${header.state} of ${header.created}, generation ${header.generation}, ${header.signer}`,
    })
    if (content.generation < generation) {
      warnings.push(`The bundle is of generation ${content.generation}, older than ${generation} which stood here.`)
    }
    deps.onRestored()
    return warnings
  }

  const restore = async (bundle: Uint8Array, wish: RestoreWish): Promise<Restored> => {
    const header = tools.readHeader(bundle)
    const warnings = assertTrusted(header, wish)
    if (isSame(header)) return { outcome: 'unchanged', header, warnings }
    if (header.payload.name === 'payload.age' && wish.identities.length === 0) {
      waiting.put(bundle)
      trail.record({ event: 'snapshot.wait', detail: `${header.created}, ${header.signer}` })
      return {
        outcome: 'awaiting-unlock',
        header,
        warnings: [...warnings, 'The bundle is sealed; complete the restore with `ghconnect unlock --identity FILE`.'],
      }
    }
    const content = await tools.openBundle(bundle, wish.identities)
    // A stranger's bundle brings no recovery keys along but those whose identity is here: whoever has one reads each later snapshot.
    const recipients = isTrusted(header) ? header.recipients : await Promise.all(wish.identities.map(tools.recipientOf))
    return { outcome: 'restored', header, warnings: [...warnings, ...(await take({ header, content, recipients }))] }
  }

  return {
    async export() {
      const content = contentOf({ record: journey.read(), tokens: store.tokens.all() }, deps.settings())
      const bundle = await tools.writeBundle(content, {
        recipients: recovery.recipients(),
        signer: recovery.signer(),
        createdMs: clock.now(),
        hostname: deps.host().hostname,
      })
      trail.record({ event: 'snapshot.export', detail: `${content.connection.kind}, generation ${content.generation}` })
      return bundle
    },
    restore: (bundle, wish) => journey.alone(() => restore(bundle, wish)),
    unlock: identities =>
      journey.alone(async () => {
        const bundle = waiting.find()
        if (!bundle) throw new Failure('invalid-request', 'no sealed bundle waits for an identity')
        return restore(bundle, { identities, force: true })
      }),
    findWaiting() {
      const bundle = waiting.find()
      return bundle && tools.readHeader(bundle)
    },
    adopt: () =>
      journey.alone(async () => {
        const { connection } = journey.read()
        if (!isLive(connection)) throw new Failure('not-connected', 'there are no credentials to adopt')
        const { app, account, enabledAtMs } = connection
        const adopted: Connection = {
          kind: 'connected',
          sinceMs: clock.now(),
          app,
          account,
          enabledAtMs,
          host: deps.host(),
        }
        const kept = connection.kind === 'quarantined' ? adopted : { ...connection, host: deps.host() }
        journey.to(kept, { newGeneration: true })
        trail.record({ event: 'connection.adopt', detail: `from ${connection.host.hostname}` })
        deps.onRestored()
      }),
  }
}

export type SnapshotSettings = {
  readonly trusted: readonly string[]
  readonly includeToken: boolean
  readonly githubUrl: string
  readonly apiUrl: string
}

/** What a bundle holds of a store's content; for the export of a daemon and for the one without. */
export const contentOf = (
  from: { record: ConnectionRecord; tokens: readonly StoredToken[] },
  settings: SnapshotSettings,
): BundleContent => ({
  generation: from.record.generation,
  connection: from.record.connection,
  installations: from.record.installations,
  facts: {},
  keys: from.record.keys,
  tokens: settings.includeToken ? from.tokens : [],
  settings: { github_url: settings.githubUrl, api_url: settings.apiUrl },
})

const markOf = (header: BundleHeader, generation: number) => ({
  header: createHash('sha256').update(JSON.stringify(header)).digest('hex'),
  generation,
})

/** The state in which a restored connection begins here: a clone of a machine that goes on elsewhere must not disturb it. */
const arrive = (
  was: Connection,
  here: { host: Host; nowMs: number },
): { connection: Connection; warnings: string[] } => {
  if (was.kind === 'awaiting-app') {
    const remark = `Enabling for ${was.account.login} was under way when the snapshot was taken; it has to be started anew.`
    return { connection: { kind: 'disconnected', sinceMs: here.nowMs, remark }, warnings: [remark] }
  }
  if (!isLive(was)) return { connection: was, warnings: [] }
  const { app, account, host, enabledAtMs } = was
  const established = { sinceMs: here.nowMs, app, account, host, enabledAtMs }
  if (isOtherHost(host, here.host)) {
    const evidence = `enabled on ${host.hostname}, restored on ${here.host.hostname}`
    const warning = `These credentials were ${evidence}: they are quarantined until \`ghconnect adopt\`, or \`ghconnect disable --local\`.`
    return { connection: { kind: 'quarantined', evidence, ...established }, warnings: [warning] }
  }
  const moved = host.hostname !== here.host.hostname || host.machineId !== here.host.machineId
  const warnings = moved
    ? [
        `The credentials were enabled on ${host.hostname}; they go on here, on a machine that has one mark in common with it.`,
      ]
    : []
  return { connection: was.kind === 'quarantined' ? { kind: 'connected', ...established } : was, warnings }
}
