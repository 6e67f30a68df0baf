// What scripts/fixtures.ts puts into fixtures beside what a daemon leaves: a configuration with each key, scopes, audit events.

import type { Scope } from '../src/protocol/scope.ts'
import type { AuditEvent } from '../src/core/audit/audit-chain.ts'

export const CONFIG = `# Each key of this version, none with its default.
[appliance]
hostname = "ghe.example.com"
url = "https://ghe.example.com:8443"
[github]
url = "https://octo.ghe.com"
api_url = "https://api.octo.ghe.com"
api_version = "2026-03-11"
stateless_tokens = "enabled"
[app]
name = "our-ghe"
permissions = { metadata = "read", contents = "read" }
[paths]
state = "/srv/ghconnectd"
runtime = "/run/other"
[store]
key_file = "/etc/ghconnectd/store.key"
[proxy]
url = "http://user@proxy:3128"
exclude = [".internal", "10.0.0.0/8"]
ca_file = "/etc/ghconnectd/proxy-ca.pem"
password_file = "/etc/ghconnectd/proxy-password"
[refresh]
schedule = "*/4 * * * *"
before_expiry = "30m"
settle = "20s"
[snapshot]
recipients = ["age187a4tcyxxusdyjp5yh9tdu6w0h9uj52xdyrff9h5k08q7z4n6qtsp8n5aq"]
trusted = ["ghconnect-signer:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"]
include_token = false
[web]
listen = "unix:/run/other/web.sock"
public_url = "https://ghe.example.com:8444"
front_user = "nginx"
[policy]
weak_pid = true
[[profiles]]
name = "actions"
installation = "octo-org"
repositories = ["a", "infra-*"]
permissions = { contents = "read", issues = "write" }
allow = { users = ["git"], groups = ["ci"], units = ["actions-sync.service"] }
[[profiles]]
name = "by-id"
installation = 4242
allow = { users = ["git"] }
[features]
unified-search-public = true
[[sinks]]
name = "actions"
profile = "actions"
path = "/run/actions/token"
mode = "0640"
format = "netrc"
[cluster]
name = "appliances"
endpoints = ["https://10.1.0.11:2379", "https://10.1.0.12:2379", "https://10.1.0.13:2379"]
ca_file = "/etc/ghconnectd/etcd/ca.pem"
cert_file = "/etc/ghconnectd/etcd/client.pem"
key_file = "/etc/ghconnectd/etcd/client.key"
user = "ghconnectd"
password_file = "/etc/ghconnectd/etcd/password"
secret_file = "/etc/ghconnectd/cluster.secret"
`

export const FEATURES = `[license-user-sync]
installation = "octo-org"
allow = { users = ["git"], groups = [], units = ["licenses.service"] }
`

export const SCOPES: readonly { readonly profile: string; readonly scope: Scope }[] = [
  { profile: 'actions', scope: { installation: 42 } },
  { profile: 'actions', scope: { installation: 42, repositories: [] } },
  { profile: 'actions', scope: { installation: 42, permissions: {} } },
  {
    profile: 'actions',
    scope: { installation: 42, repositories: ['b', 'A', 'a'], permissions: { issues: 'write', contents: 'read' } },
  },
  { profile: ':admin', scope: { installation: 9_007_199_254_740_991, repositories: ['x', 'y"z'] } },
  { profile: 'name, with "signs"', scope: { installation: 1, permissions: { metadata: 'admin' } } },
]

export const EVENTS: readonly AuditEvent[] = [
  {
    event: 'token.grant',
    atMs: 1_780_000_000_000,
    peer: { pid: 7, uid: 998, unit: 'actions-sync.service' },
    profile: 'actions',
    scope: 'installation 42',
    hashedToken: 'aGFzaA==',
    count: 3,
  },
  { event: 'token.deny', atMs: 1_780_000_000_001, peer: { pid: 8, uid: 0 }, detail: 'ü "\n' },
  { event: 'dotcom_connection.create', atMs: 1_780_000_000_002.5 },
]
