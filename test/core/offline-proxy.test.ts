// Commands without the daemon: a password that only the daemon has is not guessed, and the way by that proxy is not blamed.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { checkOffline } from '../../src/core/offline-check.ts'
import { proxyWithoutDaemon } from '../../src/core/offline-proxy.ts'
import { parseProxyAddress } from '../../src/service/proxy-address.ts'

const KEYS = {
  url: parseProxyAddress('http://ghconnect@proxy.example.com:3128'),
  exclude: [],
  caFile: undefined,
  passwordFile: undefined,
}

const folderOf = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'offline-proxy-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'credentials'))
  return folder
}

const envOf = (folder: string): NodeJS.ProcessEnv => ({
  GHCONNECT_SEALED_STORE_KEY: join(folder, 'credentials', 'store.key'),
})

test('root opens the sealed password as systemd does for the daemon', t => {
  const folder = folderOf(t)
  const sealed = join(folder, 'credentials', 'proxy.password')
  // Sealed to nothing, so that the test touches no secret of this machine; the name is bound all the same.
  execFileSync('systemd-creds', ['encrypt', '--with-key=tpm2-absent', '--name=proxy.password', '-', sealed], {
    // As editors leave it: a byte order mark, and line ends.
    input: '\uFEFFp:w@rd\r\n\n',
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const { settings } = proxyWithoutDaemon(KEYS, envOf(folder))
  t.is(settings?.proxy?.reveal(), 'http://ghconnect:p%3Aw%40rd@proxy.example.com:3128')
})

test('without a sealed file the proxy is used as the configuration names it', t => {
  t.is(
    proxyWithoutDaemon(KEYS, envOf(folderOf(t))).settings?.proxy?.reveal(),
    'http://ghconnect@proxy.example.com:3128',
  )
})

test('a sealed password that cannot be opened skips the network, and names the command that can know', async t => {
  const folder = folderOf(t)
  writeFileSync(join(folder, 'credentials', 'proxy.password'), 'sealed to another machine')
  const configFile = join(folder, 'config.toml')
  const paths = `[paths]\nstate = "${folder}/state"\nruntime = "${folder}/run"\n`
  writeFileSync(configFile, `${paths}[proxy]\nurl = "http://ghconnect@127.0.0.1:1"\n`)
  const surroundings = { hostname: 'ghe.example.com', findUser: () => 0, findGroup: () => 0 }
  const { rows } = await checkOffline({ configFile, env: envOf(folder), surroundings })
  for (const layer of ['dns', 'proxy', 'tls', 'host', 'key'] as const) {
    const row = rows.find(each => each.layer === layer)
    t.is(row?.verdict, 'skipped', layer)
    t.regex(row?.evidence ?? '', /cannot be opened on this machine.*`ghconnect check` knows it once the daemon runs\.$/)
  }
})
