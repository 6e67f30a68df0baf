// Rendered views in Debian's Chromium without a server: each request of a page is answered here, under the policy that the daemon sends.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { type Browser, type BrowserContextOptions, chromium, type Page, type Route } from 'playwright-core'
import { z } from 'zod'
import { createAssets } from '../../src/page/assets.ts'
import { isNight } from './night.ts'

/** Loopback counts as a secure place, as it does for the daemon's own page. Nothing listens there: no request leaves the browser. */
export const ORIGIN = 'http://127.0.0.1:1'

const POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "form-action 'self' https://github.com",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ')

export const launchChromium = (): Promise<Browser> =>
  // Chromium refuses a sandbox of its own to root, and containers give it little shared memory.
  chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'] })

export type Reply = { readonly type: string; readonly body: string; readonly status?: number }
/** `undefined`: the page itself. */
export type Answer = (route: Route, path: string) => Reply | undefined | Promise<Reply>

export type Stage = {
  readonly page: Page
  /** What the console complained of: a blocked script or style is among it. */
  readonly complaints: readonly string[]
  /** Shows this page, at its own address. */
  show(text: string, path?: string): Promise<void>
  /** What the next fetch of a page gives. */
  next(text: string): void
}

export const createStage = async (
  browser: Browser,
  { answer, ...options }: BrowserContextOptions & { answer?: Answer } = {},
): Promise<Stage> => {
  const context = await browser.newContext({
    viewport: { width: 1200, height: 900 },
    reducedMotion: 'reduce',
    ...options,
  })
  context.setDefaultTimeout(10_000)
  const page = await context.newPage()
  const assets = createAssets()
  const complaints: string[] = []
  let current = ''
  page.on('console', message => void (message.type() === 'error' && complaints.push(message.text())))
  page.on('pageerror', error => void complaints.push(String(error)))
  await page.route('**/*', async route => {
    const path = new URL(route.request().url()).pathname
    const asset = await assets.get(path)
    const reply = asset ?? (await answer?.(route, path)) ?? (path.endsWith('/events') ? SILENCE : undefined)
    const { type, body } = reply ?? { type: 'text/html; charset=utf-8', body: current }
    const status = reply && 'status' in reply ? (reply.status ?? 200) : 200
    await route.fulfill({ status, contentType: type, body, headers: { 'content-security-policy': POLICY } })
  })
  return {
    page,
    complaints,
    async show(text, path = '/s/5f2c9a/') {
      current = text
      await page.goto(ORIGIN + path)
    },
    next(text) {
      current = text
    },
  }
}

/** An event stream on which nothing happens. The browser asks again after a time that no test lasts. */
const SILENCE: Reply = { type: 'text/event-stream', body: 'retry: 600000\n\n' }

/** Pictures are for people: long runs make them. */
export const takePicture = async (page: Page, folder: string, name: string): Promise<void> => {
  if (!isNight) return
  await page.screenshot({ path: join(ARTIFACTS, folder, `${name}.png`), fullPage: true })
}

const ARTIFACTS = resolve(import.meta.dirname, '../../artifacts')

const Results = z.object({
  violations: z.array(z.object({ id: z.string(), help: z.string(), nodes: z.array(z.object({ html: z.string() })) })),
})
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** All rules in the light; in the dark the same elements have other colours, so contrast alone. */
export type Rules = 'all' | 'contrast'

/** By way of the debugger, which the page's own policy does not bind. */
export const findViolations = async (page: Page, rules: Rules = 'all'): Promise<string[]> => {
  await page.evaluate(axeSource)
  const options = rules === 'all' ? {} : { runOnly: ['color-contrast'] }
  const { violations } = Results.parse(await page.evaluate(`axe.run(${JSON.stringify(options)})`))
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(node => node.html).join(' ')}`)
}
