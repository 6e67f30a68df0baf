// The settings that a configuration gives, and what is found wrong with one.

import type { FeatureName } from '../protocol/features.ts'
import type { Policy } from '../protocol/profile.ts'
import type { Permissions } from '../protocol/scope.ts'
import type { ClusterConfig } from './cluster-config.ts'
import type { Finder, Finding } from './config-findings.ts'
import type { ProxyAddress } from './proxy.ts'

export type SinkFormat = 'token' | 'env' | 'json' | 'netrc'
export type Sink = {
  readonly name: string
  readonly profile: string
  readonly path: string
  readonly mode: number
  readonly format: SinkFormat
}

/** A port, or the path of a unix socket. */
export type WebAddress = { readonly host: string; readonly port: number } | { readonly path: string }

export type Config = {
  readonly file: string
  readonly appliance: { readonly hostname: string; readonly url: string }
  readonly github: {
    readonly url: string
    readonly apiUrl: string
    readonly apiVersion: string
    readonly statelessTokens: 'default' | 'enabled' | 'disabled'
  }
  readonly app: { readonly name: string; readonly permissions: Permissions }
  readonly paths: { readonly state: string; readonly runtime: string }
  readonly store: { readonly keyFile: string | undefined }
  readonly proxy: {
    readonly url: ProxyAddress | undefined
    readonly exclude: readonly string[]
    readonly caFile: string | undefined
    readonly passwordFile: string | undefined
  }
  readonly refresh: { readonly schedule: string; readonly beforeExpiryMs: number; readonly settleMs: number }
  readonly snapshot: {
    readonly recipients: readonly string[]
    readonly trusted: readonly string[]
    readonly includeToken: boolean
  }
  readonly web: {
    readonly listen: WebAddress
    /** Where the administrator's browser reaches the page: an origin, without a slash at the end. */
    readonly publicUrl: string
    /** The web server before a unix socket: what it says of its visitors is believed. */
    readonly frontUid: number | undefined
  }
  readonly audit: { readonly maxBytes: number }
  readonly policy: Policy & { readonly weakPid: boolean }
  /** What is switched on, each with the file that says so; its profile is in the policy. */
  readonly features: readonly { readonly name: FeatureName; readonly file: string }[]
  readonly sinks: readonly Sink[]
  readonly cluster: ClusterConfig
}

/** What the file cannot say itself: the machine's name and its users, asked of the system. */
export type Surroundings = {
  readonly hostname: string
  findUser(name: string): number | undefined
  findGroup(name: string): number | undefined
}

export type Examined = {
  /** What could be read of it: to be used only where there is no error among the findings. */
  readonly config: Config | undefined
  /** Sorted by line. */
  readonly findings: readonly Finding[]
  /** A further finding about a key of the file, with its line. */
  readonly find: Finder
}
