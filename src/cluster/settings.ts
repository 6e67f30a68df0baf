// What the files that [cluster] names hold: certificates, the password, the cluster's secret.

import { readFileSync, statSync } from 'node:fs'
import { Failure } from '../domain/errors.ts'
import { Secret } from '../domain/secret.ts'
import type { ClusterConfig } from '../platform/cluster-config.ts'
import type { EtcdOptions } from './etcd.ts'

/** Throws `configuration`, naming the key. */
export const etcdOptionsOf = (config: ClusterConfig): Pick<EtcdOptions, 'endpoints' | 'name' | 'tls' | 'auth'> => {
  const { endpoints, name, caFile, certFile, keyFile, user, passwordFile } = config
  const cert = certFile === undefined ? undefined : read('cert_file', certFile)
  const key = keyFile === undefined ? undefined : read('key_file', keyFile)
  return {
    endpoints,
    name,
    ...(caFile !== undefined && {
      tls: { ca: read('ca_file', caFile), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) },
    }),
    ...(user !== undefined &&
      passwordFile !== undefined && {
        auth: { user, password: new Secret(read('password_file', passwordFile).replace(/\r?\n$/, '')) },
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
  if (credential === undefined && secretFile !== undefined && (statMode(secretFile) & 0o077) !== 0) {
    throw new Failure('configuration', `[cluster] secret_file: ${secretFile} is open to others; run \`chmod 600\``)
  }
  const text = credential?.toString() ?? read('secret_file', secretFile ?? '')
  const lines = text.split(/\r?\n/).filter(line => line !== '')
  if (lines.length === 0 || lines.length > MOST_SECRETS || lines.some(line => line.length < LEAST_CHARACTERS)) {
    throw new Failure(
      'configuration',
      `[cluster] secret_file: must be one line of at least ${LEAST_CHARACTERS} characters, or two while it is changed`,
    )
  }
  return lines.map(line => Buffer.from(line))
}

const LEAST_CHARACTERS = 32
const MOST_SECRETS = 3

const read = (key: string, path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Failure('configuration', `[cluster] ${key}: ${path} cannot be read`, { cause })
  }
}

const statMode = (path: string): number => {
  try {
    return statSync(path).mode
  } catch (cause) {
    throw new Failure('configuration', `[cluster] secret_file: ${path} cannot be read`, { cause })
  }
}
