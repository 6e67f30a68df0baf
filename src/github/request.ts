// The one door to GitHub's API: Octokit over the outbound door, its answers told apart from those of proxies, its refusals named.

import type { KeyObject } from 'node:crypto'
import type { App, Installation } from '../domain/connection.ts'
import type { Granted, Scope } from '../domain/scope.ts'
import type { Secret } from '../domain/secret.ts'

/** A private key of the App. `fingerprint` is as GitHub's settings page shows it: `SHA256:` and base64 of the DER public key's digest. */
export type AppKey = { readonly fingerprint: string; readonly privateKey: KeyObject }

/** As whom to call: `issuer` is App ID or client ID; the first key signs. */
export type AppIdentity = { readonly issuer: string; readonly keys: readonly AppKey[] }

export type ConvertedApp = { readonly app: App; readonly pem: Secret }

export type MintedToken = {
  readonly token: Secret
  readonly expiresAtMs: number
  readonly granted: Granted
  readonly repositorySelection: 'all' | 'selected'
}

export type Repository = { readonly id: number; readonly name: string }

export type Quota = { readonly limit: number; readonly remaining: number; readonly resetAtMs: number }

/** All methods throw a Failure of the catalogue, whose detail bears what GitHub said and its request id. */
export type GitHub = {
  /** `POST /app-manifests/{code}/conversions`, without credentials. Throws `code-rejected` where GitHub says 404 or 422. */
  convertManifest(code: string): Promise<ConvertedApp>
  getApp(as: AppIdentity): Promise<App>
  listInstallations(as: AppIdentity): Promise<readonly Installation[]>
  getInstallation(as: AppIdentity, id: number): Promise<Installation>
  /** Mints a new token each time: nothing is cached here. */
  mint(as: AppIdentity, scope: Scope): Promise<MintedToken>
  /** Resolves when GitHub refuses the token from now on, also where it did so before. */
  revoke(token: Secret): Promise<void>
  /** Whether GitHub accepts the token at this moment. */
  accepts(token: Secret): Promise<boolean>
  listRepositories(token: Secret): Promise<readonly Repository[]>
  /** Resolves when the App is not installed there (any more). */
  uninstall(as: AppIdentity, id: number): Promise<void>
  /** What GitHub last said of an installation's quota, if it did. */
  findQuota(installation: number): Quota | undefined
}
