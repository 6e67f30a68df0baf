// Each view in Chromium, light and dark, wide and narrow: axe finds nothing, nothing overflows, and its picture goes to artifacts/views.

import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'
import type { Browser } from 'playwright-core'
import { renderViews } from '../support/render-views.ts'
import { createStage, findViolations, launchChromium } from '../support/view-browser.ts'

const ARTIFACTS = resolve(import.meta.dirname, '../../artifacts/views')
const SIZES = { wide: { width: 1280, height: 800 }, narrow: { width: 360, height: 740 } }
const rendered = await renderViews()

let browser: Browser
test.before(async () => {
  mkdirSync(ARTIFACTS, { recursive: true })
  browser = await launchChromium()
})
test.after.always(() => browser.close())

for (const scheme of ['light', 'dark'] as const) {
  for (const size of ['wide', 'narrow'] as const) {
    test.serial(`axe finds nothing, and nothing overflows: ${scheme}, ${size}`, async t => {
      const stage = await createStage(browser, { colorScheme: scheme, viewport: SIZES[size] })
      for (const { name, language, text } of rendered) {
        const place = `${name} ${language} ${scheme} ${size}`
        await stage.show(text)
        // The narrow page has the same elements, words and colours: there its order is judged.
        if (size === 'wide' || (language === 'en' && scheme === 'light'))
          t.deepEqual(await findViolations(stage.page), [], place)
        const over = await stage.page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        )
        t.is(over, 0, place)
        await stage.page.screenshot({
          path: join(ARTIFACTS, `${name}-${language}-${scheme}-${size}.png`),
          fullPage: true,
        })
      }
      t.deepEqual(stage.complaints, [])
      await stage.page.context().close()
    })
  }
}

test.serial('the dialog passes, too', async t => {
  const stage = await createStage(browser)
  for (const { name, text } of rendered.filter(view => view.name === 'overview-connected')) {
    await stage.show(text)
    await stage.page.click('[data-opens]')
    t.deepEqual(await findViolations(stage.page), [], name)
  }
  await stage.page.context().close()
})
