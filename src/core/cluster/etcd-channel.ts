// How a connection to a member of etcd is made, and what goes with each call on it. Owns grpc-js, which etcd3 is built on.

import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import type * as grpc from '@grpc/grpc-js'

/** PEM. */
export type Tls = { readonly ca: string; readonly cert?: string; readonly key?: string }

export type Grpc = typeof grpc

export const loadGrpc = (): Promise<Grpc> => import('@grpc/grpc-js')

/** What a call with a token that the member does not know any more fails with. */
export const STALE_TOKEN = 'the token of the user is stale'

/** For etcd3, which would connect to an address by TLS in a way that Node refuses, and check nothing else. */
export const channelOptions = ({ Channel, credentials }: Grpc, endpoint: string, tls?: Tls): grpc.ClientOptions => {
  const { hostname } = new URL(endpoint)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const byAddress = endpoint.startsWith('https:') && isIP(host) !== 0
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text))
  const identity = byAddress
    ? { checkServerIdentity: (_: string, shown: Shown) => checkServerIdentity(host, shown) }
    : {}
  const secured = endpoint.startsWith('https:')
    ? credentials.createSsl(pem(tls?.ca), pem(tls?.key), pem(tls?.cert), identity)
    : credentials.createInsecure()
  return {
    ...OPTIONS,
    // An address may not be asked for by name: this name is, and the certificate is compared with the address.
    ...(byAddress && { 'grpc.ssl_target_name_override': 'etcd.invalid' }),
    channelFactoryOverride: (address, _, options) =>
      new Channel(/:\d+$/.test(address) ? address : `${address}:2379`, secured, options),
  }
}

type Shown = Parameters<typeof checkServerIdentity>[1]

const OPTIONS: grpc.ChannelOptions = {
  // The web proxy of the environment is for the way to GitHub.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // Else a new channel takes over a dead connection of the one before.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // etcd ends connections that are pinged more often than every 5 seconds.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_receive_message_length': 64 * 2 ** 20,
}

export type CallContext = { readonly isStream: boolean; readonly token: () => string | undefined }

/** Puts the user's token into each call: etcd3 itself asks for one through the proxy of the environment, and never again for a stream. */
export const callsWith =
  ({ InterceptingCall }: Grpc, { isStream, token }: CallContext): grpc.Interceptor =>
  (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, _, next) {
        const current = token()
        if (current !== undefined) metadata.set('token', current)
        // A member that has lost the others then ends its watches, in place of saying nothing.
        if (isStream) metadata.set('hasleader', 'true')
        next(metadata, {
          onReceiveStatus(status, pass) {
            // etcd3 sends a call that failed with this text again and again, with the same token.
            pass(STALE.test(status.details) ? { ...status, code: UNAUTHENTICATED, details: STALE_TOKEN } : status)
          },
        })
      },
    })

const STALE = /invalid auth token|revision of auth store is old/
const UNAUTHENTICATED = 16
