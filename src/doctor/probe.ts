// What the doctor asks, of a daemon as it runs or of a process without one: the machine, the hosts on the way out, GitHub as the App.

import type { Outbound } from '../core/outbound/outbound.ts'
import type { App, Installation } from '../protocol/connection.ts'
import type { Passage } from '../protocol/passage.ts'
import type { Profile } from '../protocol/profile.ts'
import type { ClusterStatus } from '../protocol/wire.ts'
import type { Clock } from '../service/clock.ts'
import type { Asked } from '../service/limits.ts'

export type Probe = {
  readonly clock: Pick<Clock, 'now' | 'monotonic' | 'sleep'>
  readonly userAgent: string
  readonly examine: Outbound['examine']
  /** GitHub's, as the configuration has them. */
  addresses(): { readonly url: string; readonly apiUrl: string }
  profiles(): readonly Profile[]
  standing(): { readonly state: string; readonly meaning: string; readonly next: string }
  configuration(): {
    readonly file: string
    /** Why the file on the disk was refused, where the previous settings still apply. */
    readonly refused?: string | undefined
    readonly doubts: readonly { readonly said: string; readonly next: string }[]
  }
  /** Reads the store's pages, and tries its key as the next start would. Gives the evidence, and throws what is wrong. */
  examineStore(): string
  /** Undefined while the store is closed. */
  findStore(): StoreFacts | undefined
  /** Why no call may leave this machine, where none may. */
  whyNotCalling(): string | undefined
  /** Or why nothing can be asked as the App. */
  app(): AppProbe | string
  /** Or why there is nothing to ask. */
  cluster(): Promise<ClusterStatus | string>
}

export type StoreFacts = {
  readonly generation: number
  /** Whether there is an App whose loss would matter. */
  readonly isLive: boolean
  readonly recipients: readonly string[]
  /** The database key stands beside the store, encrypted to the recovery keys. */
  readonly isWrapped: boolean
  /** Another node of the cluster leads, and may well be the one that is backed up. */
  readonly isFollower: boolean
  /** What the fact `last-export` holds. */
  readonly lastExport: unknown
}

export type AppProbe = {
  /** No installation of the App is known yet. */
  isAwaited(): boolean
  /** By GitHub's clock, as well as it is known. */
  githubNowMs(): number
  /** Until when, by the wall clock, GitHub wants no calls, as a rate limit said: not the doctor's either. */
  findRest(): number | undefined
  /** Each key on its own. */
  proveKeys(): { readonly fingerprint: string; readonly proof: Promise<App> }[]
  listInstallations(): Promise<readonly Installation[]>
  /** Throws what a token of the installation meets. */
  look(of: Concerned): Promise<Look>
}

/** An installation with the profiles that name it. */
export type Concerned = { readonly installation: Installation; readonly profiles: readonly Profile[] }

export type KeyProof = { readonly fingerprint: string; readonly asked: Asked<App> }

/** What a token of the installation showed. `quota`: where GitHub's headers said so. */
export type Look = {
  readonly total: number
  /** Named by profiles, and unknown to GitHub. */
  readonly missing: readonly string[]
  /** Named by profiles beyond what was looked up. */
  readonly unasked: number
  readonly quota?: { readonly limit: number; readonly remaining: number; readonly resetAtMs: number }
}

/** How far a request to a host came. */
export type Trip = { readonly to: HostToAllow; readonly passage: Passage }

export type HostToAllow = {
  /** As a URL has it: the port only where it is not the scheme's. */
  readonly host: string
  /** What is asked of it: short, without credentials, and no charge on a rate limit. */
  readonly url: string
  readonly method: 'GET' | 'HEAD'
  /** `daemon`: without it there are no tokens. `others`: browsers and jobs go there. */
  readonly neededBy: 'daemon' | 'others'
  readonly what: string
}

/**
 * The hosts that proxy and firewall must let pass, the API first. GitHub.com has `uploads.` beside `api.`, as has each subdomain of
 * ghe.com; a server with its API below `/api/v3` is one host.
 */
export const hostsToAllow = ({ url, apiUrl }: { url: string; apiUrl: string }): HostToAllow[] => {
  const api = new URL(apiUrl)
  const path = `${apiUrl.replace(/\/+$/, '')}/rate_limit`
  const uploads = api.hostname.startsWith('api.') ? new URL(api.origin.replace('://api.', '://uploads.')) : undefined
  const hosts: HostToAllow[] = [
    { host: api.host, url: path, method: 'GET', neededBy: 'daemon', what: "GitHub's API" },
    { ...pageOf(new URL(url)), what: "GitHub's pages and git" },
    ...(uploads ? [{ ...pageOf(uploads), what: 'uploads of release assets' }] : []),
  ]
  return hosts.filter(({ host }, at) => hosts.findIndex(other => other.host === host) === at)
}

const pageOf = ({ host, origin }: URL) => ({ host, url: `${origin}/`, method: 'HEAD', neededBy: 'others' }) as const
