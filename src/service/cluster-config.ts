// The table [cluster] of the configuration: where etcd is, and how this node shows that it belongs there.

import { isLoopback } from '../protocol/github-addresses.ts'

export type ClusterConfig = {
  /** Names the cluster within etcd. */
  readonly name: string
  /** None: a single node. */
  readonly endpoints: readonly string[]
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly user: string | undefined
  readonly passwordFile: string | undefined
  /** Where systemd passes no credential `cluster.secret`. */
  readonly secretFile: string | undefined
}

export type ClusterTable = {
  readonly name: string
  readonly endpoints: readonly string[]
  readonly ca_file: string
  readonly cert_file: string
  readonly key_file: string
  readonly user: string
  readonly password_file: string
  readonly secret_file: string
}

/** `wrong` is told of each key that cannot be as it is. */
export const toClusterConfig = (
  raw: ClusterTable,
  wrong: (key: keyof ClusterTable, message: string) => void,
): ClusterConfig => {
  if (raw.endpoints.length > 0 && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(raw.name))
    wrong('name', 'must be a name of letters, digits and . _ -')
  for (const endpoint of raw.endpoints) {
    const { protocol, hostname, pathname } = new URL(endpoint)
    if (pathname !== '/') wrong('endpoints', 'must be https://HOST:PORT each')
    else if (protocol === 'http:' && !isLoopback(hostname)) wrong('endpoints', 'must be https, or http on loopback')
  }
  const schemes = new Set(raw.endpoints.map(endpoint => new URL(endpoint).protocol))
  if (schemes.size > 1) wrong('endpoints', 'must all be https, or all http')
  if ((raw.cert_file === '') !== (raw.key_file === ''))
    wrong(raw.cert_file ? 'cert_file' : 'key_file', 'cert_file and key_file belong together')
  if (raw.cert_file !== '' && raw.ca_file === '') wrong('ca_file', 'must be named beside cert_file')
  if ((raw.user === '') !== (raw.password_file === ''))
    wrong(raw.user ? 'user' : 'password_file', 'user and password_file belong together')
  return {
    name: raw.name,
    endpoints: raw.endpoints.map(endpoint => endpoint.replace(/\/$/, '')),
    caFile: raw.ca_file || undefined,
    certFile: raw.cert_file || undefined,
    keyFile: raw.key_file || undefined,
    user: raw.user || undefined,
    passwordFile: raw.password_file || undefined,
    secretFile: raw.secret_file || undefined,
  }
}
