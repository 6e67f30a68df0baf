// What is proven of a bundle away from its machine.

import test from 'ava'
import { Secret } from '../src/domain/secret.ts'
import { readPrivateKey } from '../src/github/app-jwt.ts'
import { createClock } from '../src/platform/clock.ts'
import { parseConfig } from '../src/platform/config.ts'
import { proveBundle } from '../src/proof.ts'
import { writeBundle } from '../src/snapshot/bundle.ts'
import { LIVE, optionsFor, TEST_PEM } from './snapshot/samples.ts'
import { silentLog } from './store/samples.ts'
import { failureOf } from './support/fakes.ts'

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
