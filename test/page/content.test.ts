// What the pages say and offer: for each state its next step, and in each box what the model holds, at its bounds as well.

import test from 'ava'
import type { Frame, PageModel, Problem } from '../../src/page/model.ts'
import { CATALOGUE } from '../../src/protocol/errors.ts'
import { isoTime } from '../../src/protocol/wire.ts'
import { checkPage } from '../../src/page/views/check.ts'
import { disablePage } from '../../src/page/views/disable.ts'
import { keysPage } from '../../src/page/views/keys.ts'
import { overviewPage } from '../../src/page/views/overview.ts'
import { confirmPage, problemPage } from '../../src/page/views/plain.ts'
import { importPage } from '../../src/page/views/setup.ts'
import {
  checkModel,
  confirmModel,
  connectedModel,
  errorFrame,
  importModel,
  keysModel,
  NOW_MS,
  overviewModels,
  problem,
  warnings,
} from '../support/page-models.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const CONNECTED = connectedModel('en')
const PREFIX = '/s/5f2c9a'

const overviewOf = async (change: Partial<PageModel> = {}, name = 'connected'): Promise<string> =>
  String(await overviewPage({ ...(overviewModels('en')[name] ?? CONNECTED), ...change }))
/** The section of this id. */
const sectionOf = (text: string, id: string): string =>
  new RegExp(`<section class="section" id="${id}"[^]*?</section>`).exec(text)?.[0] ?? ''
const sectionsOf = (text: string): string[] =>
  [...text.matchAll(/<section class="section" id="([^"]+)"/g)].map(([, id = '']) => id)
/** As a person reads it. */
const wordsOf = (text: string): string =>
  text
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
const formsOf = (text: string): string[] =>
  [...text.matchAll(/<form[^>]*action="([^"]+)"/g)].map(([, action = '']) => action.replace(PREFIX, ''))
const hrefsOf = (text: string): string[] =>
  [...text.matchAll(/<a [^>]*href="([^"]+)"/g)].map(([, href = '']) => href.replace(PREFIX, ''))

test('the frame marks where somebody is, tells the state to the script, and lets sign out', async t => {
  const pages = {
    '/': overviewPage(CONNECTED),
    '/check': checkPage(checkModel('en')),
    '/keys': keysPage(keysModel('en')),
  }
  for (const [path, page] of Object.entries(pages)) {
    const text = String(await page)
    t.regex(text, new RegExp(`href="${PREFIX}${path}" aria-current="page"`), path)
    t.is(text.match(/aria-current="page"/g)?.length, 1)
    t.true(text.includes(`data-page="${PREFIX}${path}" data-events="${PREFIX}/events" data-state="connected"`), path)
    t.true(formsOf(text).includes('/sign-out'))
    t.true(text.includes('data-now="2026-11-22T14:36:00.000Z"'))
    t.true(text.includes('ghconnectd 0.1.0'))
  }
  const text = await overviewOf({ notice: 'key-added', path: '/s/5f2c9a/keys' })
  t.regex(text, /role="status"[^]*The private key was added\. GitHub accepts it\./)
  t.true(text.includes('href="/s/5f2c9a/keys?lang=ja"'))
  t.regex(text, /<title>GitHub Connect · ghe\.example\.com<\/title>/)
  t.regex(String(await keysPage(CONNECTED)), /<title>Keys and recovery · GitHub Connect · ghe\.example\.com<\/title>/)
})

test('a check is offered where there is an App whose facts are worth it', async t => {
  const offers = async (name: string): Promise<boolean> =>
    (/<div class="page-head">[^]*?<\/div>/.exec(await overviewOf({}, name))?.[0] ?? '').includes(`${PREFIX}/check`)
  for (const name of ['connected', 'suspended', 'blocked']) t.true(await offers(name), name)
  for (const name of ['not-enabled', 'awaiting-installation', 'quarantined', 'disconnecting-revoke', 'locked'])
    t.false(await offers(name), name)
})

test('setting up leads on from where it stands', async t => {
  const app = await overviewOf({}, 'awaiting-app')
  t.true(hrefsOf(sectionOf(app, 'progress')).includes('/enable'))
  t.regex(wordsOf(app), /Good until : 2026-11-22 15:27 UTC|Good until: 2026-11-22 15:27 UTC/)
  t.true(formsOf(app).includes('/cancel'))
  t.regex(wordsOf(app), /Connecting to octo-org\./)
  const enterprise = sectionOf(await overviewOf({}, 'awaiting-app-enterprise'), 'progress')
  t.deepEqual(hrefsOf(enterprise), ['/import'])
  const converting = sectionOf(await overviewOf({}, 'awaiting-app-converting'), 'progress')
  t.deepEqual(hrefsOf(converting), [])
  t.regex(converting, /the daemon keeps asking for an hour/)
  const installing = sectionOf(await overviewOf({}, 'awaiting-installation'), 'progress')
  t.deepEqual(hrefsOf(installing), ['https://github.com/apps/ghe-example-com/installations/new'])
  t.regex(installing, /step-done[^]*step-active" aria-current="step"[^]*step-pending/)
  const hushed = await overviewOf({ warnings }, 'awaiting-app')
  t.notRegex(hushed, /No recovery key exists/)
  t.regex(hushed, /The web proxy cannot be reached/)
})

test('the wait for the first token is shown for ten minutes, until there was one', async t => {
  const shows = async (change: Partial<PageModel>): Promise<boolean> =>
    sectionsOf(await overviewOf(change, 'connected-first-token')).includes('progress')
  t.true(await shows({ since: isoTime(NOW_MS - 10 * MINUTE_MS + 1) }))
  t.false(await shows({ since: isoTime(NOW_MS - 10 * MINUTE_MS) }))
  t.false(await shows({ tokens: { live: 0, last_minted_at: isoTime(NOW_MS) } }))
  t.false(await shows({ tokens: { live: 1 } }))
  const { last_failure: _, ...waiting } = overviewModels('en')['connected-first-token'] ?? CONNECTED
  const active = sectionOf(String(await overviewPage(waiting)), 'progress')
  t.regex(active, /step-done[^]*step-done[^]*step-active" aria-current="step"/)
  t.deepEqual(formsOf(active), [])
  const failed = sectionOf(await overviewOf({}, 'connected-first-token'), 'progress')
  t.deepEqual(formsOf(failed), ['/refresh'])
  t.regex(failed, /connect ETIMEDOUT/)
  t.regex(failed, /step-failed/)
})

test('enabling begins from a form that keeps what was typed, and says what has to be there first', async t => {
  const text = await overviewOf({}, 'not-enabled')
  t.regex(text, /value="organization" id="type-organization" checked/)
  t.regex(text, /name="without_recovery_key" required/)
  t.regex(text, /name="terms" required/)
  const withKey = await overviewOf({ recovery_recipients: ['age1x'] }, 'not-enabled')
  t.notRegex(withKey, /without_recovery_key/)
  const again = await overviewOf({}, 'not-enabled-again')
  t.regex(again, /value="enterprise" id="type-enterprise" checked/)
  t.is(again.match(/ checked/g)?.length, 1)
  t.regex(again, /name="login" value="octo-corp"/)
  t.regex(again, /The last connection ended:[^]*Nobody finished enabling for octo-org within the hour\./)
  t.notRegex(text, /The last connection ended/)
  t.regex(wordsOf(sectionOf(text, 'does')), /web proxy http:\/\/ghconnect@proxy\.example\.com:3128/)
  t.regex(
    wordsOf(sectionOf(await overviewOf({ proxy: undefined }, 'not-enabled'), 'does')),
    /no web proxy is configured/,
  )
  const before = async (offsetSeconds: number): Promise<string> =>
    wordsOf(
      sectionOf(
        await overviewOf({ hosts: ['a.example'], clock_offset_seconds: offsetSeconds }, 'not-enabled'),
        'before',
      ),
    )
  for (const off of [30, -30.4]) t.regex(await before(off), /clock of this machine is 30 seconds off/)
  t.regex(
    await before(29.9),
    /a\.example .*admits the address from which this machine calls out.*clock of this machine is right/,
  )
  t.regex(wordsOf(sectionOf(text, 'data')), /Contents Read-only .*Pull requests Read and write/)
})

test('a disable names what will go, asks for the account, and calls nobody where nobody can be called', async t => {
  const disable = async (change: Partial<PageModel> = {}): Promise<string> =>
    String(await disablePage({ ...CONNECTED, ...change }))
  const text = await disable()
  t.regex(
    wordsOf(text),
    /14 live tokens are revoked ghe-example-com is uninstalled from 2 accounts its private key is destroyed/,
  )
  t.regex(text, /data-confirm="octo-org"/)
  t.deepEqual(formsOf(text), ['/sign-out', '/disable'])
  const local = (page: string): boolean => /name="local" checked/.test(page)
  t.false(local(text))
  for (const change of [{ state: 'app-deleted' }, { state: 'quarantined' }, { typed: { local: 'on' } }] as const)
    t.true(local(await disable(change)), JSON.stringify(change))
})

test('the steps of a disable are shown as they are done, and its last one can be skipped', async t => {
  const at = async (step: 'revoke' | 'uninstall' | 'delete-app', change: Partial<PageModel> = {}): Promise<string> =>
    sectionOf(
      await overviewOf({ disabling: { step, deadline: isoTime(NOW_MS + DAY_MS) }, ...change }, 'disconnecting-delete'),
      'progress',
    )
  const states = (text: string): string[] =>
    [...text.matchAll(/class="step step-(\w+)"/g)].map(([, state = '']) => state)
  t.deepEqual(states(await at('revoke')), ['done', 'active', 'pending', 'pending', 'pending'])
  t.deepEqual(states(await at('uninstall')), ['done', 'done', 'active', 'pending', 'pending'])
  const last = await at('delete-app')
  t.deepEqual(states(last), ['done', 'done', 'done', 'active', 'pending'])
  t.deepEqual(formsOf(last), ['/disable/finish'])
  t.deepEqual(hrefsOf(last), ['https://github.com/organizations/octo-org/settings/apps/ghe-example-com/advanced'])
  t.regex(wordsOf(last), /At the latest the key is destroyed on: 2026-11-23 14:36 UTC/)
  t.deepEqual(formsOf(await at('uninstall')), [])
  t.notRegex(await at('revoke'), /tried again by itself/)
  t.regex(await at('revoke', { warnings }), /tried again by itself/)
})

test('keys are told with their age and what GitHub thinks of them, and the last one stays', async t => {
  const keys = async (change: Partial<PageModel> = {}): Promise<string> =>
    String(await keysPage({ ...CONNECTED, ...change }))
  const two = String(await keysPage(keysModel('en')))
  t.is(formsOf(two).filter(action => action === '/keys/retire').length, 2)
  t.is(two.match(/Older than a year/g)?.length, 1)
  t.is(two.match(/Rejected by GitHub/g)?.length, 1)
  const aged = async (ms: number): Promise<boolean> =>
    /Older than a year/.test(
      await keys({ keys: CONNECTED.keys.map(key => ({ ...key, added_at: isoTime(NOW_MS - ms) })) }),
    )
  t.false(await aged(365 * DAY_MS - 1))
  t.true(await aged(365 * DAY_MS))
  const one = await keys()
  t.false(formsOf(one).includes('/keys/retire'))
  t.true(formsOf(one).includes('/keys'))
  t.true(hrefsOf(one).includes('https://github.com/organizations/octo-org/settings/apps/ghe-example-com'))
  t.regex(wordsOf(sectionOf(one, 'recovery')), /age1x4q8w0/)
  t.notRegex(one, /There is no recovery key/)
  t.regex(await keys({ recovery_recipients: [] }), /There is no recovery key/)
  t.regex(await keys({ keys: [] }), /No private key is stored/)
  const { app: _, ...without } = CONNECTED
  t.deepEqual(sectionsOf(String(await keysPage(without))), ['recovery'])
  t.is(formsOf(one).filter(action => action === '/recovery-key').length, 2, 'made here, or by hand')
})

test('the oldest token is drawn by its age, within its life', async t => {
  const tokens = async (change: Partial<PageModel['tokens']>): Promise<string> =>
    sectionOf(await overviewOf({ tokens: { ...CONNECTED.tokens, ...change } }), 'tokens')
  const text = await tokens({})
  t.regex(wordsOf(text), /14 live tokens .*17 of 60 minutes used/)
  t.regex(
    text,
    /class="bar-used" width="28\.3" height="8" data-from="2026-11-22T14:19:00\.000Z" data-until="2026-11-22T15:19:00\.000Z"/,
  )
  t.regex(text, /class="bar-due" x="33\.3"/)
  t.regex(wordsOf(text), /Next refresh in 3 minutes Expires in 43 minutes Last made 2 minutes ago/)
  t.regex(await tokens({ oldest_expires_at: isoTime(NOW_MS - 1) }), /class="bar-used" width="100"/)
  t.regex(await tokens({ oldest_expires_at: isoTime(NOW_MS + 61 * MINUTE_MS) }), /class="bar-used" width="0"/)
  t.regex(await tokens({ next_refresh_at: isoTime(NOW_MS + DAY_MS) }), /class="bar-due" x="99\.4"/)
  const bare = await tokens({ next_refresh_at: undefined, last_minted_at: undefined })
  t.notRegex(bare, /bar-due/)
  t.is(wordsOf(bare).match(/not yet/g)?.length, 2)
  const none = await tokens({ live: 0, oldest_expires_at: undefined })
  t.regex(wordsOf(none), /No token is live\..*Last made : 2 minutes ago|No token is live\..*Last made: 2 minutes ago/)
  t.notRegex(none, /bar-used/)
  t.regex(wordsOf(await tokens({ live: 1 })), /1 live token /)
})

test('the refreshes of seven days are drawn by the hour, and summed by the day', async t => {
  const today = Date.UTC(2026, 10, 22)
  const hour = (startMs: number, refreshed: number, failed: number) => ({ startMs, refreshed, failed })
  const plot = async (...refreshHistory: PageModel['refreshHistory']): Promise<string> =>
    sectionOf(await overviewOf({ refreshHistory }), 'tokens')
  const text = await plot(
    hour(today - 6 * DAY_MS - HOUR_MS, 100, 100),
    hour(today - 6 * DAY_MS, 1, 0),
    hour(today, 5, 2),
    hour(today + HOUR_MS, 0, 1),
  )
  t.regex(text, /class="plot-refreshed" d="M0 45h3v11h-3zM576 2h3v54h-3z"/)
  t.regex(text, /class="plot-failed" d="M576 57h3v7h-3zM580 57h3v4h-3z"/)
  t.regex(wordsOf(text), /6 refreshes, 3 failed\. Each bar is an hour \(UTC\); the tallest stands for 5\./)
  const rows = [...text.matchAll(/<tr><th scope="row">([^<]+)<\/th><td[^>]*>(\d+)<\/td><td[^>]*>(\d+)/g)]
  t.deepEqual(
    rows.map(([, ...cells]) => cells.join(' ')),
    ['Mon 16 1 0', 'Tue 17 0 0', 'Wed 18 0 0', 'Thu 19 0 0', 'Fri 20 0 0', 'Sat 21 0 0', 'Sun 22 5 3'],
  )
  t.regex(await plot(hour(today, 1, 0), hour(today + HOUR_MS, 1_000, 0)), /d="M576 53h3v3h-3z/, 'the lowest is seen')
  t.regex(await plot(hour(today, 1, 9)), /class="plot-failed" d="M576 57h3v18h-3z"/, 'more failures than refreshes fit')
  for (const none of [plot(), plot(hour(today - 7 * DAY_MS, 1, 0)), plot(hour(today + DAY_MS, 1, 0))])
    t.regex(await none, /Nothing was refreshed in the last 7 days/)
})

test('the connection is told with its App, its keys, its way out and its place', async t => {
  const connection = async (change: Partial<PageModel> = {}): Promise<string> =>
    wordsOf(sectionOf(await overviewOf(change), 'connection'))
  const words = await connection()
  for (const part of [
    /Account octo-org Organization/,
    /ghe-example-com .*App ID 2400372 · client ID Iv23ligRD9zrJHJDrpjD/,
    /Since 2026-10-12 14:36 UTC/,
    /1 private key · 1 recovery key/,
    /Web proxy http:\/\/ghconnect@proxy\.example\.com:3128/,
    /ghe\.example\.com generation 3/,
    /Cluster role Single node/,
  ])
    t.regex(words, part)
  t.notRegex(words, /Rejected/)
  const keys = keysModel('en').keys
  t.regex(await connection({ keys, recovery_recipients: [] }), /2 private keys · no recovery key Rejected by GitHub/)
  t.regex(await connection({ proxy: undefined }), /this machine calls GitHub directly/)
  t.regex(await connection({ role: 'leader' }), /Leader: it refreshes the tokens for all nodes/)
})

test('installations and features are told with what is missing', async t => {
  const text = await overviewOf()
  const installations = sectionOf(text, 'installations')
  t.regex(
    wordsOf(installations),
    /octo-org Organization Selected repositories .*octo-labs Organization All repositories/,
  )
  t.regex(wordsOf(installations), /wait for approval by an owner: Review Checks Read and write Deployments Read-only/)
  t.is(installations.match(/wait for approval/g)?.length, 1)
  const askedPermissions = { metadata: 'read', contents: 'write' } as const
  const granted = async (contents: 'read' | 'admin'): Promise<string> => {
    const all = CONNECTED.installations
      .slice(0, 1)
      .map(one => ({ ...one, permissions: { contents, metadata: 'read' as const } }))
    return sectionOf(await overviewOf({ askedPermissions, installations: all }), 'installations')
  }
  t.regex(wordsOf(await granted('read')), /Review Contents Read and write Manage/)
  t.notRegex(await granted('admin'), /wait for approval/)
  t.notRegex(installations, /Suspended/)
  t.regex(sectionOf(await overviewOf({}, 'suspended'), 'installations'), /Suspended/)
  t.regex(sectionOf(await overviewOf({ installations: [] }), 'installations'), /not installed anywhere yet/)
  const features = sectionOf(text, 'features')
  t.regex(features, /label-success">On</)
  t.regex(features, /label-attention">Needs attention<[^]*|The App does not ask for members: read/)
  t.regex(features, /The App does not ask for members: read, organization_plan: read\./)
  t.regex(
    features,
    /<code>ghconnect features enable NAME<\/code>[^]*<li class="chip">Unified search, private repositories<\/li>/,
  )
  t.notRegex(sectionOf(await overviewOf({ features: CONNECTED.features.slice(0, 1) }), 'features'), /features enable/)
})

test('profiles tell whom they admit to what; the log tells its ten newest rows, with repeats counted', async t => {
  const text = await overviewOf()
  const profiles = wordsOf(sectionOf(text, 'profiles'))
  t.regex(
    profiles,
    /backup octo-org Callers users backup Scope infrastructure , docs-\* Contents Read-only|backup octo-org Callers users backup Scope infrastructure, docs-\* Contents Read-only/,
  )
  t.regex(
    profiles,
    /actions Callers users git groups runners units actions-sync\.service ?, actions-\*\.service Scope all repositories all permissions that were granted/,
  )
  const nobody = { name: 'x', allow: { users: [], groups: [], units: [] } }
  t.regex(wordsOf(sectionOf(await overviewOf({ profiles: [nobody] }), 'profiles')), /Callers nobody/)
  t.regex(sectionOf(await overviewOf({ profiles: [] }), 'profiles'), /no local service gets a token/)
  const audit = wordsOf(sectionOf(text, 'audit'))
  t.regex(audit, /token\.grant 41 times actions-sync\.service actions · octo-org, all repositories/)
  t.notRegex(audit, /\b1 times/)
  t.regex(audit, /dotcom_connection\.token_updated – octo-org\/infrastructure/)
  const [row] = CONNECTED.audit
  if (!row) throw new Error('no row')
  const many = sectionOf(await overviewOf({ audit: Array.from({ length: 12 }, () => row) }), 'audit')
  t.is(many.match(/<tr>/g)?.length, 11)
  t.regex(sectionOf(await overviewOf({ audit: [] }), 'audit'), /Nothing has happened yet/)
})

test('each trouble quotes GitHub and leads to where it is mended', async t => {
  const mends = async (name: string, change: Partial<PageModel> = {}): Promise<string> =>
    /<div class="banner banner-danger">[^]*?<div class="form-actions">[^]*?<\/div>/.exec(
      await overviewOf(change, name),
    )?.[0] ?? ''
  const [installation] = CONNECTED.installations
  if (!installation) throw new Error('none')
  const suspended = { ...installation, id: 2, html_url: 'https://github.com/second', suspended_at: isoTime(1) }
  const banner = await mends('suspended', { installations: [installation, suspended] })
  t.deepEqual(hrefsOf(banner), ['https://github.com/second'])
  t.regex(
    wordsOf(banner),
    /The installation of ghe-example-com is suspended .*owner of octo-org.*What GitHub says: This installation has been suspended/,
  )
  t.deepEqual(hrefsOf(await mends('uninstalled')), ['https://github.com/apps/ghe-example-com/installations/new'])
  t.deepEqual(hrefsOf(await mends('app-deleted')), ['/disable'])
  t.deepEqual(hrefsOf(await mends('key-rejected')), [
    'https://github.com/organizations/octo-org/settings/apps/ghe-example-com',
    '/keys',
  ])
  const blocked = await mends('blocked')
  t.deepEqual(hrefsOf(blocked), ['https://github.com/organizations/octo-org/settings/security'])
  t.regex(wordsOf(blocked), /The IP allow list does not admit this machine/)
  const enterprise = { account: { type: 'enterprise', login: 'octo-corp' } } as const
  t.deepEqual(hrefsOf(await mends('blocked', enterprise)), [
    'https://github.com/enterprises/octo-corp/settings/security',
  ])
  t.deepEqual(hrefsOf(await mends('blocked', { account: { type: 'user', login: 'mona' } })), [], 'a person has none')
  const policy = wordsOf(await mends('blocked-policy'))
  t.regex(policy, /A policy of the account keeps ghe-example-com out/)
})

test('states that wait for a decision offer both ways', async t => {
  const quarantined = await overviewOf({}, 'quarantined')
  t.regex(wordsOf(quarantined), /enabled on ghe-primary\.example\.com; this is ghe\.example\.com/)
  const decide = sectionOf(quarantined, 'decide')
  t.deepEqual([formsOf(decide), hrefsOf(decide)], [['/adopt'], ['/disable']])
  const lost = await overviewOf({}, 'key-lost')
  t.true(hrefsOf(lost).includes('https://github.com/organizations/octo-org/settings/apps'))
  const person = await overviewOf({ account: { type: 'user', login: 'mona' } }, 'key-lost')
  t.true(hrefsOf(person).includes('https://github.com/settings/apps'))
  t.regex(lost, /GitHub says that the code was used/)
  t.deepEqual([formsOf(sectionOf(lost, 'decide')), hrefsOf(sectionOf(lost, 'decide'))], [['/cancel'], ['/import']])
  const locked = await overviewOf({}, 'locked')
  t.regex(locked, /The store is locked: its key cannot be had/)
  t.true(formsOf(sectionOf(locked, 'unlock')).includes('/unlock'))
})

test('an import leads to the form and to the Apps on GitHub, and shows again what was typed but for keys', async t => {
  const text = String(await importPage(importModel('en')))
  const hrefs = hrefsOf(text)
  t.true(hrefs.includes('https://github.com/enterprises/octo-corp/settings/apps/new?name=ghe-example-com'))
  t.true(hrefs.includes('https://github.com/enterprises/octo-corp/settings/apps'))
  t.regex(text, /name="id" value="2400372"/)
  t.regex(text, /name="account" value="octo-corp"/)
  t.regex(text, /<code>key-mismatch<\/code>/)
  const typed = String(await importPage({ ...importModel('en'), typed: { account: 'other' } }))
  t.regex(typed, /name="account" value="other"/)
  t.regex(typed, /name="id" value=""/)
})

test('the last page before GitHub tells what will be asked for there, and the way back only to whoever has a page', async t => {
  const text = String(await confirmPage(confirmModel('en')))
  t.regex(wordsOf(text), /octo-org Organization .*Pull requests Read and write .*Expires in 51 minutes/)
  t.true(hrefsOf(text).includes('/'))
  const open = String(await confirmPage({ ...confirmModel('en'), prefix: '', csrf: '' }))
  t.notRegex(open, />Cancel</)
})

test('a problem has its advice for somebody with a page, and a way on', async t => {
  const error = async (change: Partial<Frame> = {}, what: Problem = problem): Promise<string> =>
    String(await problemPage({ ...errorFrame('en'), ...change }, what))
  t.regex(await error(), /For a new link to this page, run <code>ghconnect ui<\/code>/)
  t.regex(await error(), /Enable GitHub Connect again; a link is good for one hour and one use\./)
  t.deepEqual(hrefsOf(await error({ prefix: PREFIX })).includes('/'), true)
  const signedOut = { code: 'signed-out', message: 'x' } as const
  t.notRegex(await error({}, signedOut), /For a new link to this page/)
  t.true((await error({}, signedOut)).includes(CATALOGUE['signed-out'].title))
  const japanese = String(await problemPage(errorFrame('ja'), signedOut))
  t.regex(japanese, /lang="en">x</)
  t.false(japanese.includes(CATALOGUE['signed-out'].title))
})
