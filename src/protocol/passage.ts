// A passage: how far one request came on its way out, step by step, and where it ended. What the doctor judges.

import type { Failure } from './errors.ts'

/** Where a passage may end: at the look-up of a name, at the proxy, in TLS, or at the host behind. */
export type Stage = 'dns' | 'proxy' | 'tls' | 'host'

/** Who vouches for a host: a public authority, one that `[proxy] ca_file` names, or another that this system trusts. */
export type Root = {
  readonly name: string
  readonly kind: 'public' | 'configured' | 'system'
  readonly validToMs: number
}

export type PassageAnswer = {
  readonly status: number
  /** Absent in what did not come from GitHub. */
  readonly requestId?: string
  readonly date?: string
  readonly contentType?: string
  /** By this machine's wall clock. */
  readonly sentAtMs: number
  readonly receivedAtMs: number
  /** False where it claims to be JSON, and is none. */
  readonly isWhole: boolean
}

export type Passage = {
  /** Host and port of the target; the port only where it is not the scheme's. */
  readonly host: string
  readonly isTls: boolean
  /** Without its password; undefined: direct. */
  readonly proxy: string | undefined
  /** The name that this machine looks up: the proxy's, or the target's. Undefined where that is an address. */
  readonly name?: string
  readonly lookUp?: { readonly addresses: readonly string[]; readonly tookMs: number }
  /** TCP to the target, or to the proxy and through it. */
  readonly connect?: { readonly from?: string; readonly tookMs: number }
  readonly tls?: { readonly issuer: string; readonly root?: Root; readonly tookMs: number }
  readonly answer?: PassageAnswer
  readonly failure?: { readonly stage: Stage; readonly failure: Failure }
  readonly tookMs: number
}
