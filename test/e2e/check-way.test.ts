// One fault on the way out at a time, by squid, DNS, TLS and proxies that meddle: the doctor names its layer and no other, and a reload mends it.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { userInfo } from 'node:os'
import test from 'ava'
import { startSandbox } from '../../src/sandbox/server.ts'
import { createAuthority } from '../support/certificates.ts'
import {
  assertAllWell,
  assertNames,
  assertTold,
  checkOf,
  exportSnapshot,
  type Naming,
  recoveryToml,
  refresh,
  type Told,
} from '../support/checking.ts'
import { type Manner, startMeddlingProxy } from '../support/meddling-proxy.ts'
import {
  authority,
  passwordFile,
  reload,
  removeAuthority,
  startProxied,
  withProxy,
  writePassword,
} from '../support/proxied-appliance.ts'
import { freePort } from '../support/ports.ts'
import { startSquid } from '../support/squid.ts'

/** GitHub as it is: three hosts, whose names only the proxies know. */
const NAMES = ['api.github.test', 'github.test', 'uploads.github.test']
const hosts = Object.fromEntries(NAMES.map(name => [name, '127.0.0.1']))
const PASSWORD = 'the right one'

const inspector = createAuthority('Inspection CA of the Firm')
const sandbox = await startSandbox({ tls: authority.issue(...NAMES, '127.0.0.1') })
const { port } = new URL(sandbox.url)
const guarded = await startSquid({ users: { robot: PASSWORD }, hosts })
const strict = await startSquid({ deny: ['.github.test'], hosts })
const picky = await startSquid({ deny: ['uploads.github.test'], hosts })
const meddler = await startMeddlingProxy({
  certificate: inspector.issue(...NAMES, '127.0.0.1'),
  ca: authority.ca,
  address: '127.0.0.1',
})
const stranger = await startMeddlingProxy({
  certificate: authority.issue('www.example.com'),
  ca: authority.ca,
  address: '127.0.0.1',
  manner: { kind: 'intercept' },
})

const extra = `${await recoveryToml()}[[profiles]]
name = "job"
installation = "octo-org"
repositories = ["web"]
permissions = { contents = "read" }
allow = { users = ["${userInfo().username}"] }
`
writePassword(PASSWORD)
const good = withProxy({ url: guarded.url.replace('//', '//robot@'), password_file: passwordFile }, extra)
const appliance = await startProxied({
  toml: good,
  // The owner's browser finds the pages under an address.
  github: { url: sandbox.url, apiUrl: `https://api.github.test:${port}/api/v3` },
})
const bothCas = join(appliance.folder, 'both.pem')
writeFileSync(bothCas, authority.ca + inspector.ca)

test.before(async t => {
  const begun = await appliance.call('POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } })
  t.is(begun.status, 202)
  const { actAsOwner } = await import('../../src/sandbox/owner.ts')
  await actAsOwner({ formUrl: String(begun.body['url']), account: 'octo-org' })
  await appliance.until('connected')
  await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })
  await exportSnapshot(t, appliance)
})
test.after.always(async () => {
  await appliance.close()
  await Promise.all([guarded.stop(), strict.stop(), picky.stop(), meddler.close(), stranger.close(), sandbox.close()])
  inspector.remove()
  removeAuthority()
})

type Fault = {
  readonly name: string
  /** The configuration that brings it. */
  readonly toml: string | (() => Promise<string>)
  readonly before?: () => void
  readonly names: Naming
  readonly told: Told
}

const meddling = (manner: Manner, keys: Readonly<Record<string, string>> = {}): Pick<Fault, 'toml' | 'before'> => ({
  before: () => meddler.behave(manner),
  toml: withProxy({ url: meddler.url, ca_file: bothCas, ...keys }, extra),
})

const FAULTS: readonly Fault[] = [
  {
    name: 'a proxy that wants another password',
    before: () => writePassword('a wrong one'),
    toml: good,
    names: { layer: 'proxy', verdict: 'failed', subject: 'robot@', code: 'proxy-authentication', says: /407/ },
    told: { failure: 'proxy-authentication' },
  },
  {
    name: 'a proxy that forbids GitHub',
    toml: withProxy({ url: strict.url }, extra),
    names: { layer: 'proxy', verdict: 'failed', code: 'proxy-refused', says: /403/ },
    told: { failure: 'proxy-refused' },
  },
  {
    name: 'a proxy that is dead',
    toml: async () => withProxy({ url: `http://127.0.0.1:${await freePort()}` }, extra),
    names: { layer: 'proxy', verdict: 'failed', code: 'proxy-unreachable', says: /ECONNREFUSED/ },
    told: { failure: 'proxy-unreachable' },
  },
  {
    name: 'a proxy whose name nobody knows',
    toml: withProxy({ url: 'http://proxy.invalid:3128' }, extra),
    names: { layer: 'dns', verdict: 'failed', subject: 'proxy.invalid', code: 'dns' },
    told: { failure: 'dns' },
  },
  {
    name: 'no proxy, where the names of GitHub are not known',
    toml: withProxy({}, extra),
    names: { layer: 'dns', verdict: 'failed', subject: 'api.github.test', code: 'dns' },
    told: { failure: 'dns' },
  },
  {
    name: 'a proxy that answers with a page',
    ...meddling({ kind: 'page' }),
    names: { layer: 'proxy', verdict: 'failed', code: 'portal', says: /a page of its own/ },
    told: { failure: 'portal' },
  },
  {
    name: 'TLS that is inspected under a CA that is not trusted',
    ...meddling({ kind: 'intercept' }, { ca_file: authority.caFile }),
    names: {
      layer: 'tls',
      verdict: 'failed',
      subject: NAMES[0] ?? '',
      code: 'tls',
      says: /issued by Inspection CA of the Firm/,
    },
    told: { failure: 'tls' },
  },
  {
    name: 'a certificate of another host',
    toml: withProxy({ url: stranger.url }, extra),
    names: { layer: 'tls', verdict: 'failed', code: 'tls', says: /www\.example\.com/ },
    told: { failure: 'tls' },
  },
  {
    name: 'a proxy that cuts the handshake',
    ...meddling({ kind: 'cut-tunnel', afterBytes: 1 }),
    names: { layer: 'tls', verdict: 'failed', code: 'unreachable', says: /handshake .* broke off/ },
    told: { failure: 'unreachable' },
  },
  {
    name: 'a portal behind a CA that is trusted',
    ...meddling({ kind: 'portal' }),
    names: { layer: 'host', verdict: 'failed', code: 'portal', says: /without GitHub's request id/ },
    told: { failure: 'portal' },
  },
  {
    name: 'a proxy that cuts answers short',
    ...meddling({ kind: 'truncate', claims: 'more' }),
    names: { layer: 'host', verdict: 'failed', code: 'unreachable', says: /broke off/ },
    told: { failure: 'unreachable' },
  },
  {
    name: 'a proxy that cuts answers, and calls them whole',
    ...meddling({ kind: 'truncate', claims: 'whole' }),
    names: { layer: 'host', verdict: 'failed', code: 'github-unexpected', says: /cut or changed/ },
    told: { failure: 'github-unexpected' },
  },
]

for (const { name, toml, before, names, told } of FAULTS) {
  test.serial(name, async t => {
    const pid = appliance.pid()
    before?.()
    await reload(appliance, typeof toml === 'string' ? toml : await toml())
    try {
      await refresh(appliance)
      await assertTold(t, appliance, { state: 'connected', ...told })
      assertNames(t, await checkOf(appliance), names)
    } finally {
      writePassword(PASSWORD)
      await reload(appliance, good)
    }
    t.like(await refresh(appliance), { failed: [] })
    await assertAllWell(t, appliance, name)
    t.is(appliance.pid(), pid)
  })
}

test.serial('TLS that is inspected under a CA of [proxy] ca_file is named, and no fault', async t => {
  meddler.behave({ kind: 'intercept' })
  await reload(appliance, withProxy({ url: meddler.url, ca_file: bothCas }, extra))
  await assertAllWell(t, appliance, 'inspected')
  const { rows } = await checkOf(appliance)
  const [tls] = rows.filter(({ layer, subject }) => layer === 'tls' && subject?.startsWith('api.'))
  t.is(tls?.evidence, 'A private authority: issued by Inspection CA of the Firm, which [proxy] ca_file names.')
  await reload(appliance, good)
  await assertAllWell(t, appliance, 'not inspected')
})

test.serial('a host that only jobs need is a warning, and the proxy is not to blame', async t => {
  await reload(appliance, withProxy({ url: picky.url, exclude: ['127.0.0.1'] }, extra))
  const report = await checkOf(appliance)
  assertNames(t, report, {
    layer: 'host',
    verdict: 'warning',
    subject: 'uploads.github.test',
    says: /403 .*when asked for uploads\.github\.test.*The daemon does not need it/,
  })
  const [proxy] = report.rows.filter(({ layer }) => layer === 'proxy')
  t.regex(proxy?.evidence ?? '', /^It opened the way to 1 of 2 hosts; 1 more is excluded from it/)
  await reload(appliance, good)
  await assertAllWell(t, appliance, 'allowed')
})
