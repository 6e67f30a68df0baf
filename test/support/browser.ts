// A real browser on the settings page: Debian's Chromium, headless, with screenshots of what it saw and axe's judgement of it.

import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import type { Language } from '../../src/page/model.ts'
import { findViolations } from './view-browser.ts'

const ARTIFACTS = resolve(import.meta.dirname, '../../artifacts/page')
const DEADLINE_MS = 15_000
const WIDE = { width: 1200, height: 900 }

export type Visitor = {
  readonly page: Page
  /** What the console and the network complained of: a blocked script or style is among it. */
  readonly complaints: readonly string[]
  /** Light and dark, into the folder of artifacts, with axe's violations of each. */
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
      mkdirSync(ARTIFACTS, { recursive: true })
      const found: string[] = []
      // Seen as it stands there, and not as it looks below the pointer.
      await page.mouse.move(0, 0)
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        await page.screenshot({ path: join(ARTIFACTS, `${name}-${language}-${colorScheme}.png`), fullPage: true })
        found.push(...(await findViolations(page)).map(text => `${name} ${language} ${colorScheme}: ${text}`))
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
