// What an administrator does on one node holds on all: also on one that was away, and without etcd learning a secret.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type Cluster, type ClusterNode, REPOSITORIES, startCluster } from '../support/cluster.ts'

const folder = mkdtempSync(join(tmpdir(), 'cluster-changes-'))
const bundle = join(folder, 'bundle.tar')
let cluster: Cluster
let nodes: readonly ClusterNode[]
test.before(async () => {
  cluster = await startCluster()
  nodes = cluster.nodes
})
test.after.always(async () => {
  await cluster?.close()
  rmSync(folder, { recursive: true, force: true })
})

const node = (at: number): ClusterNode => {
  const found = nodes[at]
  if (!found) throw new Error(`no node ${at}`)
  return found
}

const statusOf = async (each: ClusterNode): Promise<Record<string, unknown>> =>
  (await each.call('GET', '/v1/status')).body

const generations = async (): Promise<unknown[]> => {
  const all = await Promise.all(nodes.map(statusOf))
  return [...new Set(all.map(status => status['generation']))]
}

test.serial('what etcd holds tells nothing: no key, no token, in whatever form', async t => {
  const tokens: string[] = []
  for (const name of REPOSITORIES) tokens.push(String((await node(2).token(name)).body['token']))
  const exported = await node(0).cli('snapshot', 'export', '--output', bundle)
  t.is(exported.code, 0, exported.stderr)
  const { execFileSync } = await import('node:child_process')
  const payload = execFileSync('tar', ['-xOf', bundle, 'payload.tar'], { maxBuffer: 2 ** 24 })
  const key = execFileSync('tar', ['-xO', '--wildcards', '-f', '-', 'private-key-*.pem'], { input: payload }).toString()
  t.regex(key, /PRIVATE KEY/)

  const dump = await cluster.etcd.ctl('get', '--prefix', '', '-w', 'json')
  const { kvs } = JSON.parse(dump) as { kvs: { key: string; value: string }[] }
  t.true(kvs.length >= 5 + 2 + REPOSITORIES.length, 'members, leader, record, tokens')
  // As etcdctl shows it, as it is stored, and once more out of base64, for what hides in it.
  const plain = kvs.flatMap(({ key: name, value }) => {
    const stored = Buffer.from(value, 'base64').toString('latin1')
    const inner = [...stored.matchAll(/[A-Za-z0-9+/=_-]{40,}/g)].map(([text]) =>
      Buffer.from(text, 'base64').toString('latin1'),
    )
    return [Buffer.from(name, 'base64').toString('latin1'), stored, ...inner]
  })
  const secrets = [...tokens, key.split('\n')[3] ?? '', key.split('\n').slice(1, -2).join('')]
  for (const secret of secrets) {
    t.true(secret.length > 30)
    const forms = [secret, Buffer.from(secret).toString('base64').slice(0, -4), Buffer.from(secret).toString('hex')]
    for (const form of forms) t.false(dump.includes(form) || plain.some(text => text.includes(form)))
  }
  t.false(plain.some(text => /PRIVATE KEY|gh[a-z]_|octo-org|"token"/.test(text)))
})

test.serial('disable while a node is off: it clears itself before it serves anything', async t => {
  const off = node(4)
  t.is((await off.token('web')).status, 200)
  const [before] = await generations()
  await off.kill('SIGKILL')
  const disabled = await node(1).call('DELETE', '/v1/connection?local=true')
  t.is(disabled.status, 202, disabled.text)
  for (const each of nodes.slice(0, 4)) {
    await each.until('disconnected')
    t.is((await each.token('web')).status, 503)
    t.deepEqual((await statusOf(each))['keys'], [])
  }
  const began = off.start()
  const seen = new Set<number>()
  const over = new AbortController()
  const asking = (async () => {
    while (!over.signal.aborted) {
      seen.add(
        await off.token('web').then(
          ({ status }) => status,
          () => 0,
        ),
      )
    }
  })()
  await began
  await off.until('disconnected')
  over.abort()
  await asking
  t.false(seen.has(200), [...seen].join())
  t.deepEqual((await statusOf(off))['keys'], [])
  const [after, ...more] = await generations()
  t.deepEqual(more, [])
  t.true(Number(after) > Number(before))
})

test.serial('a snapshot that is restored on one node reaches all', async t => {
  const restored = await node(3).cli('snapshot', 'restore', '--input', bundle)
  t.is(restored.code, 0, restored.stderr)
  const since = await cluster.sequence()
  for (const each of nodes) {
    await each.until('connected')
    const { status, body, text } = await each.token('docs')
    t.is(status, 200, `node ${each.at}: ${text}`)
    t.is(await cluster.use(String(body['token']), 'docs'), 200)
  }
  t.is((await generations()).length, 1)
  t.true([...(await cluster.mints(since)).values()].every(count => count === 1))
})

test.serial('two keys, one after the other from two nodes: neither change is lost', async t => {
  const status = await statusOf(node(0))
  const { id } = status['app'] as { id: number }
  const { pem } = (await cluster.control('POST', `apps/${id}/generate-key`, {})) as { pem: string }
  const [first] = status['keys'] as { fingerprint: string }[]
  const added = await node(1).call('POST', '/v1/keys', { private_key: pem })
  t.is(added.status, 200, added.text)
  const retired = await node(2).call('DELETE', `/v1/keys?fingerprint=${encodeURIComponent(first?.fingerprint ?? '')}`)
  t.is(retired.status, 200, retired.text)
  for (const each of nodes) {
    for (;;) {
      const { keys } = (await statusOf(each)) as { keys: { fingerprint: string }[] }
      if (keys.length === 1 && keys[0]?.fingerprint !== first?.fingerprint) break
      await new Promise(pause => setTimeout(pause, 50))
    }
  }
  t.is((await generations()).length, 1)
})

test.serial('a change that cannot reach the others is refused, and says so', async t => {
  const cut = node(2)
  cut.site.cut()
  const refused = await cut.call('DELETE', '/v1/connection')
  t.is(refused.status, 503, refused.text)
  t.regex(refused.text, /cluster-unreachable/)
  t.is((await cut.token('web')).status, 200)
  cut.site.heal()
  for (const each of nodes) t.is((await statusOf(each))['state'], 'connected')
})
