// The main job on real sockets: a token for those that the policy names, good at GitHub for what was asked, and for nothing else.

import { chmodSync, chownSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createAppliance, PROFILE } from '../support/appliance.ts'
import { enabled, NOBODY, readWith, requestCount, requestsSince, shell } from '../support/probes.ts'
import { findLeaks, findLeaksBelow, findLeaksInProc, type Needle } from '../support/leaks.ts'
import { createChecker } from '../support/openapi-answers.ts'
import { recordGitHub } from '../support/recording-github.ts'

const curlToken = (socket: string): string =>
  `curl -s --unix-socket ${socket} -X POST localhost/v1/tokens -H 'content-type: application/json' ` +
  `-d '{"repositories":["web"],"permissions":{"contents":"read"}}'`

test.serial("the issue's line of curl returns a token for the repository that it names, and for no other", async t => {
  const appliance = await enabled()
  try {
    const { code, stdout } = await shell(curlToken(join(appliance.runtime, 'token.sock')))
    t.is(code, 0)
    const { token, ...rest } = JSON.parse(stdout)
    t.is(await readWith(appliance, token, 'web'), 200)
    t.is(await readWith(appliance, token, 'api'), 404)
    t.deepEqual(rest.permissions, { contents: 'read', metadata: 'read' })
    t.deepEqual(rest.repositories, ['web'])
    t.is(rest.account, 'octo-org')
    const issue = await fetch(`${appliance.sandbox.apiUrl}/repos/octo-org/web/issues`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ title: 'not with this token' }),
    })
    t.is(issue.status, 403)
    t.is((await appliance.ask('GET', '/readyz')).status, 200)
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('another user gets nothing from token.sock, and does not reach admin.sock', async t => {
  const appliance = await enabled()
  try {
    // The folder is this test's own, and closed; the sockets' folder is open on a real machine.
    chmodSync(appliance.folder, 0o755)
    const [tokenSock, adminSock] = ['token.sock', 'admin.sock'].map(name => join(appliance.runtime, name))
    t.is(statSync(String(tokenSock)).mode & 0o777, 0o666)
    t.is(statSync(String(adminSock)).mode & 0o777, 0o660)
    t.is(statSync(appliance.state).mode & 0o777, 0o700)

    const asked = await shell(curlToken(String(tokenSock)), NOBODY)
    t.is(asked.code, 0)
    t.is(JSON.parse(asked.stdout).type, 'urn:ghconnect:problem:not-permitted')
    const status = await shell(`curl -s --unix-socket ${tokenSock} localhost/v1/status`, NOBODY)
    t.deepEqual(Object.keys(JSON.parse(status.stdout)).toSorted(), ['meaning', 'next', 'since', 'state', 'version'])
    const profiles = await shell(`curl -s --unix-socket ${tokenSock} localhost/v1/profiles`, NOBODY)
    t.deepEqual(JSON.parse(profiles.stdout), { profiles: [] })
    const COULD_NOT_CONNECT = 7
    t.is((await shell(`curl -s --unix-socket ${adminSock} localhost/v1/status`, NOBODY)).code, COULD_NOT_CONNECT)
    t.is((await shell(`curl -s --unix-socket ${tokenSock} localhost/metrics`, NOBODY)).code, 0)
    t.is((await appliance.ask('GET', '/metrics')).status, 403)
    t.is((await appliance.ask('DELETE', '/v1/connection')).status, 403)
    t.is((await appliance.call('GET', '/v1/status')).body['state'], 'connected')
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('without profiles token.sock serves nobody, root neither; a reload brings one into force', async t => {
  const appliance = await enabled('')
  try {
    const wanted = { repositories: ['web'], permissions: { contents: 'read' } }
    const denied = await appliance.ask('POST', '/v1/tokens', wanted)
    t.is(denied.status, 403)
    t.is(denied.body['type'], 'urn:ghconnect:problem:not-permitted')
    t.is((await appliance.call('POST', '/v1/tokens', wanted)).status, 200)
    appliance.configure(PROFILE)
    appliance.signal('SIGHUP')
    await appliance.logged(/the configuration was read again/)
    t.is((await appliance.ask('POST', '/v1/tokens', wanted)).status, 200)
    t.is((await appliance.ask('POST', '/v1/tokens', { permissions: { contents: 'write' } })).status, 403)
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('a restart keeps the tokens and asks GitHub for none', async t => {
  const appliance = await enabled()
  try {
    const wanted = { repositories: ['web'], permissions: { contents: 'read' } }
    const before = await appliance.ask('POST', '/v1/tokens', wanted)
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const seen = await requestCount(appliance)
      await appliance.kill(signal)
      await appliance.start()
      const after = await appliance.ask('POST', '/v1/tokens', wanted)
      t.is(after.body['token'], before.body['token'], signal)
      const mints = (await requestsSince(appliance, seen)).filter(({ path }) => path.endsWith('/access_tokens'))
      t.deepEqual(mints, [], signal)
    }
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('no secret is in any file of the state folder, the log, the arguments or the environment', async t => {
  let target = ''
  const github = await recordGitHub(() => target)
  const appliance = await createAppliance({ github: { url: github.url, apiUrl: `${github.url}/api/v3` } })
  target = appliance.sandbox.url
  try {
    await appliance.start()
    await appliance.enable()
    const { body } = await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })
    await appliance.call('POST', '/v1/refresh')
    const conversion = JSON.parse(github.answers.find(({ path }) => path.includes('/conversions'))?.text ?? '{}')
    const minted = github.answers.filter(({ path }) => path.endsWith('/access_tokens')).map(a => JSON.parse(a.text))
    t.true(minted.length >= 2)
    t.true(minted.some(({ token }) => token === body['token']))
    const secrets: Needle[] = [
      ...String(conversion.pem)
        .split('\n')
        .filter(line => line.length === 64)
        .map((text, at) => ({ name: `line ${at} of the key`, text })),
      ...minted.map(({ token }, at) => ({ name: `token ${at}`, text: String(token) })),
      { name: 'client secret', text: String(conversion.client_secret) },
      { name: 'client id', text: String(conversion.client_id) },
      { name: 'App id', text: String(conversion.id) },
    ]
    t.true(secrets.length > 20)
    // The search finds what is there: as it is, and encoded at any offset.
    const planted = join(appliance.state, 'store', 'planted')
    for (const { name, text } of secrets) {
      writeFileSync(planted, `x${text}`)
      t.deepEqual(findLeaksBelow(appliance.state, secrets.slice()).length > 0, true, name)
    }
    writeFileSync(planted, Buffer.from(`xy${minted[0]?.token}`).toString('base64'))
    t.deepEqual(findLeaksBelow(appliance.state, secrets), [`${planted}: token 0`])
    rmSync(planted)

    const files = readdirSync(appliance.state, { recursive: true, encoding: 'utf8' })
    t.true(
      files.some(name => name.endsWith('store.db-wal')),
      'the WAL is looked into, too',
    )
    t.deepEqual(findLeaksBelow(appliance.state, secrets), [])
    const storeKey = { name: 'store key', text: readFileSync(join(appliance.folder, 'store.key')).toString('hex') }
    t.deepEqual(findLeaksInProc(appliance.pid(), [...secrets, storeKey]), [])
    t.deepEqual(findLeaks(Buffer.from(appliance.log()), [...secrets, storeKey]), [])
    await appliance.kill('SIGKILL')
    t.deepEqual(findLeaksBelow(appliance.state, secrets), [], 'after a kill')
    await appliance.start()
    await appliance.call('DELETE', '/v1/connection?wait=false')
    t.deepEqual(findLeaksBelow(appliance.state, secrets), [], 'after disable')
    t.deepEqual(findLeaks(Buffer.from(appliance.log()), [...secrets, storeKey]), [])
  } finally {
    await appliance.close()
    await github.close()
  }
})

test.serial('the memory of the daemon is closed to its own user, and goes into no core file', async t => {
  const appliance = await createAppliance({
    toml: '',
    wrap: command => ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', ...command],
  })
  try {
    for (const name of ['', 'run', 'store.key', 'config.toml']) chownSync(join(appliance.folder, name), NOBODY, NOBODY)
    await appliance.start()
    t.is(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${appliance.pid()}/status`, 'utf8'))?.[1], String(NOBODY))
    // The kernel gives these files to root where a process may not be dumped, and to its user where it may.
    t.is(statSync(`/proc/${appliance.pid()}/environ`).uid, 0)
    const read = await shell(`cat /proc/${appliance.pid()}/environ`, NOBODY)
    t.not(read.code, 0)
  } finally {
    await appliance.close()
  }
})

test.serial('both sockets describe themselves in OpenAPI, and answer as they say', async t => {
  const appliance = await enabled()
  try {
    const admin = createChecker((await appliance.call('GET', '/v1/openapi.json')).body)
    const token = createChecker((await appliance.ask('GET', '/v1/openapi.json')).body)
    t.true(token.operations.length < admin.operations.length)
    for (const name of token.operations) t.true(admin.operations.includes(name), name)
    for (const [call, { operations }] of [
      [appliance.call, admin],
      [appliance.ask, token],
    ] as const) {
      for (const operation of operations) {
        const [method = '', path = ''] = operation.split(' ')
        if (path === '/v1/events') continue
        // Without a body what wants one refuses, which is an answer of its own.
        const { status } = await call(method, operation === 'DELETE /v1/connection' ? `${path}?nonsense=1` : path)
        t.true(status < 500, `${operation} answers ${status}`)
        t.not(status, 404, operation)
      }
    }
    await appliance.call('POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } })
    await appliance.call('GET', '/nowhere')
    await appliance.call('DELETE', '/v1/connection?local=true')
    for (const [path, call] of [
      ['/readyz', appliance.ask],
      ['/v1/status', appliance.ask],
      ['/v1/status', appliance.call],
    ] as const)
      await call('GET', path)
    t.deepEqual(appliance.wrong, [])
    // The check is a check: another answer fails it.
    const wrong = { status: 200, headers: { 'content-type': 'application/json' }, text: '', body: { state: 7 } }
    t.not(admin.check({ method: 'GET', path: '/v1/status', answer: wrong }).length, 0)
  } finally {
    await appliance.close()
  }
})
