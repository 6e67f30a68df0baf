// Snapshots: the credentials out into a bundle, and back in one swap once everything is proven.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Connection, type Host, isLive } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { assertSameGithub, type GithubAddresses } from '../../protocol/github-addresses.ts'
import { ADMIN_PROFILE } from '../../protocol/profile.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { Config } from '../../service/config.ts'
import { type ConfigText, configTextsForBundle } from '../../service/config-texts.ts'
import { syncFolder, writeDurably } from '../../service/files.ts'
import type { Log } from '../../service/log.ts'
import type { BundleHeader, BundleOptions } from './bundle.ts'
import { type BundleContent, readKeys } from './content.ts'
import { type ConnectionRecord, LAST_EXPORT, type LastExport, type StoredToken } from '../store/records.ts'
import type { Store } from '../store/database.ts'
import { arrive, type ConnectionState } from '../connection/connection-state.ts'
import type { Recovery } from './recovery.ts'
import type { Tokens } from '../tokens/tokens.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

export type ExportOptions = {
  /** Put the configuration's text into the settings of the bundle. */
  readonly withConfig: boolean
}

export type RestoreOptions = {
  /** What may open the payload; none at hand: a sealed bundle waits for `unlock`. */
  readonly identities: readonly Secret[]
  /** Take a bundle of an unknown signer over a live connection, or of another GitHub than the configured one. */
  readonly force: boolean
}

export type Restored = {
  readonly outcome: 'restored' | 'unchanged' | 'awaiting-unlock'
  readonly header: BundleHeader
  /** Sentences for whoever reads the backup's log. */
  readonly warnings: readonly string[]
  /** Of the bundle, where it was opened and has it. */
  readonly configuration?: readonly ConfigText[]
}

export type Snapshots = ReturnType<typeof createSnapshots>

/** The functions of the bundle, which is an adapter. */
export type BundleTools = {
  writeBundle(content: BundleContent, options: BundleOptions): Promise<Uint8Array>
  readHeader(bundle: Uint8Array): BundleHeader
  openBundle(bundle: Uint8Array, identities: readonly Secret[]): Promise<BundleContent>
  recipientOf(identity: Secret): Promise<string>
  /** A key, with the fingerprint that its own numbers give. Throws `invalid-key`. */
  readKey(pem: string): { readonly fingerprint: string }
}

type Opened = {
  readonly header: BundleHeader
  readonly content: BundleContent
  /** Of the recovery keys that may be taken over. */
  readonly recipients: readonly string[]
}

const RESTORED = 'connection.restored'
const UNPROVEN = 'connection.unproven'
const FORCED = 'snapshot.forced'

export const createSnapshots = (deps: {
  store: Store
  connectionState: ConnectionState
  tokens: Tokens
  audit: AuditWriter
  recovery: Recovery
  clock: Clock
  log: Log
  tools: BundleTools
  waiting: WaitingBundle
  host: () => Host
  isHome?: (host: Host) => boolean
  settings: () => SnapshotSettings
  /** Throws where no status can be told of this record. */
  assertTellable: (record: ConnectionRecord) => void
  /** The key is proven and a token minted at once where GitHub can be reached; told to whoever waits by the state. */
  onRestored: () => void
}) => {
  const { store, connectionState, tokens, audit, recovery, clock, log, tools } = deps
  const waiting = readingOnce({ place: deps.waiting, readHeader: tools.readHeader, log })

  const isTrusted = ({ signer }: BundleHeader): boolean =>
    signer === recovery.signer().publicKey || deps.settings().trusted.includes(signer)

  const assertTrusted = (header: BundleHeader, { force }: RestoreOptions): string[] => {
    const { connection } = connectionState.read()
    if (isTrusted(header)) return []
    const what = `written by ${header.signer} for App ${header.app_id ?? 'none'} of ${header.account?.login ?? 'no account'}`
    // A quarantined copy serves nobody: another may take its place.
    if (isLive(connection) && connection.kind !== 'quarantined' && !force)
      throw new Failure('bundle-untrusted', `the bundle was ${what}`)
    return [`The bundle was ${what}; this signer is not known here.`]
  }

  /** Before the swap: what cannot be shown would make a daemon that cannot be asked. */
  const assertTellable = (record: ConnectionRecord): void => {
    try {
      deps.assertTellable(record)
    } catch (error) {
      throw new Failure('bundle-corrupt', 'the connection in the bundle cannot be described', { cause: error })
    }
  }

  const isSame = (header: BundleHeader): boolean => {
    const mark = store.facts.find(RESTORED)
    return JSON.stringify(mark) === JSON.stringify(markOf(header, connectionState.read().generation))
  }

  /** Everything that lasts is in the one swap of the store; what comes after it can be made up for at the next start. */
  const take = async ({ header, content, recipients }: Opened): Promise<string[]> => {
    readKeys(content.keys, tools.readKey)
    const { generation } = connectionState.read()
    const { connection, warnings } = arrive(content.connection, {
      host: deps.host(),
      nowMs: clock.now(),
      ...(deps.isHome && { isHome: deps.isHome }),
    })
    assertTellable({ ...content, connection })
    const number = store.number()
    audit.record({
      event: 'snapshot.restore',
      detail: `${header.state} of ${header.created}, generation ${header.generation}, ${header.signer}`,
    })
    try {
      connectionState.shred(connection, {
        installations: content.installations,
        keys: content.keys,
        above: content.generation,
        facts: {
          ...recovery.factsWith(recipients),
          [RESTORED]: markOf(header, Math.max(generation, content.generation) + 1),
          [UNPROVEN]: isLive(connection),
        },
      })
    } catch (error) {
      if (store.number() === number) throw error
      log.error('the credentials were restored, and that is not in the audit log', { error: asFailure(error) })
    }
    tokens.drop()
    if (connection.kind !== 'quarantined') tokens.take(content.tokens)
    waiting.remove()
    await recovery.ensureWrap().catch((error: unknown) => {
      log.error('the recovery wrap was not written', { error: asFailure(error) })
    })
    deps.onRestored()
    if (content.generation >= generation) return [...warnings]
    return [
      ...warnings,
      `The bundle is of generation ${content.generation}, older than ${generation} which stood here.`,
    ]
  }

  const restore = async (bundle: Uint8Array, options: RestoreOptions): Promise<Restored> => {
    const header = tools.readHeader(bundle)
    if (isSame(header)) {
      // A restore that was killed after its swap leaves it.
      if (waiting.find() && digestOf(waiting.find()?.header) === digestOf(header)) waiting.remove()
      return { outcome: 'unchanged', header, warnings: [] }
    }
    const warnings = assertTrusted(header, options)
    if (header.payload.name === 'payload.age' && options.identities.length === 0) {
      audit.record({ event: 'snapshot.wait', detail: `${header.created}, ${header.signer}` })
      store.facts.put(FORCED, options.force ? digestOf(header) : null)
      waiting.put(bundle)
      return {
        outcome: 'awaiting-unlock',
        header,
        warnings: [...warnings, 'The bundle is sealed; complete the restore with `ghconnect unlock --identity FILE`.'],
      }
    }
    const content = await tools.openBundle(bundle, options.identities)
    warnings.push(...assertSameGithub(content, deps.settings().github, options))
    // A stranger's bundle brings no recovery keys along but those whose identity is here: whoever has one reads each later snapshot.
    const recipients = isTrusted(header)
      ? header.recipients
      : await Promise.all(options.identities.map(tools.recipientOf))
    warnings.push(...(await take({ header, content, recipients })))
    const { configuration } = content.settings
    return { outcome: 'restored', header, warnings, ...(configuration && { configuration }) }
  }

  /** For the doctor, who tells how old the last one is. */
  const noteExport = (generation: number): void => {
    const fact: LastExport = { atMs: clock.now(), generation }
    try {
      store.facts.put(LAST_EXPORT, fact)
    } catch (error) {
      log.warn('when the last export was could not be noted', { error: asFailure(error) })
    }
  }

  /** The sealed bundle that waits, where there is nothing else. */
  const findSole = (): ReturnType<typeof waiting.find> => {
    const waits = waiting.find()
    return waits && connectionState.read().connection.kind === 'disconnected' ? waits : undefined
  }

  return {
    /** The bundle, in memory that is the caller's to give back. Throws `configuration` where its text holds a secret. */
    async export(options: ExportOptions = { withConfig: false }): Promise<Uint8Array> {
      const waits = findSole()
      if (waits) {
        // All that there is: anything else would, in time, push it out of the backups.
        audit.record({ event: 'snapshot.export', detail: 'the sealed bundle that waits, as it is' })
        return Buffer.from(waits.bundle)
      }
      const content = contentOf({ record: connectionState.read(), tokens: tokens.inUse() }, deps.settings(), options)
      const bundle = await tools.writeBundle(content, {
        recipients: recovery.recipients(),
        signer: recovery.signer(),
        createdMs: clock.now(),
        hostname: deps.host().hostname,
      })
      audit.record({
        event: 'snapshot.export',
        detail: `${content.connection.kind}, generation ${content.generation}${options.withConfig ? ', with the configuration' : ''}`,
      })
      noteExport(content.generation)
      return bundle
    },
    /** Throws `bundle-corrupt`, `bundle-newer`, `bundle-wrong-identity`, `bundle-untrusted`, `bundle-other-github`; then nothing was changed. */
    restore: (bundle: Uint8Array, options: RestoreOptions): Promise<Restored> =>
      connectionState.exclusively(() => restore(bundle, options)),
    /**
     * Completes the restore that waits for an identity. Throws `invalid-request` where none waits, `bundle-untrusted` where a connection
     * came to life since, and `bundle-other-github` where the configuration names another GitHub, unless that restore was forced.
     */
    unlock: (identities: readonly Secret[]): Promise<Restored> =>
      connectionState.exclusively(async () => {
        const waits = waiting.find()
        if (!waits)
          throw new Failure(
            'nothing-locked',
            'the store key opens the store, and no sealed bundle waits for a recovery key',
          )
        return restore(waits.bundle, { identities, force: store.facts.find(FORCED) === digestOf(waits.header) })
      }),
    /** Whether an export is the sealed bundle that waits, since there is nothing else. */
    exportsWaiting: () => findSole() !== undefined,
    /** The header of the bundle that waits, if one does. */
    findWaiting: (): BundleHeader | undefined => waiting.find()?.header,
    /** Forgets the bundle that waits. */
    dropWaiting(): void {
      if (deps.waiting.find()) waiting.remove()
    },
    /** This machine takes the place of the one that the credentials were enabled on. */
    adopt: (): Promise<void> =>
      connectionState.exclusively(async () => {
        const { connection } = connectionState.read()
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
        audit.record({ event: 'connection.adopt', detail: `from ${connection.host.hostname}` })
        // Before the state: a proof that is owed to a connection that does not serve yet is asked for when it does.
        store.facts.put(UNPROVEN, true)
        connectionState.transition(kept, { newGeneration: true })
        deps.onRestored()
      }),
    /** After a restore or an adoption, once: mints anew on each installation, so that key and way are proven. Throws what stands in the way. */
    async prove(): Promise<void> {
      const { connection, installations } = connectionState.read()
      if (store.facts.find(UNPROVEN) !== true || connection.kind !== 'connected') return
      for (const { id, suspendedAtMs } of installations) {
        if (suspendedAtMs !== undefined) continue
        await tokens.renew({ profile: ADMIN_PROFILE, scope: { installation: id, permissions: { metadata: 'read' } } })
      }
      store.facts.put(UNPROVEN, false)
      log.info('GitHub takes the restored key; fresh tokens were minted', { installations: installations.length })
    },
  }
}

/** Where the sealed bundle that waits for its identity is kept, whole, beside the store. */
export type WaitingBundle = { find(): Uint8Array | undefined; put(bundle: Uint8Array): void; remove(): void }

export const waitingBundleAt = (state: string): WaitingBundle => {
  const path = join(state, 'waiting.bundle')
  return {
    find: () => (existsSync(path) ? readFileSync(path) : undefined),
    put: bundle => writeDurably(path, bundle, 0o600),
    remove() {
      rmSync(path, { force: true })
      syncFolder(state)
    },
  }
}

/** Read once: status asks at each turn. One that is damaged is none, or it would take every answer with it. */
const readingOnce = (deps: { place: WaitingBundle; readHeader: (bundle: Uint8Array) => BundleHeader; log: Log }) => {
  type Found = { readonly bundle: Uint8Array; readonly header: BundleHeader } | undefined
  let known: { readonly found: Found } | undefined

  const look = (): Found => {
    const bundle = deps.place.find()
    if (!bundle) return undefined
    try {
      return { bundle, header: deps.readHeader(bundle) }
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      deps.log.error('the sealed bundle that waited is damaged; restore it again', { error })
      return undefined
    }
  }

  return {
    find: (): Found => (known ??= { found: look() }).found,
    put(bundle: Uint8Array): void {
      deps.place.put(bundle)
      known = undefined
    },
    remove(): void {
      deps.place.remove()
      known = { found: undefined }
    },
  }
}

export type SnapshotSettings = {
  readonly trusted: readonly string[]
  readonly includeToken: boolean
  readonly github: GithubAddresses
  configuration(): readonly ConfigText[]
}

export const snapshotSettings = ({ file, snapshot, github }: Config): SnapshotSettings => ({
  trusted: snapshot.trusted,
  includeToken: snapshot.includeToken,
  github,
  configuration: () => configTextsForBundle(file),
})

/** What a bundle holds of a store's content; for the export of a daemon and for the one without. */
export const contentOf = (
  from: { record: ConnectionRecord; tokens: readonly StoredToken[] },
  settings: SnapshotSettings,
  { withConfig }: ExportOptions,
): BundleContent => ({
  generation: from.record.generation,
  connection: from.record.connection,
  installations: from.record.installations,
  facts: {},
  keys: from.record.keys,
  tokens: settings.includeToken ? from.tokens : [],
  settings: {
    github_url: settings.github.url,
    api_url: settings.github.apiUrl,
    ...(withConfig && { configuration: [...settings.configuration()] }),
  },
})

const markOf = (header: BundleHeader, generation: number) => ({ header: digestOf(header), generation })

const digestOf = (header: BundleHeader | undefined): string =>
  createHash('sha256').update(JSON.stringify(header)).digest('hex')
