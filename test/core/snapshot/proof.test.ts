// What is proven of a bundle away from its machine.

import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import test from 'ava'
import { Secret } from '../../../src/protocol/secret.ts'
import { readPrivateKey } from '../../../src/core/github/app-key.ts'
import { createClock } from '../../../src/service/clock.ts'
import { parseConfig } from '../../../src/service/config.ts'
import { NO_PROXY } from '../../../src/core/offline.ts'
import { proveBundle, summarize } from '../../../src/core/snapshot/proof.ts'
import { writeBundle } from '../../../src/core/snapshot/bundle.ts'
import { appBody } from '../github/bodies.ts'
import { DISCONNECTED, LIVE, optionsFor, RECOVERY, SIGNER, TEST_PEM } from './samples.ts'
import { silentLog } from '../store/samples.ts'
import { createFakeClock, failureOf } from '../../support/fakes.ts'

test('the key of a bundle of another GitHub is not tried with the configured one', async t => {
  const settings = { github_url: 'https://octo.ghe.com', api_url: 'https://api.octo.ghe.com' }
  const keys = [{ fingerprint: readPrivateKey(TEST_PEM).fingerprint, pem: new Secret(TEST_PEM), addedAtMs: 0 }]
  const bundle = await writeBundle({ ...LIVE, keys, settings }, optionsFor([]))
  const surroundings = { hostname: 'ghe.example.com', findUser: () => 0, findGroup: () => 0 }
  const asked: string[] = []
  const deps = {
    clock: createClock(),
    log: silentLog,
    config: parseConfig('', { file: 'config.toml', surroundings }),
    proxy() {
      asked.push('proxy')
      return { unknown: 'unknown here' }
    },
  }
  const refused = await failureOf(proveBundle({ bundle, againstGithub: true }, deps))
  t.is(refused.code, 'bundle-other-github')
  t.regex(refused.message, /belongs to https:\/\/octo\.ghe\.com .* names https:\/\/github\.com /)
  t.deepEqual(asked, [])
  t.is((await proveBundle({ bundle, againstGithub: false }, deps)).summary.state, 'connected')
})

const DEPS = {
  clock: createFakeClock(),
  log: silentLog,
  config: parseConfig('', {
    file: 'config.toml',
    surroundings: { hostname: 'h', findUser: () => 0, findGroup: () => 0 },
  }),
  proxy: () => ({ settings: NO_PROXY }),
}
const SETTINGS = { github_url: 'https://github.com', api_url: 'https://api.github.com' }
const KEY = { fingerprint: readPrivateKey(TEST_PEM).fingerprint, pem: new Secret(TEST_PEM), addedAtMs: 0 }

test('a bundle is told by its header, its size and its digest, and without a key by these alone', async t => {
  const bundle = await writeBundle(LIVE, optionsFor([RECOVERY.recipient]))
  t.deepEqual(summarize(bundle), {
    format: 1,
    created: '2026-01-02T03:04:05.006Z',
    state: 'connected',
    generation: 7,
    hostname: 'ghe.example.com',
    signer: SIGNER.publicKey,
    recipients: [RECOVERY.recipient],
    sealed: true,
    size: bundle.length,
    sha256: createHash('sha256').update(bundle).digest('hex'),
    account: { type: 'organization', login: 'octo-org' },
    app_id: 918_273,
  })
  const plain = summarize(await writeBundle(DISCONNECTED, optionsFor([])))
  t.false(plain.sealed)
  t.false('account' in plain || 'app_id' in plain)
})

test('a proxy that only the daemon knows skips the question to GitHub, and says so', async t => {
  const bundle = await writeBundle({ ...LIVE, keys: [KEY], settings: SETTINGS }, optionsFor([]))
  const proof = await proveBundle(
    { bundle, againstGithub: true },
    { ...DEPS, proxy: () => ({ unknown: 'run it with sudo' }) },
  )
  t.is(proof.github_skipped, 'run it with sudo')
  t.false('github' in proof)
})

test('GitHub is asked whose key it is', async t => {
  let id = 918_273
  const server = createServer((_incoming, outgoing) =>
    outgoing
      .writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'x-github-request-id': 'A:1' })
      .end(JSON.stringify(appBody({ id }))),
  )
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
  const address = server.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const config = { ...DEPS.config, github: { ...DEPS.config.github, url, apiUrl: url } }
  const deps = { ...DEPS, clock: createClock(), config }
  const settings = { github_url: url, api_url: url }
  const bundle = await writeBundle({ ...LIVE, keys: [KEY], settings }, optionsFor([]))
  t.is((await proveBundle({ bundle, againstGithub: true }, deps)).github, 'ghe-example-com')
  id = 7
  const other = await failureOf(proveBundle({ bundle, againstGithub: true }, deps))
  t.is(other.code, 'key-mismatch')
  t.regex(other.message, /signs for App 7, and the bundle is of App 918273/)
  const never = await writeBundle({ ...DISCONNECTED, settings }, optionsFor([]))
  t.is((await failureOf(proveBundle({ bundle: never, againstGithub: true }, deps))).code, 'not-connected')
})
