// What a page weighs with all that it loads.

import { gzipSync } from 'node:zlib'
import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { OPEN_ROUTES } from '../../src/page/model.ts'
import { connectedRig } from '../support/operations-rig.ts'
import { createWebRig } from '../support/web-rig.ts'

const MAX_BYTES = 100 * 1024

test('each page weighs at most 100 KB, all told, and loads nothing but the three files', async t => {
  const { rig } = await connectedRig()
  for (let times = 0; times < 40; times++)
    rig.audit.owe({ event: 'token.grant', profile: 'actions', scope: `scope ${times}` })
  const profiles = Array.from({ length: 30 }, (_, at) => ({
    name: `profile-${at}`,
    repositories: ['web', 'infra-*'],
    permissions: { contents: 'read' as const },
    allow: { users: [{ name: 'git', id: 998 }], groups: [], units: [`job-${at}.service`] },
  }))
  const open = await createWebRig({ rig, settings: { policy: { profiles } } })
  const closed = await createWebRig({ closed: new Failure('locked', 'no key') })
  const files = Object.values(OPEN_ROUTES).filter(path => /\.\w+$/.test(path))
  t.is(files.length, 3)
  for (const web of [open, closed]) {
    t.teardown(() => web.close())
    const session = await web.signIn()
    for (const path of ['/', '/keys', '/check', '/import', '/disable']) {
      const { text, status } = await session.get(path)
      t.is(status, 200, path)
      const loaded = [...text.matchAll(/<(?:link|script)[^>]* (?:href|src)="([^"]+)"/g)].map(([, file]) => file)
      t.is(new Set<unknown>(loaded).symmetricDifference(new Set(files)).size, 0, path)
      const bodies = await Promise.all(files.map(async file => (await web.send(file)).text))
      const bytes = [text, ...bodies].reduce((sum, body) => sum + gzipSync(body).length, 0)
      t.true(bytes <= MAX_BYTES, `${path}: ${bytes} bytes`)
      if (web === open && path === '/') t.log(`the overview: ${(bytes / 1024).toFixed(1)} KB`)
    }
  }
})

test('the files are kept by the browser, and asked for again when they changed', async t => {
  const web = await createWebRig()
  t.teardown(() => web.close())
  for (const path of [OPEN_ROUTES.style, OPEN_ROUTES.script, OPEN_ROUTES.icon]) {
    const first = await web.send(path)
    t.is(first.status, 200)
    t.is(first.headers['cache-control'], 'no-cache')
    const again = await web.send(path, { headers: { 'if-none-match': first.headers.etag ?? '' } })
    t.is(again.status, 304)
    t.is(again.text, '')
    t.truthy(again.headers['content-security-policy'])
  }
})
