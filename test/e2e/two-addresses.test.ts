// Pages and API at two addresses: of one GitHub they work, of two GitHubs nothing is begun.

import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'ava'
import { startSandbox } from '../../src/sandbox/server.ts'
import { createAppliance } from '../support/appliance.ts'
import { runCli } from '../support/cli-process.ts'

test.serial('pages and API of two sandboxes: enable is refused, and no App is made', async t => {
  const [pages, api] = await Promise.all([startSandbox({}), startSandbox({})])
  const appliance = await createAppliance({ github: { url: pages.url, apiUrl: api.apiUrl } })
  try {
    await appliance.start()
    const { code, stdout, stderr } = await runCli(appliance, [
      'enable',
      '--organization',
      'octo-org',
      '--no-wait',
      '--without-recovery-key',
    ])
    t.is(code, 78)
    t.is(stdout, '')
    for (const address of [pages.url, api.apiUrl, api.url]) t.true(stderr.includes(address), stderr)
    t.true(stderr.includes(`Set github.url to ${api.url}, or github.api_url to the API of ${pages.url}`), stderr)
    t.is((await appliance.call('GET', '/v1/status')).body['state'], 'disconnected')
    for (const { url } of [pages, api]) {
      t.like(await (await fetch(`${url}/_sandbox/state`)).json(), { apps: [] })
    }
  } finally {
    await appliance.close()
    await Promise.all([pages.close(), api.close()])
  }
})

test.serial('one sandbox with its API behind another port: enable leads to a token', async t => {
  const sandbox = await startSandbox({})
  const { hostname, port, host } = new URL(sandbox.url)
  const front = createServer((incoming, outgoing) => {
    const { url: path, method, headers } = incoming
    const passed = request({ hostname, port, path, method, headers: { ...headers, host } }, answer => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    passed.on('error', () => outgoing.destroy())
    incoming.pipe(passed)
  })
  await new Promise<void>(resolve => front.listen(0, '127.0.0.1', resolve))
  const address = front.address() as AddressInfo
  const appliance = await createAppliance({
    github: { url: sandbox.url, apiUrl: `http://127.0.0.1:${address.port}/api/v3` },
  })
  try {
    await appliance.start()
    await appliance.enable()
    t.is((await appliance.call('POST', '/v1/tokens', { repositories: ['web'] })).status, 200)
  } finally {
    await appliance.close()
    front.closeAllConnections()
    front.close()
    await sandbox.close()
  }
})
