// The commands of docs/cluster.md, typed as they stand: on three machines, each in a network of its own, and on one with systemd and the package.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { startSandbox } from '../../src/sandbox/server.ts'
import { type Appliance, createAppliance, PROFILE } from '../support/appliance.ts'
import { readDocument } from '../support/document.ts'
import { bootedTest, buildPackage, canBoot, CONFIG, createInstalled } from '../support/installed.ts'
import { createSwitchboard, type Site } from '../support/switchboard.ts'

const GHCONNECT = join(import.meta.dirname, '../../scripts/ghconnect')
const document = readDocument('docs/cluster.md')
const typed = new Set<string>()

type Machine = {
  readonly name: string
  readonly site: Site
  readonly root: string
  readonly node: Appliance
  etcd: ChildProcess | undefined
}

const folder = mkdtempSync(join(tmpdir(), 'cluster-document-'))
const NAMES = ['ghe-1', 'ghe-2', 'ghe-3']

/** What is of the machine as a whole is in a folder here; the addresses are those of its network. */
const movesOf = (machine: Pick<Machine, 'name' | 'root'>): Record<string, string> => ({
  '10.1.0.': '10.98.0.',
  'name=ghe-1 address=10.98.0.11': `name=${machine.name} address=10.98.0.1${machine.name.at(-1)}`,
  '/etc/': `${machine.root}/etc/`,
  '/var/lib/': `${machine.root}/var/lib/`,
})

const run = (machine: Pick<Machine, 'site' | 'root'> & { node?: Appliance }, script: string) => {
  const [program = '', ...words] = machine.site.enter(['bash', '--norc', '-euo', 'pipefail', '-c', script])
  const env = {
    PATH: `${join(machine.root, 'bin')}:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: machine.root,
    LANG: 'C.UTF-8',
    GHCONNECT_CONFIG: machine.node?.configFile ?? '',
  }
  const { promise, resolve } = Promise.withResolvers<{ code: number; text: string }>()
  execFile(program, words, { env, cwd: machine.root }, (error, stdout, stderr) => {
    resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255, text: stdout + stderr })
  })
  return promise
}

const type = async (
  t: ExecutionContext,
  machine: Machine,
  { mark, before = '', moves = {} }: { mark: string; before?: string; moves?: Record<string, string> },
): Promise<string> => {
  typed.add(mark)
  const { code, text } = await run(machine, `${before}\n${document.block(mark, { ...movesOf(machine), ...moves })}`)
  t.is(code, 0, `${mark}: ${text}`)
  return text
}

/** As the unit would. */
const startEtcd = async (machine: Machine): Promise<void> => {
  const file = readFileSync(join(machine.root, 'etc/default/etcd'), 'utf8')
  const env = Object.fromEntries(file.split('\n').map(line => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]))
  const [program = '', ...words] = machine.site.enter(['etcd'])
  const child = spawn(program, words, { env: { PATH: '/usr/bin:/sbin', ...env }, stdio: ['ignore', 'ignore', 'pipe'] })
  machine.etcd = child
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-20_000)
    if (said.includes('serving client traffic')) resolve()
  })
  child.once('exit', code => reject(new Error(`etcd ended with ${code}: ${said}`)))
  await promise
  child.removeAllListeners('exit')
}

const stopEtcd = async (machine: Machine): Promise<void> => {
  const child = machine.etcd
  machine.etcd = undefined
  if (!child || child.exitCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

test.serial('three machines: certificates, etcd, nodes, a drill, a new secret, another machine', async t => {
  t.timeout(180_000)
  const view = createSwitchboard(4)
  const sandbox = await startSandbox({})
  const port = Number(new URL(sandbox.url).port)
  const machines: Machine[] = []
  const serving: { close(): void }[] = []
  try {
    const [operator, ...sites] = view.sites
    if (!operator) throw new Error('no sites')
    const issuer = join(folder, 'issuer')
    mkdirSync(issuer)
    typed.add('certificates')
    const made = await run({ site: operator, root: issuer }, document.block('certificates', { '10.1.0.': '10.98.0.' }))
    t.is(made.code, 0, made.text)

    for (const [at, site] of sites.entries()) {
      const name = NAMES[at] ?? ''
      const root = join(folder, name)
      for (const sub of ['bin', 'etc/default', 'etc/ghconnectd', 'var/lib/etcd'])
        mkdirSync(join(root, sub), { recursive: true })
      for (const [program, line] of [
        ['ghconnect', `exec ${GHCONNECT} "$@"`],
        ['systemctl', 'echo "systemctl $*"'],
      ] as const) {
        writeFileSync(join(root, 'bin', program), `#!/bin/sh\n${line}\n`)
        chmodSync(join(root, 'bin', program), 0o755)
      }
      for (const file of ['ca.pem', 'cluster.secret', `${name}.pem`, `${name}.key`]) {
        writeFileSync(join(root, file), readFileSync(join(issuer, file)), { mode: 0o600 })
      }
      const served = await site.serve(port, near => {
        const far = connect(port, '127.0.0.1')
        near.pipe(far).pipe(near)
        far.on('error', () => near.destroy())
        near.on('close', () => far.destroy())
      })
      serving.push(served)
      const toml = document.block('config', { ...movesOf({ name, root }), '10.1.0.': '10.98.0.' })
      typed.add('config')
      const node = await createAppliance({
        github: sandbox,
        toml: `${PROFILE}${toml}secret_file = "${root}/cluster.secret"\n`,
        wrap: site.enter,
      })
      machines.push({ name, site, root, node, etcd: undefined })
    }
    for (const machine of machines) {
      t.regex(await type(t, machine, { mark: 'etcd' }), /systemctl restart etcd/)
      const files = document.block('files', {
        ...movesOf(machine),
        'name=ghe-1': `name=${machine.name}`,
        '-g ghconnectd ': '',
      })
      const placed = await run(machine, files.split('systemd-creds')[0] ?? '')
      t.is(placed.code, 0, placed.text)
    }
    await Promise.all(machines.map(startEtcd))
    const [one, two, three] = machines
    if (!one || !two || !three) throw new Error('three machines')
    const health = await type(t, one, { mark: 'health' })
    t.is(health.match(/is healthy/g)?.length, 3)

    await Promise.all(machines.map(({ node }) => node.start()))
    t.regex(await type(t, one, { mark: 'first' }), /Leader +appliance/)
    const [, page = ''] = /listen = "127\.0\.0\.1:(\d+)"/.exec(readFileSync(one.node.configFile, 'utf8')) ?? []
    const way = await one.site.forward(Number(page))
    await one.node.enable()
    await way.close()
    t.regex(await type(t, two, { mark: 'others' }), /a token is there/)
    typed.add('replica')
    t.is((await run(three, document.block('replica'))).code, 0)
    await three.node.until('connected')
    t.regex((await run(three, 'ghconnect cluster status')).text, /This node .*\(replica\)/)
    t.regex(await type(t, three, { mark: 'promote' }), /\((follower|member)\)/)

    // The drill: the leader's daemon ends, and hands leadership over.
    await one.node.kill('SIGTERM')
    const drilled = await type(t, two, { mark: 'drill' })
    t.regex(drilled, /served all the while/)
    await one.node.start()
    await one.node.until('connected')

    // A new secret: known to all, then used.
    const former = readFileSync(join(one.root, 'cluster.secret'), 'utf8')
    for (const { root, node } of machines) {
      writeFileSync(join(root, 'cluster.secret'), `${'5'.repeat(64)}\n${former}`, { mode: 0o600 })
      await node.kill('SIGTERM')
      await node.start()
    }
    t.regex(await type(t, two, { mark: 'rotate' }), /sealed with the new secret/)
    for (const { root, node } of machines) {
      writeFileSync(join(root, 'cluster.secret'), `${'5'.repeat(64)}\n`, { mode: 0o600 })
      await node.kill('SIGTERM')
      await node.start()
      await node.until('connected')
      t.is((await node.ask('POST', '/v1/tokens', { repositories: ['web'] })).status, 200)
    }

    // Another machine in place of the third, as far as etcd goes.
    const environment = document.block('health', movesOf(one)).split('etcdctl endpoint')[0] ?? ''
    await stopEtcd(three)
    // It may have led: what is asked before the others have a leader is lost.
    const rest = 'ETCDCTL_ENDPOINTS=https://10.98.0.11:2379,https://10.98.0.12:2379'
    for (let code = 1; code !== 0; ) {
      code = (await run(one, `${environment}\n${rest} etcdctl endpoint health --command-timeout=1s`)).code
    }
    await type(t, one, { mark: 'replace', before: environment })
    rmSync(join(three.root, 'var/lib/etcd/ghconnect'), { recursive: true })
    const settings = join(three.root, 'etc/default/etcd')
    writeFileSync(settings, readFileSync(settings, 'utf8').replace('STATE=new', 'STATE=existing'))
    await startEtcd(three)
    t.is((await type(t, one, { mark: 'health' })).match(/is healthy/g)?.length, 3)

    t.regex(await type(t, one, { mark: 'backup', before: environment }), /Snapshot saved/)

    // All of etcd is lost and started empty: the nodes fill it.
    for (const machine of machines) await stopEtcd(machine)
    for (const machine of machines) {
      rmSync(join(machine.root, 'var/lib/etcd/ghconnect'), { recursive: true })
      const file = join(machine.root, 'etc/default/etcd')
      writeFileSync(file, readFileSync(file, 'utf8').replace('STATE=existing', 'STATE=new'))
    }
    await Promise.all(machines.map(startEtcd))
    for (;;) {
      const { text } = await run(one, `${environment}\netcdctl get --prefix --keys-only ghconnect/ghe/`)
      if (text.includes('ghconnect/ghe/connection') && text.includes('ghconnect/ghe/leader')) break
      await new Promise(pause => setTimeout(pause, 100))
    }
    for (const { node } of machines) t.is((await node.call('GET', '/v1/status')).body['state'], 'connected')

    await type(t, one, { mark: 'user', before: environment })
    const denied = await run(one, `${environment}\netcdctl --user "ghconnect:$(cat etcd.password)" get other`)
    t.regex(denied.text, /permission denied/)
    for (const machine of machines) {
      writeFileSync(join(machine.root, 'etcd.password'), readFileSync(join(one.root, 'etcd.password')), { mode: 0o600 })
      const text = readFileSync(machine.node.configFile, 'utf8')
      writeFileSync(
        machine.node.configFile,
        `${text}user = "ghconnect"\npassword_file = "${machine.root}/etcd.password"\n`,
      )
      await machine.node.kill('SIGTERM')
      await machine.node.start()
    }
    for (;;) {
      const { text } = await run(three, 'ghconnect cluster status')
      if (/in touch/.test(text) && /leader +generation/.test(text)) break
      await new Promise(pause => setTimeout(pause, 100))
    }
    t.is((await three.node.ask('POST', '/v1/tokens', { repositories: ['web'] })).status, 200)
  } finally {
    await Promise.all(machines.map(({ node }) => node.close()))
    for (const machine of machines) await stopEtcd(machine)
    for (const each of serving) each.close()
    await sandbox.close()
    view.remove()
    rmSync(folder, { recursive: true, force: true })
  }
})

bootedTest('one machine with systemd and the package: units, sealed secret, a new secret', async t => {
  t.timeout(240_000)
  const built = buildPackage('cluster')
  const machine = await createInstalled('cluster')
  try {
    await machine.install(await built)
    // Its one member of etcd has the address of the document; it has no other network.
    await machine.run('ip address add 10.1.0.11/32 dev lo; mkdir -p /root/cluster; systemctl unmask etcd')
    const there = (script: string): Promise<string> => machine.run(`cd /root/cluster\n${script}`)
    const alone = { ',ghe-2=https://10.1.0.12:2380,ghe-3=https://10.1.0.13:2380': '' }
    await there(document.block('certificates'))
    await there(document.block('etcd', alone))
    const alive = await there(document.block('health', { ',https://10.1.0.12:2379,https://10.1.0.13:2379': '' }))
    t.regex(alive, /https:..10\.1\.0\.11:2379 .* true /)
    await machine.startSandbox()
    await machine.configure(CONFIG)
    typed.add('files')
    await there(document.block('files'))
    await machine.run(`cat >>/etc/ghconnectd/config.toml <<'TOML'\n${document.block('config')}\nTOML`)
    await machine.run('systemctl restart ghconnectd')
    t.regex(await there(document.block('first')), /Leader/)
    await machine.enable()
    t.regex(await there('ghconnect cluster status'), /in touch/)
    t.truthy(await machine.token())

    await there('openssl rand -hex 32 >/root/new.secret')
    typed.add('second-secret')
    await there(document.block('second-secret', { 'cat new.secret': 'cat /root/new.secret' }))
    await machine.until('connected')
    for (;;) {
      if (/in touch/.test(await there('ghconnect cluster status'))) break
      await new Promise(pause => setTimeout(pause, 100))
    }
    t.regex(await there(document.block('rotate')), /sealed with the new secret/)
    t.truthy(await machine.token())
  } catch (error) {
    t.log((await machine.attempt("journalctl -o short-precise -n 60 -u 'ghconnectd*' -u etcd")).stdout)
    throw error
  } finally {
    await machine.stop()
  }
})

test.serial('each marked block was typed', t => {
  t.deepEqual(
    document.marks.filter(mark => !typed.has(mark)),
    canBoot ? [] : ['files', 'second-secret'],
  )
})
