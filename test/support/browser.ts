// A real browser on the settings page: Debian's Chromium, headless, with axe's judgement of what it saw, and pictures for the artifacts at night.

import type { Browser, Page } from 'playwright-core'
import type { Language } from '../../src/page/model.ts'
import { findViolations, takePicture } from './view-browser.ts'

const DEADLINE_MS = 15_000
const WIDE = { width: 1200, height: 900 }

export type Visitor = {
  readonly page: Page
  /** What the console and the network complained of: a blocked script or style is among it. */
  readonly complaints: readonly string[]
  /** Light and dark, with axe's violations of each. */
  look(name: string): Promise<string[]>
  close(): Promise<void>
}

export const visit = async (
  browser: Browser,
  { language = 'en', javaScript = true, viewport = WIDE }: VisitOptions = {},
): Promise<Visitor> => {
  const context = await browser.newContext({
    locale: language === 'ja' ? 'ja-JP' : 'en-GB',
    timezoneId: 'UTC',
    javaScriptEnabled: javaScript,
    reducedMotion: 'reduce',
    viewport,
  })
  context.setDefaultTimeout(DEADLINE_MS)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', message => void (message.type() === 'error' && complaints.push(message.text())))
  page.on('pageerror', error => void complaints.push(String(error)))
  return {
    page,
    complaints,
    async look(name) {
      const found: string[] = []
      // Seen as it stands there, and not as it looks below the pointer.
      await page.mouse.move(0, 0)
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        await takePicture(page, 'page', `${name}-${language}-${colorScheme}`)
        const violations = await findViolations(page, colorScheme === 'light' ? 'all' : 'contrast')
        found.push(...violations.map(text => `${name} ${language} ${colorScheme}: ${text}`))
      }
      return found
    },
    close: () => context.close(),
  }
}

export type VisitOptions = {
  readonly language?: Language
  readonly javaScript?: boolean
  readonly viewport?: { readonly width: number; readonly height: number }
}
