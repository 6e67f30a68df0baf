// The world as the control API shows it: Apps, installations and tokens, never a key or a token's text.

import { isoSeconds } from './clock.ts'
import type { Parts } from './parts.ts'

export type SandboxState = ReturnType<typeof describeState>

export const describeState = ({ world, clock, faults, log, url }: Parts) => {
  const nowMs = clock.nowMs()
  const tokens = [...world.tokens.values()]
  return {
    sandbox: 'a local stand-in for GitHub; nothing here is real',
    url,
    now: isoSeconds(nowMs),
    offset_ms: clock.offsetMs(),
    accounts: world.accounts.map(a => ({
      kind: a.kind,
      id: a.id,
      login: a.login,
      repositories: [...world.repositories.values()].filter(r => r.owner === a).map(r => ({ id: r.id, name: r.name })),
    })),
    apps: [...world.apps.values()].map(app => ({
      id: app.id,
      client_id: app.clientId,
      slug: app.slug,
      name: app.name,
      owner: app.owner.login,
      owner_kind: app.owner.kind,
      public: app.public,
      permissions: app.permissions,
      keys: app.keys.map(key => key.fingerprint),
    })),
    installations: [...world.installations.values()].map(i => ({
      id: i.id,
      app: i.app.id,
      account: i.account.login,
      repository_selection: i.repositoryIds === undefined ? 'all' : 'selected',
      repositories: world.repositoriesOf(i).map(r => r.name),
      permissions: i.permissions,
      suspended: i.suspendedAtMs !== undefined,
    })),
    tokens: tokens.map(token => ({
      hashed_token: token.hashed,
      format: token.format,
      installation: token.installation.id,
      permissions: token.permissions,
      repositories: token.repositoryIds
        ? [...token.repositoryIds].map(id => world.repositories.get(id)?.name ?? '')
        : null,
      created_at: isoSeconds(token.createdAtMs),
      expires_at: isoSeconds(token.expiresAtMs),
      revoked: token.revoked,
      live: !token.revoked && token.expiresAtMs > nowMs,
    })),
    faults: faults.list(),
    counts: {
      apps: world.apps.size,
      installations: world.installations.size,
      tokens: tokens.length,
      live_tokens: tokens.filter(token => !token.revoked && token.expiresAtMs > nowMs).length,
      requests: log.count(),
    },
  }
}
