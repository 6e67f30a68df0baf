// Recovery keys: shown once, before they count; asked for before an account is connected.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { askForRecoveryKey } from '../../../src/cli/commands/recovery.ts'
import { Failure, toProblem } from '../../../src/protocol/errors.ts'
import { createOffline } from '../../../src/core/offline.ts'
import { RecoveryKeyRequest } from '../../../src/protocol/wire.ts'
import { type Answer, CONNECTED, runCli, type Setting, startDaemon, terminalInput } from '../rig.ts'

const SIGNER = `ghconnect-signer:${'a'.repeat(43)}`
const IDENTITY = /^AGE-SECRET-KEY-1[0-9A-Z]{58}$/m
const none = { body: { recipients: [], signer: SIGNER } }
const one = { body: { recipients: [`age1${'q'.repeat(58)}`], signer: SIGNER } }
const ENABLE = ['enable', '--organization', 'octo-org', '--no-wait']
const BEGUN = { status: 202, body: { url: 'http://x/', expires_at: '2026-07-11T13:00:00.000Z', how: 'manifest' } }

const daemonWith = async (t: Parameters<typeof startDaemon>[0], routes: Record<string, Answer> = {}) => {
  const daemon = await startDaemon(t, {
    'GET /v1/recovery-keys': none,
    'POST /v1/recovery-keys': one,
    'POST /v1/connection': BEGUN,
    'GET /v1/status': { body: CONNECTED },
    ...routes,
  })
  const config = join(daemon.folder, 'config.toml')
  await writeFile(config, `[paths]\nruntime = "${daemon.folder}"\n`)
  return { daemon, config }
}

const typing = (...lines: string[]): Setting => {
  const stdin = terminalInput()
  let at = 0
  // Each question is answered as it is asked.
  const onWrite = (text: string): void => {
    if (/[?:] (\[Y\/n\] )?$/.test(text)) setImmediate(() => stdin.write(`${lines[at++] ?? ''}\n`))
  }
  return { terminal: true, stdin, onWrite, beforeEnable: askForRecoveryKey }
}

test('the identity is printed as an age identity file, and only its public half is sent', async t => {
  const { daemon, config } = await daemonWith(t)
  const ran = await runCli(['recovery-key', 'create', '--config', config])
  t.is(ran.code, 0, ran.stderr)
  const [identity = ''] = IDENTITY.exec(ran.stdout) ?? []
  t.true(ran.stdout.includes(SIGNER))
  for (const line of ran.stdout.trimEnd().split('\n')) t.true(line.startsWith('# ') || line === identity, line)
  const [sent] = daemon.requestsTo('POST /v1/recovery-keys')
  const { recipient } = RecoveryKeyRequest.parse(sent?.body)
  t.true(ran.stdout.includes(`# public key: ${recipient}\n`))
  t.false(JSON.stringify(daemon.seen).includes(identity))
})

test('a key that could not be shown does not count, and one that is not taken is called worthless', async t => {
  const { daemon, config } = await daemonWith(t)
  const lost = await runCli(['recovery-key', 'create', '--config', config], {
    writeBytes: () => Promise.reject(new Error('EPIPE')),
  })
  t.is(lost.code, 69)
  t.is(daemon.requestsTo('POST /v1/recovery-keys').length, 0)
  const problem = toProblem(new Failure('not-permitted', 'root only'))
  const refusing = await daemonWith(t, {
    'POST /v1/recovery-keys': { status: 403, type: 'application/problem+json', body: problem },
  })
  const refused = await runCli(['recovery-key', 'create', '--config', refusing.config])
  t.is(refused.code, 77)
  t.regex(refused.stderr, /^Warning: The recovery key that was printed counts for nothing: throw it away\.$/m)
})

test('without a terminal, enable names both ways when there is no recovery key', async t => {
  const { daemon, config } = await daemonWith(t)
  const asked = await runCli([...ENABLE, '--config', config], { beforeEnable: askForRecoveryKey })
  t.is(asked.code, 64)
  t.regex(asked.stderr, /recovery-key create > FILE.*--without-recovery-key/)
  t.is(daemon.requestsTo('POST /v1/connection').length, 0)
  const without = await runCli([...ENABLE, '--without-recovery-key', '--config', config], {
    beforeEnable: askForRecoveryKey,
  })
  t.is(without.code, 0, without.stderr)
  const known = await daemonWith(t, { 'GET /v1/recovery-keys': one })
  t.is((await runCli([...ENABLE, '--config', known.config], { beforeEnable: askForRecoveryKey })).code, 0)
})

test('on a terminal enable shows a new key once, and goes on when it is kept', async t => {
  const { daemon, config } = await daemonWith(t)
  const ran = await runCli([...ENABLE, '--config', config], typing('', 'later', 'kept'))
  t.is(ran.code, 0, ran.stderr)
  t.is(ran.stderr.match(new RegExp(IDENTITY, 'gm'))?.length, 1)
  t.is(daemon.requestsTo('POST /v1/recovery-keys').length, 1)
  t.is(daemon.requestsTo('POST /v1/connection').length, 1)
})

test('answering n to the recovery key connects without one, with a warning', async t => {
  const { daemon, config } = await daemonWith(t)
  const ran = await runCli([...ENABLE, '--config', config], typing('n'))
  t.is(ran.code, 0, ran.stderr)
  t.regex(ran.stderr, /Warning: Continuing without a recovery key\./)
  t.notRegex(ran.stderr, IDENTITY)
  t.is(daemon.requestsTo('POST /v1/recovery-keys').length, 0)
  t.is(daemon.requestsTo('POST /v1/connection').length, 1)
})

test('an enable whose recovery key is not confirmed does not connect', async t => {
  const { daemon, config } = await daemonWith(t)
  const unconfirmed = await runCli([...ENABLE, '--config', config], typing('y', ''))
  t.is(unconfirmed.code, 64)
  t.is(daemon.requestsTo('POST /v1/recovery-keys').length, 0)
  t.is(daemon.requestsTo('POST /v1/connection').length, 0)
})

test('a bundle is not for a terminal, and none is read from one', async t => {
  const { config } = await daemonWith(t)
  t.is((await runCli(['snapshot', 'export', '--config', config], { terminal: true })).code, 64)
  const restored = await runCli(['snapshot', 'restore', '--config', config], { stdin: terminalInput() })
  t.is(restored.code, 64)
  t.regex(restored.stderr, /^Fatal: .*standard input/)
})

test('unlock alone suffices where systemd passes the daemon its store key: it restarts the daemon and asks again', async t => {
  let asked = 0
  const locked = toProblem(new Failure('locked', 'there is no store key'))
  const { daemon, config } = await daemonWith(t, {
    'GET /livez': { body: {} },
    'POST /v1/unlock': () =>
      ++asked === 1
        ? { status: 503, type: 'application/problem+json', body: locked }
        : { body: { state: 'connected', meaning: 'Connected to octo-org.', next: 'Nothing to do.' } },
  })
  const identity = join(daemon.folder, 'recovery-key.txt')
  await writeFile(identity, 'AGE-SECRET-KEY-1')
  const children: string[] = []
  const offline = async ({ configFile }: { configFile: string }) => ({
    ...createOffline({ configFile, env: {}, note: () => {} }),
    ensureStoreKey: async () => 'sealed a new store key in /etc/x',
    hasSealedKey: () => true,
  })
  const ran = await runCli(['unlock', '--identity', identity, '--config', config], {
    offline,
    runChild: async ({ command, args }) => {
      children.push([command, ...args].join(' '))
      return { kind: 'ended', exitCode: 0 }
    },
  })
  t.is(ran.code, 0, ran.stderr)
  t.deepEqual(children, ['systemctl restart ghconnectd.service'])
  t.is(ran.stdout, 'Connected to octo-org.\n')
  asked = 0
  const failed = await runCli(['unlock', '--identity', identity, '--config', config], {
    offline,
    runChild: async () => ({ kind: 'ended', exitCode: 1 }),
  })
  t.is(failed.code, 69)
  t.regex(failed.stderr, /systemctl restart ghconnectd/)
})

test('for a new store key the service is stopped, however often it comes back, and started again', async t => {
  const asked: string[] = []
  let uses = 2
  const setting = (more: { startFails?: boolean } = {}) => ({
    offline: async ({ configFile }: { configFile: string }) => ({
      ...createOffline({ configFile, env: {}, note: () => undefined }),
      isRoot: () => true,
      async rotateStoreKey() {
        if (uses-- > 0) throw new Failure('state-in-use', 'held by process 7')
        return '/etc/ghconnectd/credentials/store.key'
      },
    }),
    async runChild({ command, args }: { command: string; args: readonly string[] }) {
      asked.push([command, ...args].join(' '))
      return { kind: 'ended', exitCode: more.startFails === true && args[0] === 'start' ? 1 : 0 } as const
    },
  })
  const ran = await runCli(['store-key', 'rotate'], setting())
  t.is(ran.code, 0, ran.stderr)
  t.is(ran.stdout, 'A new store key is in /etc/ghconnectd/credentials/store.key; the old one was overwritten.\n')
  t.deepEqual(asked, [
    'systemctl stop --quiet ghconnectd.service',
    'systemctl stop --quiet ghconnectd.service',
    'systemctl start ghconnectd.service',
  ])
  asked.length = 0
  uses = Number.POSITIVE_INFINITY
  const stuck = await runCli(['store-key', 'rotate'], setting({ startFails: true }))
  t.is(stuck.code, 69)
  t.regex(stuck.stderr, /the daemon did not start/)
  t.is(asked.at(-1), 'systemctl start ghconnectd.service')
})
