// What the sandbox remembers: the nouns of GitHub's world, as plain records.

import type { KeyObject } from 'node:crypto'
import type { Permissions } from './permissions.ts'

export type AccountKind = 'Organization' | 'User' | 'Enterprise'

/** `login` is the slug where the account is an enterprise. */
export type Account = {
  kind: AccountKind
  id: number
  nodeId: string
  login: string
  /** The slug of the enterprise that an organization belongs to. */
  enterprise?: string
  createdAtMs: number
}

export type Repository = {
  id: number
  nodeId: string
  owner: Account
  name: string
  createdAtMs: number
  /** In the order of their numbers, which begin with 1. */
  issues: Issue[]
  /** `owner/name` as it was before: GitHub leads on from there. */
  formerNames: string[]
}

export type Issue = {
  id: number
  nodeId: string
  title: string
  body: string | null
  createdAtMs: number
  author: App
}

export type AppKey = { id: number; publicKey: KeyObject; fingerprint: string; createdAtMs: number }

export type App = {
  id: number
  nodeId: string
  slug: string
  name: string
  owner: Account
  description: string | null
  externalUrl: string
  setupUrl?: string
  setupOnUpdate: boolean
  public: boolean
  permissions: Permissions
  events: readonly string[]
  clientId: string
  clientSecret: string
  webhookSecret: string | null
  keys: AppKey[]
  createdAtMs: number
  updatedAtMs: number
}

export type Installation = {
  id: number
  app: App
  account: Account
  /** `undefined` is "all repositories", present and future. */
  repositoryIds?: ReadonlySet<number>
  permissions: Permissions
  createdAtMs: number
  updatedAtMs: number
  suspendedAtMs?: number
}

export type Token = {
  token: string
  /** SHA-256 in base64, as GitHub's audit log has it. */
  hashed: string
  format: 'classic' | 'stateless'
  installation: Installation
  permissions: Permissions
  /** `undefined` follows the installation. */
  repositoryIds?: ReadonlySet<number>
  createdAtMs: number
  expiresAtMs: number
  /** Replication lag: until then the token is answered with `lagStatus`. */
  visibleAtMs: number
  lagStatus: 401 | 403
  revoked: boolean
}

/** What a conversion hands out, once. The private key lives here and nowhere else. */
export type ManifestCode = { code: string; app: App; pem: string; expiresAtMs: number }

/** What somebody wants to register: a manifest, a pre-filled form, or a control call. */
export type AppDraft = {
  owner: Account
  name: string
  url: string
  description?: string | null
  setupUrl?: string
  setupOnUpdate?: boolean
  public?: boolean
  permissions: Permissions
  events?: readonly string[]
}
