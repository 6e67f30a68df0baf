// What goes wrong between the settings page and GitHub, in a real browser and in both languages: each is named, and another try works.

import test from 'ava'
import {
  beginEnable,
  closeBrowser,
  createOnGitHub,
  enable,
  inEachLanguage,
  installOnGitHub,
  scene,
  shows,
  signIn,
  toGitHub,
} from '../support/page-walk.ts'

test.after.always(closeBrowser)

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
