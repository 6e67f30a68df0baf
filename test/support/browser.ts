// A real browser on the settings page: Debian's Chromium, headless, with screenshots of what it saw and axe's judgement of it.

import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { z } from 'zod'
import type { Language } from '../../src/web/model.ts'

const ARTIFACTS = resolve(import.meta.dirname, '../../artifacts/page')
const CHROMIUM = '/usr/bin/chromium'
const DEADLINE_MS = 15_000
const WIDE = { width: 1200, height: 900 }

export const launchBrowser = (): Promise<Browser> =>
  // Chromium refuses a sandbox of its own to root, and containers give it little shared memory.
  chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] })

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
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        await page.screenshot({ path: join(ARTIFACTS, `${name}-${language}-${colorScheme}.png`), fullPage: true })
        found.push(...(await violations(page)).map(text => `${name} ${language} ${colorScheme}: ${text}`))
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

const Results = z.object({
  violations: z.array(
    z.object({ id: z.string(), help: z.string(), nodes: z.array(z.object({ html: z.string() })).min(1) }),
  ),
})
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** By way of the debugger, which the page's own policy does not bind: nothing of it is loosened for this. */
const violations = async (page: Page): Promise<string[]> => {
  await page.evaluate(axeSource)
  const { violations: found } = Results.parse(await page.evaluate('axe.run()'))
  return found.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(node => node.html).join(' ')}`)
}
