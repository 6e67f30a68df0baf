// Each view in Chromium, light and dark, wide and narrow: axe finds nothing and nothing overflows; at night its picture goes to artifacts/views.

import test from 'ava'
import type { Browser } from 'playwright-core'
import { renderViews } from '../support/render-views.ts'
import { createStage, findViolations, launchChromium, takePicture } from '../support/view-browser.ts'

const SIZES = { wide: { width: 1280, height: 800 }, narrow: { width: 360, height: 740 } }
const rendered = await renderViews()

let browser: Browser
test.before(async () => {
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
        const rules = scheme === 'light' ? 'all' : 'contrast'
        if (language === 'en' ? size === 'wide' || scheme === 'light' : size === 'wide' && scheme === 'light')
          t.deepEqual(await findViolations(stage.page, rules), [], place)
        const over = await stage.page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        )
        t.is(over, 0, place)
        await takePicture(stage.page, 'views', `${name}-${language}-${scheme}-${size}`)
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
