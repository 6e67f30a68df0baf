// How etcd is called: which address by which means, and what goes with a call and comes back of it.

import test from 'ava'
import type * as grpc from '@grpc/grpc-js'
import { callsWith, channelOptions, type Grpc, loadGrpc, STALE_TOKEN } from '../../../src/core/cluster/etcd-channel.ts'

const real = await loadGrpc()

/** The options of an endpoint, and what a channel is made of with them. */
const channelOf = (endpoint: string, address: string, tls?: { ca: string; cert?: string; key?: string }) => {
  const secured: unknown[] = []
  const made: unknown[] = []
  const fake = {
    credentials: {
      createSsl: (...given: unknown[]) => {
        secured.push(...given.slice(0, 3).map(each => (Buffer.isBuffer(each) ? each.toString() : each)))
        secured.push(given[3])
        return 'by TLS'
      },
      createInsecure: () => 'in clear',
    },
    // Called with `new`.
    Channel: function channel(...given: unknown[]) {
      made.push(...given.slice(0, 2))
    },
  } as unknown as Grpc
  const options = channelOptions(fake, endpoint, tls)
  options.channelFactoryOverride?.(address, 'of etcd3' as never, {})
  return { options, secured, made }
}

test('a channel is secured as its endpoint says, with the port of etcd where none is given', t => {
  const tls = { ca: 'authority', cert: 'certificate', key: 'private key' }
  const byName = channelOf('https://etcd-1.example.com', 'etcd-1.example.com', tls)
  t.deepEqual(byName.made, ['etcd-1.example.com:2379', 'by TLS'])
  t.deepEqual(byName.secured, ['authority', 'private key', 'certificate', {}])
  t.false('grpc.ssl_target_name_override' in byName.options)
  const clear = channelOf('http://etcd-1.example.com:4000', 'etcd-1.example.com:4000')
  t.deepEqual(clear.made, ['etcd-1.example.com:4000', 'in clear'])
  t.deepEqual(channelOf('https://etcd-1.example.com', 'etcd-1.example.com').secured, [null, null, null, {}])
})

test('the certificate of a member that is named by its address is compared with that address', t => {
  for (const host of ['192.0.2.7', '[2001:db8::7]']) {
    const { options, secured } = channelOf(`https://${host}:2379`, `${host}:2379`)
    t.truthy(options['grpc.ssl_target_name_override'])
    const { checkServerIdentity: check } = secured[3] as {
      checkServerIdentity: (name: string, shown: object) => unknown
    }
    const shown = (address: string) => ({ subject: { CN: 'x' }, subjectaltname: `IP Address:${address}` })
    t.is(check('etcd.invalid', shown(host.replaceAll(/[[\]]/g, ''))), undefined)
    t.true(check('etcd.invalid', shown('192.0.2.8')) instanceof Error)
  }
  t.false('grpc.ssl_target_name_override' in channelOf('http://192.0.2.7:2379', '192.0.2.7:2379').options)
})

test('a connection leaves the proxy of the environment aside, is pinged as etcd allows, and takes a page of large values', t => {
  const { options } = channelOf('http://etcd:2379', 'etcd:2379')
  t.is(options['grpc.enable_http_proxy'], 0)
  t.is(options['grpc.use_local_subchannel_pool'], 1)
  const pingMs = Number(options['grpc.keepalive_time_ms'])
  t.true(pingMs >= 5_000 && pingMs <= 30_000)
  t.true(Number(options['grpc.max_receive_message_length']) >= 32 * 2 ** 20)
  t.true(Number(options['grpc.max_reconnect_backoff_ms']) <= 2_000)
})

/** One call: what it took along, and how the caller was told that it ended. */
const callOnce = (context: Parameters<typeof callsWith>[1], ended: Partial<grpc.StatusObject> = {}) => {
  let sent: grpc.Metadata | undefined
  let told: grpc.StatusObject | undefined
  const status = { code: 0, details: 'OK', metadata: new real.Metadata(), ...ended }
  const next = () => ({
    start(metadata: grpc.Metadata, listener?: Partial<grpc.Listener>) {
      sent = metadata
      listener?.onReceiveStatus?.(status, () => undefined)
    },
  })
  const call = callsWith(real, context)({} as never, next as never)
  call.start(new real.Metadata(), { onReceiveStatus: found => (told = found) })
  return { sent: sent?.getMap(), told }
}

test('a call takes the token of the user along where there is one, and a stream asks for a member with a leader', t => {
  t.deepEqual(callOnce({ isStream: false, token: () => undefined }).sent, {})
  t.deepEqual(callOnce({ isStream: false, token: () => 'secret' }).sent, { token: 'secret' })
  t.deepEqual(callOnce({ isStream: true, token: () => 'secret' }).sent, { token: 'secret', hasleader: 'true' })
})

test('a token that a member has forgotten is told by one text, whichever of the two it says; any other end is as it was', t => {
  const context = { isStream: false, token: () => 'secret' }
  for (const details of ['etcdserver: invalid auth token', 'etcdserver: revision of auth store is old']) {
    const { told } = callOnce(context, { code: 3, details })
    t.deepEqual([told?.code, told?.details], [real.status.UNAUTHENTICATED, STALE_TOKEN])
  }
  const { told } = callOnce(context, { code: 7, details: 'etcdserver: permission denied' })
  t.deepEqual([told?.code, told?.details], [7, 'etcdserver: permission denied'])
})
