// The settings page in a real browser, against the daemon and the sandbox: the whole story in both languages, and what goes wrong on the way.

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Browser, Page } from 'playwright-core'
import { type Language, LANGUAGES } from '../../src/web/model.ts'
import type { Appliance } from '../support/appliance.ts'
import { type Visitor, visit, type VisitOptions } from '../support/browser.ts'
import { running } from '../support/probes.ts'
import { launchChromium } from '../support/view-browser.ts'

let browser: Browser
test.before(async () => {
  browser = await launchChromium()
})
test.after.always(() => browser.close())

const inEachLanguage = (title: string, tell: (t: ExecutionContext, language: Language) => Promise<void>): void => {
  for (const language of LANGUAGES) test.serial(`${title}, in ${language}`, t => tell(t, language))
}

type Scene = { readonly appliance: Appliance & { wrong: string[] }; readonly visitor: Visitor; readonly page: Page }

const scene = async (t: { teardown(end: () => Promise<void>): void }, options: VisitOptions = {}): Promise<Scene> => {
  const appliance = await running()
  t.teardown(() => appliance.close())
  const visitor = await visit(browser, options)
  t.teardown(() => visitor.close())
  return { appliance, visitor, page: visitor.page }
}

const linkOf = async ({ appliance }: Scene): Promise<string> =>
  String((await appliance.call('POST', '/v1/ui-links')).body['url'])

const signIn = async (at: Scene): Promise<void> => {
  await at.page.goto(await linkOf(at))
  await at.page.click('form[action^="/sign-in/"] button')
  await at.page.waitForSelector('#shell')
}

/** The state that the page shows, by itself: without a reload of ours. */
const shows = (page: Page, state: string): Promise<unknown> => page.waitForSelector(`#shell[data-state="${state}"]`)

const beginEnable = async (page: Page, login = 'octo-org'): Promise<void> => {
  await page.check('#type-organization')
  await page.fill('#login', login)
  await page.check('#without-recovery-key')
  await page.check('#terms')
  await page.click('form[action$="/enable"] [type=submit]')
  await page.waitForSelector('input[name=manifest]', { state: 'attached' })
}

const toGitHub = async (page: Page): Promise<void> => {
  await page.click('form:has(input[name=manifest]) [type=submit]')
  await page.waitForURL(/settings\/apps\/manifests/)
}
const createOnGitHub = (page: Page): Promise<void> => page.click('form[action*="/apps/manifests/"] button')
const installOnGitHub = async (page: Page): Promise<void> => {
  await page.waitForURL(/installations\/new/)
  await page.selectOption('select[name=account]', 'octo-org')
  await page.click('form[action$="/installations/new"] button')
}

const enable = async (page: Page, login?: string): Promise<void> => {
  await beginEnable(page, login)
  await toGitHub(page)
  await createOnGitHub(page)
  await installOnGitHub(page)
  await shows(page, 'connected')
}

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
  const other = await visit(browser, { language })
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

  await page.click('[data-opens="disable-dialog"]')
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

inEachLanguage('a code that ran out is named on the page, and another try works', async (t, language) => {
  const at = await scene(t, { language })
  const { page, visitor, appliance } = at
  await signIn(at)
  await beginEnable(page)
  await toGitHub(page)
  // GitHub's redirect finds a daemon that does not answer before the hour is over.
  appliance.signal('SIGSTOP')
  const redirected = page.waitForRequest(/\/callback\?/)
  await page.click('form[action*="/apps/manifests/"] button', { noWaitAfter: true })
  await redirected
  await appliance.control('POST', 'clock', { advance_ms: 61 * 60_000 })
  appliance.signal('SIGCONT')
  await page.waitForSelector('code:text-is("code-rejected")')
  await shows(page, 'awaiting-app')
  t.deepEqual(await visitor.look('code-rejected'), [])
  await appliance.control('POST', 'reset')
  await page.click('a[href$="/enable"]')
  await toGitHub(page)
  await createOnGitHub(page)
  await installOnGitHub(page)
  await shows(page, 'connected')
})

inEachLanguage(
  'an App that another account owns is not kept, and the page says where to delete it',
  async (t, language) => {
    const at = await scene(t, { language })
    const { page, visitor, appliance } = at
    await signIn(at)
    await beginEnable(page)
    await page.evaluate(
      `const { form } = document.querySelector('input[name=manifest]'); form.action = form.action.replace('octo-org', 'other-org')`,
    )
    await toGitHub(page)
    await createOnGitHub(page)
    await page.waitForSelector('code:text-is("wrong-owner")')
    await shows(page, 'disconnected')
    t.true((await page.textContent('main'))?.includes('belongs to other-org'))
    t.deepEqual(await visitor.look('wrong-owner'), [])
    await appliance.control('POST', 'apps/appliance-test/delete')
    await enable(page)
    t.pass('and another try works')
  },
)

inEachLanguage('a name that is taken is changed on GitHub', async (t, language) => {
  const at = await scene(t, { language })
  const { page, appliance } = at
  await appliance.control('POST', 'apps', { owner: 'octo-org', name: 'appliance-test' })
  await signIn(at)
  await beginEnable(page)
  await toGitHub(page)
  const confirmation = page.url()
  await createOnGitHub(page)
  await page.waitForSelector('.error')
  await page.goto(confirmation)
  await page.fill('input[name=name]', 'appliance-two')
  await createOnGitHub(page)
  await installOnGitHub(page)
  await shows(page, 'connected')
  t.true((await page.textContent('#connection'))?.includes('appliance-two'))
})

inEachLanguage('an App that was deleted on GitHub becomes a state by itself, with a way out', async (t, language) => {
  const at = await scene(t, { language })
  const { page, visitor, appliance } = at
  await signIn(at)
  await enable(page)
  await appliance.control('POST', 'apps/appliance-test/delete')
  // One refusal is no deletion: it takes three, over half a minute.
  for (let tries = 0; tries < 10; tries++) {
    await page.click('form[action$="/refresh"] button')
    const seen = shows(page, 'app-deleted').then(
      () => true,
      () => false,
    )
    const paused = page.waitForTimeout(6_000).then(() => false)
    if (await Promise.race([seen, paused])) break
  }
  await shows(page, 'app-deleted')
  t.deepEqual(await visitor.look('app-deleted'), [])
  await page.click('#content a[href$="/disable"]')
  await page.locator('input[name=account]:visible').fill('octo-org')
  t.true(await page.locator('input[name=local]:visible').isChecked(), 'there is nobody to ask any more')
  await page.locator('form[action$="/disable"] [type=submit]:visible').click()
  await shows(page, 'disconnected')
})

inEachLanguage('a daemon that is restarted on the way loses the session and nothing else', async (t, language) => {
  const at = await scene(t, { language })
  const { page, visitor, appliance } = at
  await signIn(at)
  await beginEnable(page)
  await toGitHub(page)
  await appliance.kill('SIGKILL')
  await appliance.start()
  await createOnGitHub(page)
  await page.waitForURL(/installations\/new/)
  const install = page.url()
  await signIn(at)
  await shows(page, 'awaiting-installation')
  t.deepEqual(await visitor.look('awaiting-installation'), [])
  await appliance.kill('SIGTERM')
  await appliance.start()
  await page.goto(install)
  await installOnGitHub(page)
  await page.waitForURL(/\/done$/)
  t.deepEqual(await visitor.look('done'), [])
  await appliance.until('connected')
  await signIn(at)
  await shows(page, 'connected')
})

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
  await page.click('[data-opens="disable-dialog"]')
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
  await page.waitForFunction(`document.querySelectorAll('#private-keys .fingerprint').length === 2`)
  t.deepEqual(await visitor.look('two-keys'), [])
  await page.click(`form[action$="/keys/retire"] [aria-label*="${first}"]`)
  await page.waitForFunction(`document.querySelectorAll('#private-keys .fingerprint').length === 1`)
  t.not(await held.innerText(), first)
})
