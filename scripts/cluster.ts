// The demonstration of a cluster: etcd, daemons and sandbox on loopback, a failover, and what each step proves.

import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startSandbox } from '../src/sandbox/server.ts'
import { type Appliance, createAppliance, PROFILE } from '../test/support/appliance.ts'
import { runCli } from '../test/support/cli-process.ts'
import { startEtcd } from '../test/support/etcd.ts'

const NODES = 3
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const indented = (text: string): string => text.trimEnd().replaceAll(/^/gm, '   ')

const folder = mkdtempSync(join(tmpdir(), 'ghconnect-cluster-'))
const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]

const expect = (what: string, got: unknown, wanted: unknown): void => {
  if (got !== wanted) throw new Error(`${what}: expected ${String(wanted)}, got ${String(got)}`)
  say(`   ${what}: ${String(got)}`)
}

const cluster = async () => {
  const etcd = await startEtcd({ size: 3, tls: true })
  closing.push(() => etcd.close())
  say(`Three members of etcd, with TLS on both sides: ${etcd.endpoints.join(' ')}`)
  const sandbox = await startSandbox({})
  closing.push(() => sandbox.close())
  say(`The sandbox stands in for GitHub at ${sandbox.url}`)
  const secret = join(folder, 'cluster.secret')
  writeFileSync(secret, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 })
  const toml = `${PROFILE}[cluster]
name = "demo"
endpoints = ${JSON.stringify(etcd.endpoints)}
ca_file = "${etcd.files.ca}"
cert_file = "${etcd.files.cert}"
key_file = "${etcd.files.key}"
secret_file = "${secret}"
`
  const nodes = new Map<string, Appliance>()
  for (let at = 0; at < NODES; at++) {
    const node = await createAppliance({ github: sandbox, toml })
    closing.push(() => node.close())
    await node.start()
    // By the name that `cluster status` shows.
    const { body } = await node.call('GET', '/v1/cluster')
    nodes.set(String(body['node']), node)
  }
  say(`Three daemons: ${[...nodes].map(([name, node]) => `${name} (pid ${node.pid()})`).join(', ')}`)
  return { etcd, sandbox, nodes }
}

const ghconnect = async (node: Appliance, ...words: string[]): Promise<string> => {
  const { code, stdout, stderr } = await runCli(node, words)
  if (code !== 0) throw new Error(`ghconnect ${words.join(' ')} ended with ${code}:\n${stdout}${stderr}`)
  return stdout.trim()
}

const leaderOf = async (nodes: ReadonlyMap<string, Appliance>): Promise<string> => {
  for (let tries = 0; tries < 600; tries++) {
    for (const [name, node] of nodes) {
      const { body } = await node.call('GET', '/v1/status')
      if (body['role'] === 'leader') return name
    }
    await new Promise(pause => setTimeout(pause, 50))
  }
  throw new Error('nobody leads')
}

const tokensOf = async (nodes: ReadonlyMap<string, Appliance>): Promise<string> => {
  const tokens = new Set<string>()
  for (const node of nodes.values()) {
    tokens.add(await ghconnect(node, 'token', '--repo', 'web', '--permission', 'contents=read'))
  }
  expect('different tokens on all of them', tokens.size, 1)
  return [...tokens][0] ?? ''
}

const show = async (): Promise<void> => {
  const { etcd, sandbox, nodes } = await cluster()
  const [first, ...others] = nodes
  if (!first) return
  const mints = async (): Promise<number> => {
    const log = await (await fetch(`${sandbox.url}/_sandbox/log`)).text()
    return log.split('/access_tokens"').length - 1
  }

  say(`\n1. Enable on ${first[0]}, join on the others`)
  await ghconnect(first[1], 'cluster', 'join')
  await first[1].enable()
  for (const [, node] of others) {
    await ghconnect(node, 'cluster', 'join')
    await node.until('connected')
  }
  say(indented(await ghconnect(first[1], 'cluster', 'status')))

  say('\n2. A token from each node')
  const token = await tokensOf(nodes)
  const before = await mints()
  const held = await etcd.ctl('get', '--prefix', '', '--print-value-only')
  const forms = [token, Buffer.from(token).toString('base64').slice(0, -4), 'PRIVATE KEY']
  expect('in clear in etcd', forms.filter(form => held.includes(form)).length, 0)

  const leader = await leaderOf(nodes)
  say(`\n3. Kill the leader, ${leader}: kill -9`)
  const killed = nodes.get(leader)
  const left = new Map([...nodes].filter(([name]) => name !== leader))
  const began = performance.now()
  await killed?.kill('SIGKILL')
  expect('the same token from the two that are left', (await tokensOf(left)) === token, true)
  const next = await leaderOf(left)
  say(`   ${next} leads after ${((performance.now() - began) / 1000).toFixed(1)} s`)
  expect('the same token still', (await tokensOf(left)) === token, true)
  expect('tokens minted meanwhile', (await mints()) - before, 0)

  say(`\n4. ${leader} comes back`)
  await killed?.start()
  await killed?.until('connected')
  expect('the same token from all three', (await tokensOf(nodes)) === token, true)
  expect('who leads', await leaderOf(nodes), next)
  say(indented(await ghconnect(first[1], 'cluster', 'status')))

  if (!process.argv.includes('--keep')) return
  say('\nIt stays up until Ctrl-C. Try, in another terminal:\n')
  for (const [name, node] of nodes)
    say(`   ./scripts/ghconnect cluster status --config ${node.configFile}      # ${name}`)
  say(`   kill -9 ${nodes.get(next)?.pid()}      # the leader`)
  const { promise, resolve } = Promise.withResolvers<void>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  await promise
}

try {
  await show()
} catch (error) {
  say(`\nFailed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 70
} finally {
  for (const close of closing.toReversed()) await close()
}
