// The settings page on a unix socket, with real processes of other users before it: one is the front, the others are nobody.

import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { AuditAnswer } from '../../src/protocol/wire-policy.ts'
import { type Appliance, createAppliance, PROFILE } from '../support/appliance.ts'
import { NOBODY, runDaemon, shell } from '../support/probes.ts'

const PUBLIC = 'https://ghe.example.com:8443'
/** Debian's own, on every machine. */
const FRONT = 33

let appliance: Appliance
let folder: string
let socket: string
test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ghconnect-front-'))
  socket = join(folder, 'web.sock')
  const toml = `public_url = "${PUBLIC}"\nfront_user = "www-data"\n${PROFILE}`
  appliance = await createAppliance({ listen: `unix:${socket}`, toml })
  await shell(`chmod 755 ${folder}`)
  await appliance.start()
})
test.after.always(async () => {
  await appliance.close()
  rmSync(folder, { recursive: true, force: true })
})

type Sent = {
  readonly path: string
  readonly as?: number | undefined
  readonly headers?: readonly string[]
  readonly post?: string
}

/** As `status headers`. */
const curl = async ({
  path,
  as,
  headers = [],
  post,
}: Sent): Promise<{ status: number; head: string; text: string }> => {
  const options = headers.map(text => `-H '${text}'`).join(' ')
  const data = post === undefined ? '' : `-X POST --data '${post}'`
  const line = `curl -s -i --unix-socket ${socket} ${options} ${data} 'http://localhost${path}'`
  const { stdout } = await shell(line, as)
  const [head = '', ...rest] = stdout.split('\r\n\r\n')
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), head, text: rest.join('\r\n\r\n') }
}

const BROWSER = [`Origin: ${PUBLIC}`, 'Sec-Fetch-Site: same-origin']
const forwarded = (user: string): string[] => [
  `X-Forwarded-User: ${user}`,
  `X-Forwarded-Host: ${new URL(PUBLIC).host}`,
  'X-Forwarded-Proto: https',
  ...BROWSER,
]
const signIn = async (user: string): Promise<{ prefix: string; cookie: string; status: number }> => {
  const { head, status } = await curl({ path: '/sign-in/front', as: FRONT, headers: forwarded(user), post: '' })
  const cookie = /^set-cookie: (ghconnect_session=[^;]+)/im.exec(head)?.[1] ?? ''
  return { status, cookie, prefix: /^location: (\/s\/[0-9a-f]+)\/\r?$/im.exec(head)?.[1] ?? '' }
}

test.serial('the front signs its visitor in, and each deed bears his name', async t => {
  const { prefix, cookie, status } = await signIn('alice')
  t.is(status, 303)
  const headers = [...forwarded('alice'), `Cookie: ${cookie}`]
  const page = await curl({ path: `${prefix}/`, as: FRONT, headers })
  t.is(page.status, 200)
  t.regex(page.head, /content-security-policy: [^\n]*frame-ancestors 'none'/i)
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const fields = `csrf=${csrf}&type=organization&login=octo-org&terms=on&without_recovery_key=on`
  t.is((await curl({ path: `${prefix}/enable`, as: FRONT, headers, post: fields })).status, 303)
  t.is((await appliance.call('GET', '/v1/status')).body['state'], 'awaiting-app')
  const { rows } = AuditAnswer.parse((await appliance.call('GET', '/v1/audit')).body)
  const asked = rows.filter(row => row.event === 'admin.request').map(({ detail, uid }) => `${uid} ${detail}`)
  t.true(asked.includes(`${FRONT} page: sign in by alice`))
  t.true(asked.includes(`${FRONT} page: enable by alice`))
  const other = [...forwarded('bob'), `Cookie: ${cookie}`]
  t.is((await curl({ path: `${prefix}/`, as: FRONT, headers: other })).status, 401)
})

test.serial('the same headers from any other user of the machine are worth nothing, root included', async t => {
  const { prefix, cookie } = await signIn('alice')
  for (const as of [NOBODY, undefined]) {
    t.is((await curl({ path: '/', as, headers: forwarded('alice') })).status, 421, 'localhost is no name of this page')
    const host = [...forwarded('alice'), `Host: ${new URL(PUBLIC).host}`]
    t.is((await curl({ path: '/sign-in/front', as, headers: host, post: '' })).status, 401)
    const stolen = [...host, `Cookie: ${cookie}`]
    t.is((await curl({ path: `${prefix}/`, as, headers: stolen })).status, 401, 'nor with her cookie')
  }
})

test.serial('a one-time link works by way of the front, too, and for whoever reaches the socket himself', async t => {
  const { body } = await appliance.call('POST', '/v1/ui-links')
  const link = new URL(String(body['url']))
  t.is(link.origin, PUBLIC)
  const headers = [`Host: ${link.host}`, ...BROWSER]
  const answer = await curl({ path: link.pathname, as: NOBODY, headers, post: '' })
  t.is(answer.status, 303)
  t.regex(
    answer.head,
    /set-cookie: ghconnect_session=[^;]+; Path=\/s\/[0-9a-f]{32}; HttpOnly; Secure; SameSite=Strict/i,
  )
  t.is((await curl({ path: link.pathname, as: NOBODY, headers, post: '' })).status, 401)
})

test.serial(
  'the socket outlives no daemon, is taken over from a dead one, and is everybody’s to connect to',
  async t => {
    t.is(statSync(socket).mode & 0o777, 0o666)
    await appliance.kill('SIGKILL')
    await appliance.start()
    t.is((await curl({ path: '/', as: FRONT, headers: forwarded('alice') })).status, 200)
    const second = await createAppliance({ listen: `unix:${socket}`, toml: `public_url = "${PUBLIC}"\n` })
    t.teardown(() => second.close())
    const { code, log } = await second.startAndFail()
    t.is(code, 69)
    t.regex(log, /web\.sock/)
  },
)

test.serial('a front that does not exist is an error of the configuration', async t => {
  const wrong = await createAppliance({
    listen: `unix:${join(folder, 'other.sock')}`,
    toml: `public_url = "${PUBLIC}"\nfront_user = "no-such-user"\n`,
  })
  t.teardown(() => wrong.close())
  const { code, output } = await runDaemon(wrong.configFile)
  t.is(code, 78)
  t.regex(output, /web\.front_user: there is no such name: no-such-user/)
})
