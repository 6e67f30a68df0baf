// What can be proven of a bundle away from any store: its header without a key, and with one that it would restore.

import { createHash } from 'node:crypto'
import { isLive, issuerOf } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { assertSameGithub } from '../../protocol/github-addresses.ts'
import type { Secret } from '../../protocol/secret.ts'
import { type AppKey, readPrivateKey } from '../github/app-key.ts'
import { createGitHubClock } from '../github/clock.ts'
import { createGitHub } from '../github/github.ts'
import type { Clock } from '../../service/clock.ts'
import type { Config } from '../../service/config.ts'
import type { Log } from '../../service/log.ts'
import { createOutbound, type ProxySettings } from '../outbound/outbound.ts'
import { VERSION } from '../../service/process.ts'
import { openBundle, readHeader } from './bundle.ts'
import { type BundleContent, readKeys } from './content.ts'
import { readIdentities } from './encryption.ts'

/** Throws `bundle-corrupt`, `bundle-newer`. */
export const summarize = (bundle: Uint8Array) => {
  const header = readHeader(bundle)
  return {
    format: header.format,
    created: header.created,
    state: header.state,
    generation: header.generation,
    hostname: header.hostname,
    signer: header.signer,
    recipients: header.recipients,
    sealed: header.recipients.length > 0,
    size: bundle.length,
    sha256: createHash('sha256').update(bundle).digest('hex'),
    ...(header.account && { account: header.account }),
    ...(header.app_id !== undefined && { app_id: header.app_id }),
  }
}

export type ProofOptions = { readonly bundle: Uint8Array; readonly identity?: Secret; readonly againstGithub: boolean }

export type ProofDeps = {
  readonly clock: Clock
  readonly log: Log
  readonly config: Config
  /** Or why this process cannot know it. */
  readonly proxy: () => { readonly settings?: ProxySettings | undefined; readonly unknown?: string | undefined }
}

/** Throws what a restore would, and what GitHub answers where it is asked. */
export const proveBundle = async ({ bundle, identity, againstGithub }: ProofOptions, deps: ProofDeps) => {
  const summary = summarize(bundle)
  const identities = identity === undefined ? [] : readIdentities(identity.reveal())
  const content = await openBundle(bundle, identities)
  const keys = readKeys(content.keys, readPrivateKey)
  // Another GitHub would answer that the key is wrong.
  if (againstGithub) assertSameGithub(content, deps.config.github, { force: false })
  const proxy = againstGithub ? deps.proxy() : undefined
  const github = proxy?.settings && (await askGitHub(content, { ...deps, keys, settings: proxy.settings }))
  return {
    summary,
    keys: keys.map(key => key.fingerprint),
    live_tokens: content.tokens.filter(token => token.expiresAtMs > deps.clock.now()).length,
    installations: content.installations.map(({ account }) => account.login),
    ...(content.settings.configuration && { configuration: content.settings.configuration }),
    ...(github !== undefined && { github }),
    ...(proxy?.unknown !== undefined && { github_skipped: proxy.unknown }),
  }
}

/** The name of the App, told by GitHub to whoever signs with its key. */
const askGitHub = async (
  { connection }: BundleContent,
  deps: ProofDeps & { keys: readonly AppKey[]; settings: ProxySettings },
): Promise<string> => {
  if (!isLive(connection)) throw new Failure('not-connected', `the bundle is of a machine that was ${connection.kind}`)
  const { clock, log, config, keys } = deps
  const outbound = createOutbound(deps.settings, { clock })
  try {
    const github = createGitHub({
      outbound,
      clock,
      githubClock: createGitHubClock({ clock, offsetMs: 0, onChange: () => undefined }),
      log,
      settings: () => config.github,
      userAgent: `ghconnectd/${VERSION}`,
    })
    const app = await github.getApp({ issuer: issuerOf(connection.app), keys })
    if (app.id === connection.app.id) return app.name
    throw new Failure('key-mismatch', `the key signs for App ${app.id}, and the bundle is of App ${connection.app.id}`)
  } finally {
    outbound.close()
  }
}
