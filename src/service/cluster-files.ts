// What the files that [cluster] names hold: certificates, the password, the cluster's secret.

import { statSync } from 'node:fs'
import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import { readCertificates } from './ca-file.ts'
import type { ClusterConfig } from './cluster-config.ts'
import { readNamedFile } from './named-file.ts'
import { passwordIn } from './proxy-settings.ts'

/** How etcd is reached. Certificates as PEM. */
export type EtcdAccess = Pick<ClusterConfig, 'endpoints' | 'name'> & {
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string }
  readonly auth?: { readonly user: string; readonly password: Secret }
}

/** Throws `configuration`, naming the key. */
export const etcdOptionsOf = (config: ClusterConfig): EtcdAccess => {
  const { endpoints, name, caFile, certFile, keyFile, user, passwordFile } = config
  const cert = certFile && certificatesOf('cert_file', certFile)
  const key = keyFile && secretIn('key_file', keyFile).toString()
  return {
    endpoints,
    name,
    ...(caFile !== undefined && {
      tls: {
        ca: certificatesOf('ca_file', caFile),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
      },
    }),
    ...(user !== undefined &&
      passwordFile !== undefined && {
        auth: { user, password: new Secret(passwordIn(secretIn('password_file', passwordFile))) },
      }),
  }
}

/** The secrets of the cluster, the one that seals first. `credential` goes before the file. Throws `configuration`. */
export const secretsOf = (config: ClusterConfig, credential: Buffer | undefined): readonly Buffer[] => {
  const { secretFile } = config
  if (credential === undefined && secretFile === undefined) {
    throw new Failure(
      'configuration',
      '[cluster] secret_file: there is no secret; make one with `openssl rand -hex 32`',
    )
  }
  const bytes = credential ?? secretIn('secret_file', secretFile ?? '')
  if (credential === undefined && secretFile !== undefined && (statSync(secretFile).mode & 0o077) !== 0) {
    throw new Failure('configuration', `[cluster] secret_file: ${secretFile} is open to others; run \`chmod 600\``)
  }
  const lines = bytes
    .toString()
    .split(/\r?\n/)
    .filter(line => line !== '')
  if (lines.length === 0 || lines.length > MOST_SECRETS || lines.some(line => line.length < LEAST_CHARACTERS)) {
    throw new Failure(
      'configuration',
      `[cluster] secret_file: must be one line of at least ${LEAST_CHARACTERS} characters, or up to ${MOST_SECRETS} while it is changed`,
    )
  }
  return lines.map(line => Buffer.from(line))
}

const LEAST_CHARACTERS = 32
const MOST_SECRETS = 3

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
