// The settings page in a real browser, against the daemon and the sandbox: the whole story in both languages.

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { visit } from '../support/browser.ts'
import {
  beginEnable,
  browser,
  closeBrowser,
  createOnGitHub,
  enable,
  inEachLanguage,
  installOnGitHub,
  linkOf,
  openDisableDialog,
  scene,
  shows,
  signIn,
  toGitHub,
} from '../support/page-walk.ts'

test.after.always(closeBrowser)

inEachLanguage('from the link to the first token and back again', async (t, language) => {
  const at = await scene(t, { language })
  const { page, visitor, appliance } = at
  const seen: string[] = []
  const look = async (name: string): Promise<void> => void seen.push(...(await visitor.look(name)))

  const link = await linkOf(at)
  await page.goto(link)
  t.is(await page.getAttribute('html', 'lang'), language)
  await look('sign-in')
  await page.click('form[action^="/sign-in/"] button')
  await shows(page, 'disconnected')
  await look('disconnected')
  await beginEnable(page)
  await look('confirm')
  await toGitHub(page)
  await createOnGitHub(page)
  await page.waitForURL(/installations\/new/)
  const other = await visit(await browser(), { language })
  await other.page.goto(link)
  seen.push(...(await other.look('used-link')))
  await other.close()

  await installOnGitHub(page)
  await page.waitForURL(/\/s\/[0-9a-f]{32}\/$/)
  await shows(page, 'connected')
  await page.waitForSelector('#tokens [data-from]', { state: 'attached' })
  await look('connected')

  await page.click('a[href$="/keys"]')
  await page.waitForSelector('#recovery')
  await look('keys')
  await page.click('a[href$="/check"]')
  await page.click('form[data-check] button')
  await page.waitForSelector('#check-summary .banner')
  t.true((await page.locator('.check-row').count()) > 5)
  await look('check')
  await page.click('nav.side a[href$="/"]')

  await openDisableDialog(page)
  const dialog = page.locator('#disable-dialog')
  const button = dialog.locator('[type=submit]')
  t.true(await button.isDisabled(), 'not before the name is typed')
  await dialog.locator('input[name=account]').fill('octo-or')
  t.true(await button.isDisabled())
  await dialog.locator('input[name=account]').fill('octo-org')
  await look('disable')
  await button.click()
  await shows(page, 'disconnecting')
  await page.waitForSelector('a[href$="/advanced"]')
  await look('disabling')
  t.is((await appliance.ask('POST', '/v1/tokens', {})).status, 503, 'serving has stopped')
  const back = page.url()
  await page.click('a[href$="/advanced"]')
  await page.click('form[action$="/delete"] button')
  await page.goto(back)
  await shows(page, 'disconnected')
  await look('disabled')
  await page.click('form[action$="/sign-out"] button')
  await page.waitForURL(/\/signed-out$/)
  await look('signed-out')
  await page.goto(back)
  t.is(await page.locator('#shell').count(), 0, 'the way back is closed')
  await look('session-ended')
  t.deepEqual(seen, [])
  t.deepEqual(
    visitor.complaints.filter(text => !/401 \(Unauthorized\)/.test(text)),
    [],
  )
  t.deepEqual(appliance.wrong, [])
})

inEachLanguage(
  'whoever cancels on GitHub comes back to a page that waits, and cancels there, too',
  async (t, language) => {
    const at = await scene(t, { language })
    const { page, visitor } = at
    await signIn(at)
    const home = page.url()
    await beginEnable(page)
    await toGitHub(page)
    await page.click('a:has-text("Cancel")')
    await page.goto(home)
    await shows(page, 'awaiting-app')
    t.deepEqual(await visitor.look('awaiting-app'), [])
    await page.reload()
    await page.click('a[href$="/enable"]')
    await page.waitForSelector('input[name=manifest]', { state: 'attached' })
    await page.goto(home)
    await page.click('form[action$="/cancel"] button')
    await shows(page, 'disconnected')
  },
)

test.serial('an enterprise imports the key of its App from a file', async t => {
  const at = await scene(t)
  const { page, visitor, appliance } = at
  await signIn(at)
  await page.check('#type-enterprise')
  await page.fill('#login', 'octo-enterprise')
  await page.check('#without-recovery-key')
  await page.check('#terms')
  await page.click('form[action$="/enable"] [type=submit]')
  await page.waitForURL(/\/import$/)
  t.deepEqual(await visitor.look('import'), [])
  const prefilled = await page.getAttribute('a[href*="/enterprises/octo-enterprise/settings/apps/new"]', 'href')
  t.true(prefilled?.includes('contents=read'))
  const app = await appliance.control('POST', 'apps', {
    owner: 'octo-enterprise',
    name: 'by-hand',
    permissions: { metadata: 'read' },
  })
  await appliance.control('POST', 'installations', { app: app['id'], account: 'octo-enterprise' })
  await page.fill('#app-id', String(app['id']))
  const file = { name: 'by-hand.pem', mimeType: 'application/x-pem-file', buffer: Buffer.from(String(app['pem'])) }
  await page.setInputFiles('input[name=key_file]', file)
  await page.click('form[action$="/import"] [type=submit]')
  await shows(page, 'connected')
})

test.serial('without any script the whole way works as well', async t => {
  const at = await scene(t, { javaScript: false })
  const { page, appliance } = at
  await signIn(at)
  await enable(page)
  await page.click('a[href$="/check"]')
  await page.click('form[data-check] button')
  await page.waitForSelector('.check-row')
  await page.click('nav.side a[href$="/"]')
  await page.click('#danger a[href$="/disable"]')
  await page.waitForURL(/\/disable$/)
  await page.fill('input[name=account]', 'octo-org2')
  await page.click('form[action$="/disable"] [type=submit]')
  await page.waitForSelector('code:text-is("invalid-request")')
  await page.fill('input[name=account]', 'octo-org')
  await page.click('form[action$="/disable"] [type=submit]')
  await shows(page, 'disconnecting')
  await appliance.control('POST', 'apps/appliance-test/delete')
  await appliance.until('disconnected')
  await page.goto(page.url().replace(/disable$/, ''))
  await shows(page, 'disconnected')
  t.pass()
})

test.serial('on a phone everything is there, and nothing is wider than the screen', async t => {
  const at = await scene(t, { viewport: { width: 360, height: 740 } })
  const { page, visitor } = at
  await signIn(at)
  const isWider = (): Promise<unknown> =>
    page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth')
  t.false(await isWider())
  t.deepEqual(await visitor.look('phone-disconnected'), [])
  await enable(page)
  t.false(await isWider())
  t.deepEqual(await visitor.look('phone-connected'), [])
  await openDisableDialog(page)
  t.false(await isWider())
})

test.serial('a page that somebody left open keeps itself fresh, and says when the session is over', async t => {
  const at = await scene(t)
  const { page } = at
  await signIn(at)
  await enable(page)
  const watching = await at.page.context().newPage()
  await watching.goto(page.url())
  await page.click('form[action$="/sign-out"] button')
  await watching.waitForSelector('code:text-is("signed-out")')
  t.is(await watching.locator('#shell').count(), 0)
})

test.serial('a recovery key that the browser made opens a store whose key was lost', async t => {
  const at = await scene(t)
  const { page, visitor, appliance } = at
  await signIn(at)
  await page.click('a[href$="/keys"]')
  await page.click('[data-make]')
  const identity = (await page.textContent('[data-file]')) ?? ''
  t.regex(identity, /AGE-SECRET-KEY-1/)
  t.deepEqual(await visitor.look('recovery-key'), [])
  await page.check('#recovery-kept')
  await page.click('form:has(#recovery-kept) [type=submit]')
  await page.waitForSelector('#recovery code:text-matches("^age1")')
  t.is(await page.locator('[data-file]').textContent(), '', 'shown once')
  await page.click('nav.side a[href$="/"]')
  t.is(await page.locator('#without-recovery-key').count(), 0, 'there is one')
  await page.fill('#login', 'octo-org')
  await page.check('#terms')
  await page.click('form[action$="/enable"] [type=submit]')
  await toGitHub(page)
  await createOnGitHub(page)
  await installOnGitHub(page)
  await shows(page, 'connected')

  await appliance.kill()
  writeFileSync(join(appliance.folder, 'store.key'), randomBytes(32), { mode: 0o600 })
  await appliance.start()
  await signIn(at)
  await shows(page, 'locked')
  t.deepEqual(await visitor.look('locked'), [])
  await page.fill('textarea[name=identity]', `AGE-SECRET-KEY-1${'Q'.repeat(58)}`)
  await page.click('form[action$="/unlock"] [type=submit]')
  await page.waitForSelector('.banner-danger[role=alert]')
  t.is(await page.inputValue('textarea[name=identity]'), '', 'what was typed is not shown again')
  const file = { name: 'recovery-key.txt', mimeType: 'text/plain', buffer: Buffer.from(identity) }
  await page.setInputFiles('input[name=identity_file]', file)
  await page.click('form[action$="/unlock"] [type=submit]')
  await shows(page, 'connected')
  t.is((await appliance.call('GET', '/v1/status')).body['state'], 'connected')
})

test.serial('a second private key is added from a file, and the first one is retired', async t => {
  const at = await scene(t)
  const { page, visitor, appliance } = at
  await signIn(at)
  await enable(page)
  const { pem } = await appliance.control('POST', 'apps/appliance-test/generate-key')
  await page.click('nav.side a[href$="/keys"]')
  const held = page.locator('#private-keys .fingerprint')
  const first = await held.innerText()
  await page.fill('textarea[name=private_key]', 'not a key')
  await page.click('form[action$="/keys"] [type=submit]')
  await page.waitForSelector('code:text-is("invalid-key")')
  const file = { name: 'second.pem', mimeType: 'application/x-pem-file', buffer: Buffer.from(String(pem)) }
  await page.setInputFiles('input[name=key_file]', file)
  await page.click('form[action$="/keys"] [type=submit]')
  await page.locator('#private-keys .fingerprint').nth(1).waitFor()
  t.deepEqual(await visitor.look('two-keys'), [])
  await page.click(`form[action$="/keys/retire"] [aria-label*="${first}"]`)
  await page.locator('#private-keys .fingerprint').nth(1).waitFor({ state: 'detached' })
  t.not(await held.innerText(), first)
})
