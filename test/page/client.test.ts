// The script of the page in Chromium: dialog, typed name, dropped file, live rows, fresh parts, and a recovery key that stays in the browser.

import { identityToRecipient } from 'age-encryption'
import test from 'ava'
import type { Browser } from 'playwright-core'
import type { PageModel } from '../../src/page/model.ts'
import { checkPage, checkRow, checkSummary } from '../../src/page/views/check.ts'
import { disablePage } from '../../src/page/views/disable.ts'
import { keysPage } from '../../src/page/views/keys.ts'
import { overviewPage } from '../../src/page/views/overview.ts'
import { connectedModel, keysModel, NOW_MS, overviewModels, report } from '../support/page-models.ts'
import { type Answer, createStage, launchChromium, type Reply, type Stage } from '../support/view-browser.ts'

let browser: Browser
test.before(async () => {
  browser = await launchChromium()
})
test.after.always(() => browser.close())

const overviewOf = async (change: Partial<PageModel> = {}): Promise<string> =>
  String(await overviewPage({ ...connectedModel('en'), ...change }))

const modelOf = (name: string): PageModel => overviewModels('en')[name] ?? connectedModel('en')

test('disable opens a dialog, whose button waits for the name of the account', async t => {
  const { page, show, complaints } = await createStage(browser)
  await show(await overviewOf())
  const dialog = page.locator('#disable-dialog')
  t.false(await dialog.isVisible())
  await page.click('[data-opens]')
  t.true(await dialog.isVisible())
  const button = dialog.locator('[type=submit]')
  t.true(await button.isDisabled())
  await dialog.locator('[name=account]').fill('octo-labs')
  t.true(await button.isDisabled())
  await dialog.locator('[name=account]').fill(' Octo-Org')
  t.true(await button.isEnabled())
  await page.keyboard.press('Escape')
  t.false(await dialog.isVisible())
  t.is(await page.evaluate('document.activeElement.dataset.opens'), 'disable-dialog')
  t.deepEqual(complaints, [])
})

test('without a script the same link leads to a page, and every form can be sent', async t => {
  const { page, show } = await createStage(browser, { javaScriptEnabled: false })
  await show(await overviewOf())
  t.is(await page.getAttribute('[data-opens]', 'href'), '/s/5f2c9a/disable')
  await show(String(await disablePage(connectedModel('en'))))
  t.true(await page.locator('[type=submit].button-danger').isEnabled())
  await show(String(await keysPage(keysModel('en'))))
  t.false(await page.locator('[data-recovery]').isVisible())
  t.true(await page.locator('#recipient').isVisible())
})

test('the first key of the keyboard offers to skip to the content', async t => {
  const { page, show } = await createStage(browser)
  await show(await overviewOf())
  await page.keyboard.press('Tab')
  t.true(await page.locator('.skip').isVisible())
  await page.keyboard.press('Enter')
  t.is(await page.evaluate('document.activeElement.id'), 'content')
})

test('a dropped file takes the place of pasted text', async t => {
  const { page, show } = await createStage(browser)
  await show(String(await keysPage(keysModel('en'))))
  t.true(await page.locator('.drop-hint').isVisible())
  t.true(await page.evaluate("document.querySelector('#private_key').required"))
  await page.fill('#private_key', 'something else')
  const files = await page.evaluateHandle(
    "(() => { const all = new DataTransfer(); all.items.add(new File(['-----BEGIN'], 'app.pem')); return all })()",
  )
  await page.dispatchEvent('form[data-drop]', 'drop', { dataTransfer: files })
  t.is(await page.evaluate("document.querySelector('#key_file').files[0].name"), 'app.pem')
  t.is(await page.inputValue('#private_key'), '')
  t.false(await page.evaluate("document.querySelector('#private_key').required"))
})

test('a recovery key is made in the browser: its recipient alone is in the form, and belongs to it', async t => {
  const { page, show, complaints } = await createStage(browser)
  await show(String(await keysPage(keysModel('en'))))
  const seen = new Set<string>()
  for (let round = 0; round < 5; round += 1) {
    await page.reload()
    await page.click('[data-make]')
    await page.waitForSelector('[data-made]:not([hidden])')
    const file = (await page.textContent('[data-file]')) ?? ''
    const [, identity = ''] = /^(AGE-SECRET-KEY-1[0-9A-Z]{58})$/m.exec(file) ?? []
    const recipient = await page.inputValue('[data-made] input[name=recipient]')
    t.is(await identityToRecipient(identity), recipient)
    t.true(file.includes(`# public key: ${recipient}\n`))
    const sent = await page.evaluate("[...new FormData(document.querySelector('[data-made] form'))].flat().join(' ')")
    t.notRegex(String(sent), /SECRET/)
    seen.add(identity)
  }
  t.is(seen.size, 5)
  t.deepEqual(complaints, [])
})

test('the check shows row after row, and its end', async t => {
  const asked: string[] = []
  const answer: Answer = (route, path) => {
    if (path !== '/s/5f2c9a/check' || route.request().method() !== 'POST') return undefined
    asked.push(route.request().headers()['accept'] ?? '', route.request().postData() ?? '')
    return stream
  }
  const summary = await checkSummary(report, { language: 'en', nowMs: NOW_MS })
  const lines: string[] = []
  for (const row of report.rows) lines.push(JSON.stringify({ row: await checkRow(row, 'en') }))
  lines.push(JSON.stringify({ summary }))
  const stream = { type: 'application/x-ndjson', body: `${lines.join('\n')}\n` }
  const { page, show, complaints } = await createStage(browser, { answer })
  await show(String(await checkPage(connectedModel('en'))), '/s/5f2c9a/check')
  await page.click('[data-check] button')
  await page.waitForSelector('[data-summary] .banner')
  t.is(await page.locator('.check-row').count(), report.rows.length)
  t.true(await page.locator('[data-check] button').isEnabled())
  t.deepEqual(asked, ['application/x-ndjson', 'csrf=c5rf-0f-th15-5e5510n'])
  t.deepEqual(complaints, [])
})

/** A stage on which the daemon has one thing to tell, once it is told to. */
const withEvent = async (event: string): Promise<Stage & { tell(): void }> => {
  const { promise, resolve } = Promise.withResolvers<Reply>()
  const stage = await createStage(browser, {
    answer: (_route, path) => (path.endsWith('/events') ? promise : undefined),
  })
  const body = `retry: 600000\ndata: {"event":"${event}"}\n\n`
  return { ...stage, tell: () => resolve({ type: 'text/event-stream', body }) }
}

test('an event of the daemon brings the page up to date; a change of state is announced', async t => {
  const { page, show, next, tell } = await withEvent('state')
  await show(String(await overviewPage(modelOf('awaiting-installation'))))
  next(await overviewOf())
  tell()
  await page.waitForSelector('#shell[data-state=connected]')
  t.is(await page.textContent('#announce'), 'Connected')
  t.true(await page.locator('#tokens').isVisible())
  // What came later is wired as what was there first.
  await page.click('[data-opens]')
  t.true(await page.locator('#disable-dialog').isVisible())
})

test('a refresh renews the live parts alone: what somebody opened or focused stays so', async t => {
  const { page, show, next, tell } = await withEvent('token-refreshed')
  await show(await overviewOf())
  await page.click('.plot-table summary')
  await page.focus('#tokens .plot-table summary')
  await page.evaluate("globalThis.before = document.querySelector('#profiles')")
  next(await overviewOf({ tokens: { ...connectedModel('en').tokens, live: 15 } }))
  tell()
  await page.locator('#tokens', { hasText: '15 live tokens' }).waitFor()
  t.true(await page.evaluate("document.querySelector('.plot-table').open"))
  t.is(await page.evaluate('document.activeElement.localName'), 'summary')
  t.true(await page.evaluate('globalThis.before.isConnected'))
})

test('what somebody types is not taken from under the fingers', async t => {
  const { page, show, next, tell } = await withEvent('state')
  await show(String(await overviewPage(modelOf('not-enabled'))))
  await page.fill('#login', 'octo-org')
  const fetched = page.waitForResponse(response => response.request().resourceType() === 'fetch')
  next(String(await overviewPage(modelOf('awaiting-app'))))
  tell()
  await fetched
  t.is(await page.inputValue('#login'), 'octo-org')
})

const POLLING = {
  en: 'No live updates at the moment: this page refreshes itself every 15 seconds.',
  ja: '現在、リアルタイム更新を利用できません。このページは 15 秒ごとに更新されます。',
}

for (const language of ['en', 'ja'] as const) {
  test(`a page whose events are refused says so and asks by itself, until they are given (${language})`, async t => {
    let refused = true
    const stage = await createStage(browser, {
      answer: (_route, path) => {
        if (!path.endsWith('/events')) return undefined
        if (refused) return { type: 'text/plain', body: '', status: 429 }
        return { type: 'text/event-stream', body: 'retry: 600000\n\n' }
      },
    })
    const { page, show, next } = stage
    // The page's time stands: it goes on by what the test says, not while a busy machine answers.
    await page.clock.install({ time: 0 })
    await page.clock.pauseAt(3_600_000)
    await show(String(await overviewPage(connectedModel(language))))
    await page.locator('#polling', { hasText: /\S/ }).waitFor()
    t.is(await page.textContent('#polling'), POLLING[language])
    const model = connectedModel(language)
    next(String(await overviewPage({ ...model, tokens: { ...model.tokens, live: 15_151 } })))
    await page.clock.runFor(16_000)
    await page.locator('#tokens', { hasText: /15.?151/ }).waitFor()
    refused = false
    const given = page.waitForResponse(response => response.url().endsWith('/events') && response.ok())
    // A minute after it was refused the page asks again; 10 s after that stream's end it would poll.
    await page.clock.runFor(44_000)
    await given
    await page.locator('#polling', { hasText: /^$/ }).waitFor({ state: 'attached' })
  })
}

test('times and the bar of the token go on by the clock of the server', async t => {
  const { page, show } = await createStage(browser)
  // This browser's clock is far from the model's: only the difference counts.
  await page.clock.install({ time: 0 })
  await show(await overviewOf())
  const expires = page.locator('.age dd').nth(1)
  const used = page.locator('.bar-used')
  t.regex((await expires.textContent()) ?? '', /in 4[23] minutes/)
  await page.clock.runFor(10 * 60_000)
  t.regex((await expires.textContent()) ?? '', /in 3[23] minutes/)
  const width = Number(await used.getAttribute('width'))
  t.true(width > 44 && width < 46, String(width))
})
