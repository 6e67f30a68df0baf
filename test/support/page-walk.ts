// The ways that the tests of the settings page walk: a daemon, a sandbox and a browser, from the link to the connection.

import test, { type ExecutionContext } from 'ava'
import type { Browser, Page } from 'playwright-core'
import { LANGUAGES, type Language } from '../../src/page/model.ts'
import type { Appliance } from './appliance.ts'
import { type Visitor, visit, type VisitOptions } from './browser.ts'
import { isNight } from './night.ts'
import { running } from './probes.ts'
import { launchChromium } from './view-browser.ts'

let launched: Promise<Browser> | undefined

/** One for all tests of a file, which closes it. */
export const browser = (): Promise<Browser> => (launched ??= launchChromium())
export const closeBrowser = async (): Promise<void> => (await launched)?.close()

let walks = 0
/** Both at night; else every other walk in Japanese. */
const languagesOfWalk = (): readonly Language[] => {
  const turn = walks++ % LANGUAGES.length
  return isNight ? LANGUAGES : LANGUAGES.slice(turn, turn + 1)
}

export const inEachLanguage = (
  title: string,
  tell: (t: ExecutionContext, language: Language) => Promise<void>,
): void => {
  for (const language of languagesOfWalk()) test.serial(`${title}, in ${language}`, t => tell(t, language))
}

export type Scene = {
  readonly appliance: Appliance & { wrong: string[] }
  readonly visitor: Visitor
  readonly page: Page
}

export const scene = async (
  t: { teardown(end: () => Promise<void>): void },
  options: VisitOptions = {},
): Promise<Scene> => {
  const appliance = await running()
  t.teardown(() => appliance.close())
  const visitor = await visit(await browser(), options)
  t.teardown(() => visitor.close())
  return { appliance, visitor, page: visitor.page }
}

export const linkOf = async ({ appliance }: Scene): Promise<string> =>
  String((await appliance.call('POST', '/v1/ui-links')).body['url'])

export const signIn = async (at: Scene): Promise<void> => {
  await at.page.goto(await linkOf(at))
  await at.page.click('form[action^="/sign-in/"] button')
  await at.page.waitForSelector('#shell')
}

/** The state that the page shows, by itself: without a reload of ours. */
export const shows = (page: Page, state: string): Promise<unknown> =>
  page.waitForSelector(`#shell[data-state="${state}"]`)

/** By the script of the page. Before that ran, the same link leads to a page of its own. */
export const openDisableDialog = async (page: Page): Promise<void> => {
  const opener = page.locator('[data-opens="disable-dialog"]')
  await opener.waitFor()
  // Modules have run by then.
  await page.waitForLoadState('domcontentloaded')
  await opener.click()
  await page.locator('#disable-dialog').waitFor()
}

export const beginEnable = async (page: Page, login = 'octo-org'): Promise<void> => {
  await page.check('#type-organization')
  await page.fill('#login', login)
  await page.check('#without-recovery-key')
  await page.check('#terms')
  await page.click('form[action$="/enable"] [type=submit]')
  await page.waitForSelector('input[name=manifest]', { state: 'attached' })
}

export const toGitHub = async (page: Page): Promise<void> => {
  await page.click('form:has(input[name=manifest]) [type=submit]')
  await page.waitForURL(/settings\/apps\/manifests/)
}
export const createOnGitHub = (page: Page): Promise<void> => page.click('form[action*="/apps/manifests/"] button')
export const installOnGitHub = async (page: Page): Promise<void> => {
  await page.waitForURL(/installations\/new/)
  await page.selectOption('select[name=account]', 'octo-org')
  await page.click('form[action$="/installations/new"] button')
}

export const enable = async (page: Page, login?: string): Promise<void> => {
  await beginEnable(page, login)
  await toGitHub(page)
  await createOnGitHub(page)
  await installOnGitHub(page)
  await shows(page, 'connected')
}
