// The second way in: recovery keys to which the database keys are wrapped, and the key that signs this machine's bundles.

import { RECIPIENTS } from '../store/records.ts'
import { createHash } from 'node:crypto'
import { Failure } from '../../protocol/errors.ts'
import { Secret } from '../../protocol/secret.ts'
import type { Log } from '../../service/log.ts'
import type { Signer } from './signing.ts'
import type { AuditStore } from '../audit/audit-store.ts'
import type { Store } from '../store/database.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

export type Recovery = ReturnType<typeof createRecovery>

/** What `key.age` holds: both database keys in hexadecimal, so that neither store nor audit log is lost with the store key. */
export type RecoveryWrap = { readonly store: string; readonly audit: string }

const WRAPPED = 'recovery.wrapped'
export const SIGNER = 'snapshot.signer'

/** Of the configuration, then those that were made here. */
export const recipientsOf = (configured: readonly string[], findFact: (name: string) => unknown): string[] => {
  const found = findFact(RECIPIENTS)
  const created = Array.isArray(found) ? found.filter(text => typeof text === 'string') : []
  return [...new Set([...configured, ...created])]
}

const digestOf = (wrap: RecoveryWrap): string =>
  createHash('sha256').update(`${wrap.store} ${wrap.audit}`).digest('hex')

export const createRecovery = (deps: {
  store: Store
  auditStore: AuditStore
  audit: AuditWriter
  log: Log
  /** [snapshot] recipients */
  configured: () => readonly string[]
  assertRecipient: (text: string) => Promise<void>
  encryptTo: (recipients: readonly string[], bytes: Uint8Array) => Promise<Uint8Array>
  createSigner: () => Signer
  readSigner: (privatePem: Secret) => Signer
}) => {
  const { store, auditStore, audit } = deps
  let signer: Signer | undefined

  const created = (): readonly string[] => recipientsOf([], store.facts.find)
  const recipients = (): readonly string[] => recipientsOf(deps.configured(), store.facts.find)

  let last: Promise<unknown> = Promise.resolve()

  const wrapNow = async (): Promise<void> => {
    const number = store.number()
    const wrap: RecoveryWrap = { store: store.databaseKey(), audit: auditStore.databaseKey() }
    const wanted = { keys: digestOf(wrap), recipients: recipients() }
    if (wanted.recipients.length === 0) return
    if (store.hasRecoveryWrap() && JSON.stringify(store.facts.find(WRAPPED)) === JSON.stringify(wanted)) return
    const bytes = await deps.encryptTo(wanted.recipients, Buffer.from(`${JSON.stringify(wrap)}\n`))
    // A new store may have come meanwhile: its key is another one, and its own wrap is under way.
    if (store.number() !== number) return
    store.putRecoveryWrap(bytes)
    store.facts.put(WRAPPED, wanted)
  }

  /** One after the other, so that whoever waits for his own has waited for those before it, too. */
  const ensureWrap = (): Promise<void> => {
    const run = last.then(wrapNow, wrapNow)
    last = run.catch(() => undefined)
    return run
  }

  const readOrMakeSigner = (): Signer => {
    const found = store.facts.find(SIGNER)
    if (typeof found === 'string') return deps.readSigner(new Secret(found))
    const made = deps.createSigner()
    try {
      store.facts.put(SIGNER, made.privatePem.reveal())
    } catch (error) {
      deps.log.warn('the signing key could not be stored; another one is made at the next start', { error })
    }
    return made
  }

  return {
    /** To whom snapshots and database keys are encrypted: those of the configuration and those that were made here. */
    recipients,
    /** Those that were made by command, on any node of the cluster. */
    created,
    setCreated: (list: readonly string[]): void => store.facts.put(RECIPIENTS, list),
    /** Writes the wrap where it is absent, or for other recipients. Called at start and after each new store. */
    ensureWrap,
    /** Takes the public half of a recovery key; the other one never reaches this daemon. */
    async add(recipient: string): Promise<void> {
      await deps.assertRecipient(recipient)
      if (recipients().includes(recipient)) throw new Failure('invalid-request', 'this recovery key is known already')
      // One too many, or one that cannot be encrypted to, would take each later snapshot with it.
      await deps.encryptTo([...recipients(), recipient], Buffer.alloc(0))
      audit.record({ event: 'recovery-key.add', detail: recipient })
      store.facts.put(RECIPIENTS, [...new Set([...created(), recipient])])
      await ensureWrap()
    },
    /** Facts by which the recipients that a restored bundle brings along are known, too: for the store that holds what was restored. */
    factsWith(more: readonly string[]): Readonly<Record<string, unknown>> {
      const known = new Set(deps.configured())
      const all = [...new Set([...created(), ...more.filter(recipient => !known.has(recipient))])]
      return all.length === 0 ? {} : { [RECIPIENTS]: all }
    },
    signer: (): Signer => (signer ??= readOrMakeSigner()),
  }
}
