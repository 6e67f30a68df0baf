// The web server in front of the settings page: whom it vouches for, and that nobody else is taken for it.

import test from 'ava'
import { peerOf } from '../support/operations-rig.ts'
import { createWebRig, sessionOf, type WebRig } from '../support/web-rig.ts'

const rigFor = async (
  t: { teardown(end: () => Promise<void>): void },
  options?: Parameters<typeof createWebRig>[0],
) => {
  const rig = await createWebRig(options)
  t.teardown(() => rig.close())
  return rig
}

const FRONT = 33
const frontRig = async (t: Parameters<typeof rigFor>[0], uid: number): Promise<WebRig> =>
  rigFor(t, { settings: { bases: ['https://ghe.example.com:8443'], frontUid: FRONT }, peer: () => peerOf(uid) })
const FORWARDED = {
  host: 'localhost',
  'x-forwarded-user': 'alice',
  'x-forwarded-host': 'ghe.example.com:8443',
  'x-forwarded-proto': 'https',
  origin: 'https://ghe.example.com:8443',
  'sec-fetch-site': 'same-origin',
}

test('the web server in front vouches for its visitor, who signs in by a button', async t => {
  const rig = await frontRig(t, FRONT)
  const looked = await rig.send('/', { headers: FORWARDED })
  t.is(looked.status, 200)
  t.is(looked.headers['set-cookie'], undefined)
  t.regex(looked.text, /action="\/sign-in\/front"/)
  const session = sessionOf(await rig.send('/sign-in/front', { method: 'POST', headers: FORWARDED }), rig)
  t.regex(session.setCookie, /Secure/)
  const headers = { ...FORWARDED, cookie: session.cookie }
  t.is((await rig.send(`${session.prefix}/`, { headers })).status, 200)
  t.deepEqual(rig.audited().at(-1), { event: 'admin.request', detail: 'page: sign in by alice', uid: FRONT })
  const { 'x-forwarded-user': _, ...nobody } = headers
  for (const other of [{ ...headers, 'x-forwarded-user': 'bob' }, nobody])
    t.is((await rig.send(`${session.prefix}/`, { headers: other })).status, 401, 'the session is hers alone')
  t.is((await rig.send('/', { headers: { ...FORWARDED, 'x-forwarded-user': '<script>' } })).status, 400)
  t.is((await rig.send('/', { headers: { ...FORWARDED, 'x-forwarded-proto': 'http' } })).status, 421)
  t.is((await rig.send('/', { headers: { ...FORWARDED, 'x-forwarded-host': 'evil.example' } })).status, 421)
})

test('nobody else is believed: neither another user on the socket, nor anybody on a port', async t => {
  for (const peer of [peerOf(1_000), peerOf(0), undefined]) {
    const rig = await rigFor(t, {
      settings: { bases: ['https://ghe.example.com:8443'], frontUid: FRONT },
      peer: () => peer,
    })
    t.is((await rig.send('/', { headers: FORWARDED })).status, 421, 'the forwarded name does not count')
    const headers = { ...FORWARDED, host: 'ghe.example.com:8443' }
    const open = await rig.send('/', { headers })
    t.is(open.status, 200)
    t.notRegex(open.text, /sign-in\/front/)
    t.is((await rig.send('/sign-in/front', { method: 'POST', headers })).status, 401)
  }
})
