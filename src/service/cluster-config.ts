// The table [cluster] of the configuration: where etcd is, how this node shows that it belongs there, and what the files hold that it names.

import { statSync } from 'node:fs'
import { Failure } from '../protocol/errors.ts'
import { isLoopback } from '../protocol/github-addresses.ts'
import { Secret } from '../protocol/secret.ts'
import { readCertificates } from './ca-file.ts'
import { passwordIn, readNamedFile } from './named-file.ts'

/** As it is written; what is left out is empty. No endpoints: a single node. */
export type ClusterConfig = {
  /** Names the cluster within etcd. */
  readonly name: string
  readonly endpoints: readonly string[]
  readonly ca_file: string
  readonly cert_file: string
  readonly key_file: string
  readonly user: string
  readonly password_file: string
  /** Where systemd passes no credential `cluster.secret`. */
  readonly secret_file: string
}

/** `wrong` is told of each key that cannot be as it is. */
export const toClusterConfig = (
  raw: ClusterConfig,
  wrong: (key: keyof ClusterConfig, message: string) => void,
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
  return { ...raw, endpoints: raw.endpoints.map(endpoint => endpoint.replace(/\/$/, '')) }
}

/** How etcd is reached. Certificates as PEM. Throws `configuration`, naming the key. */
export const etcdOptionsOf = (config: ClusterConfig) => {
  const { endpoints, name, ca_file, cert_file, key_file, user, password_file } = config
  const cert = cert_file && certificatesOf('cert_file', cert_file)
  const key = key_file && secretIn('key_file', key_file).toString()
  return {
    endpoints,
    name,
    ...(ca_file && { tls: { ca: certificatesOf('ca_file', ca_file), ...(cert && { cert }), ...(key && { key }) } }),
    ...(user &&
      password_file && {
        auth: { user, password: new Secret(passwordIn(secretIn('password_file', password_file))) },
      }),
  }
}

/** The secrets of the cluster, the one that seals first. `credential` goes before the file. Throws `configuration`. */
export const secretsOf = ({ secret_file: file }: ClusterConfig, credential: Buffer | undefined): readonly Buffer[] => {
  if (credential === undefined && !file) throw wrongSecret('there is no secret; make one with `openssl rand -hex 32`')
  const bytes = credential ?? secretIn('secret_file', file)
  if (credential === undefined && (statSync(file).mode & 0o077) !== 0)
    throw wrongSecret(`${file} is open to others; run \`chmod 600\``)
  const lines = bytes
    .toString()
    .split(/\r?\n/)
    .filter(line => line !== '')
  if (lines.length === 0 || lines.length > MOST_SECRETS || lines.some(line => line.length < LEAST_CHARACTERS)) {
    const wanted = `one line of at least ${LEAST_CHARACTERS} characters, or up to ${MOST_SECRETS} while it is changed`
    throw wrongSecret(`must be ${wanted}`)
  }
  return lines.map(line => Buffer.from(line))
}

const LEAST_CHARACTERS = 32
const MOST_SECRETS = 3

const wrongSecret = (message: string): Failure => new Failure('configuration', `[cluster] secret_file: ${message}`)

const secretIn = (key: string, file: string): Buffer => named(key, () => readNamedFile(file, { secret: true }))

const certificatesOf = (key: string, file: string): string => named(key, () => readCertificates(file).pem)

const named = <T>(key: string, read: () => T): T => {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Failure('configuration', `[cluster] ${key}: ${error.message}`, { cause: error })
  }
}
