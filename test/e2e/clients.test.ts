// Real clients at their daily work against the sandbox, with no token of their own.

import { Octokit } from '@octokit/core'
import { paginateRest } from '@octokit/plugin-paginate-rest'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'ava'
import { callUnix } from '../support/unix-http.ts'
import { enabled, shell } from '../support/probes.ts'

const PROFILE = `[[profiles]]
name = "ci"
repositories = ["web", "docs-*"]
allow = { users = ["${userInfo().username}"] }
`

test.serial('gh works without a token in the job: the socket stands where the host of GitHub would', async t => {
  const appliance = await enabled(PROFILE)
  const socket = join(appliance.runtime, 'token.sock')
  const home = mkdtempSync(join(tmpdir(), 'ghconnect-gh-'))
  const { host } = new URL(appliance.sandbox.apiUrl)
  // gh insists on some token; the daemon drops it.
  const gh = (line: string) =>
    shell(
      `GH_CONFIG_DIR=${home} GH_HOST=${host} GH_ENTERPRISE_TOKEN=none GH_TOKEN= GH_NO_UPDATE_NOTIFIER=1 gh ${line} 2>&1`,
    )
  try {
    await gh(`config set http_unix_socket ${socket}`)
    const read = await gh('api repos/octo-org/web')
    t.regex(read.stdout, /"full_name":"octo-org\/web"/, read.stdout)
    for (const title of ['a', 'b', 'c']) {
      const made = await gh(`api repos/octo-org/web/issues -f title=${title} --jq .title`)
      t.is(made.stdout, `${title}\n`)
    }
    const listed = await gh(`api --paginate 'repos/octo-org/web/issues?per_page=2' --jq '.[].title'`)
    t.is(listed.stdout, 'c\nb\na\n')
    const denied = await gh('api installation/token -X DELETE')
    t.not(denied.code, 0)
    t.regex(denied.stdout, /the daemon alone ends it/)
    const call = (headers: Record<string, string>, path = '/api/v3/repos/octo-org/web') =>
      callUnix(socket, { method: 'GET', path, headers: { host, ...headers } })
    t.is((await call({ authorization: 'Bearer none' })).status, 200)
    for (const name of ['origin', 'referer', 'sec-fetch-mode', 'Sec-Fetch-Dest'])
      t.is((await call({ [name]: 'x' })).body['type'], 'urn:ghconnect:problem:browser-refused', name)
    t.is((await call({}, '/v1/status')).body['type'], 'urn:ghconnect:problem:unknown-route')
    const other = await callUnix(join(appliance.runtime, 'admin.sock'), {
      method: 'GET',
      path: '/api/v3/meta',
      headers: { host },
    })
    t.is(other.body['type'], 'urn:ghconnect:problem:browser-refused', 'token.sock alone stands in for GitHub')
  } finally {
    rmSync(home, { recursive: true })
    await appliance.close()
  }
})

const GO = resolve(import.meta.dirname, '../clients/go-github')
const PYTHON = `
import github, sys
client = github.Github(base_url=sys.argv[1], retry=None)
repository = client.get_repo("octo-org/web", lazy=True)
issues = [issue.number for issue in repository.get_issues()]
root = [entry.path for entry in repository.get_contents("")]
print(len(issues), "issues,", len(root), "entries")
`

/** For clients that know no unix socket. */
const relayTo = async (socket: string) => {
  const server = createServer(incoming => {
    const onward = connect(socket)
    incoming.pipe(onward).pipe(incoming)
    incoming.on('error', () => onward.destroy())
    onward.on('error', () => incoming.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { url: `http://localhost:${address.port}/v1/github`, close: () => void server.close() }
}

test.serial(
  '250 issues under a profile with patterns: PyGithub, go-github, Octokit, gh and curl list them all',
  async t => {
    const appliance = await enabled(PROFILE)
    const socket = join(appliance.runtime, 'token.sock')
    const relay = await relayTo(socket)
    const home = mkdtempSync(join(tmpdir(), 'ghconnect-clients-'))
    try {
      for (let number = 1; number <= 250; number++)
        await callUnix(socket, {
          method: 'POST',
          path: '/v1/github/repos/octo-org/web/issues',
          body: { title: `${number}` },
        })
      const python = await shell(`/usr/bin/python3 -c '${PYTHON}' ${relay.url} 2>&1`)
      t.is(python.stdout, '250 issues, 1 entries\n')

      const go = await shell(`cd ${GO} && go run . ${socket} octo-org web 2>&1`)
      t.regex(go.stdout, /^250 issues, 1 entries$/m)

      const PagedOctokit = Octokit.plugin(paginateRest)
      const octokit = new PagedOctokit({ baseUrl: relay.url })
      const issues = await octokit.paginate('GET /repos/{owner}/{repo}/issues', {
        owner: 'octo-org',
        repo: 'web',
        per_page: 100,
      })
      t.is(new Set(issues.map(({ number }) => number)).size, 250)

      const { host } = new URL(appliance.sandbox.apiUrl)
      const gh = `GH_CONFIG_DIR=${home} GH_HOST=${host} GH_ENTERPRISE_TOKEN=none gh`
      const listed = await shell(
        `${gh} config set http_unix_socket ${socket}; ${gh} api --paginate repos/octo-org/web/issues --jq '.[].number' | wc -l`,
      )
      t.is(listed.stdout.trim(), '250')

      let curled = 0
      let path: string | undefined = '/v1/github/repos/octo-org/web/issues?per_page=100'
      while (path !== undefined) {
        const page = await shell(`curl -s -i --unix-socket ${socket} 'localhost${path}'`)
        curled += page.stdout.match(/"node_id":"I_/g)?.length ?? 0
        path = /<http:\/\/localhost([^>]+)>; rel="next"/.exec(page.stdout)?.[1]
      }
      t.is(curled, 250)
    } finally {
      relay.close()
      await appliance.close()
      rmSync(home, { recursive: true, force: true })
    }
  },
)
