// A human without a browser: presses, on the daemon's pages and the sandbox's, what an App's owner would press.

import { createBrowser, formOn, stuck, type Browser, type Place, type Step } from './browser.ts'
import { linksOf } from './forms.ts'

export type OwnerOptions = {
  /** The daemon's page with the form that posts the manifest to GitHub. */
  formUrl: string
  /** Where to install; without it, where the page suggests: the App's owner. */
  account?: string
  /** Names of repositories; without them, all. */
  repositories?: readonly string[]
  stopAfter?: 'confirm-page' | 'created' | 'callback'
  /** With `false` the redirect with the code is returned and not called. */
  followCallback?: boolean
}

export type OwnerVisit = {
  steps: readonly Step[]
  /** The page where it ended. */
  url: string
  status: number
  html: string
  /** The redirect to the daemon with the code, once the App exists. */
  callbackUrl?: string
}

/** Walks from the form to the installed App. Throws, with the page's words, where a page offers no way on. */
export const actAsOwner = async (options: OwnerOptions): Promise<OwnerVisit> => {
  const browser = createBrowser()
  const form = formOn(await browser.open(options.formUrl), 'form with a manifest', f => f.fields.has('manifest'))
  let place = await browser.submit(form)
  if (place.url.includes('/sessions/sudo'))
    place = await browser.submit(formOn(place, 'sudo form', f => f.action.includes('/sessions/sudo')))
  const confirm = formOn(place, 'confirmation', f => f.action.includes('/apps/manifests/'))
  if (options.stopAfter === 'confirm-page') return visit(browser, place)

  const github = new URL(confirm.action).origin
  const created = await browser.submit(confirm, to => new URL(to).origin === github)
  const callbackUrl = created.redirectTo
  if (callbackUrl === undefined) {
    if (created.status >= 400) throw stuck(created, 'redirect with a code')
    return visit(browser, created)
  }
  if (options.stopAfter === 'created' || options.followCallback === false) return visit(browser, created, callbackUrl)

  const back = await browser.open(callbackUrl)
  if (options.stopAfter === 'callback') return visit(browser, back, callbackUrl)
  const target = isInstallPage(back.url) ? back.url : linksOf(back.html, back.url).find(isInstallPage)
  if (target === undefined) throw stuck(back, 'link to the install page')
  return visit(browser, await install(browser, target, options), callbackUrl)
}

/** Opens an install page and installs the App; ends where the sandbox or the App's setup address leads. */
export const installApp = async (
  options: { installUrl: string } & Pick<OwnerOptions, 'account' | 'repositories'>,
): Promise<OwnerVisit> => {
  const browser = createBrowser()
  return visit(browser, await install(browser, options.installUrl, options))
}

/** Presses "Delete GitHub App" on the settings page of an organization's App. */
export const deleteApp = async (options: { url: string; owner: string; slug: string }): Promise<OwnerVisit> => {
  const browser = createBrowser()
  const address = `${options.url}/organizations/${options.owner}/settings/apps/${options.slug}/advanced`
  return visit(browser, await browser.submit(formOn(await browser.open(address), 'delete button', endsIn('/delete'))))
}

/** Chooses on the App's page of permissions, and saves; what is not named stays as it is. */
export const editPermissions = async (options: {
  permissionsUrl: string
  permissions: Readonly<Record<string, string>>
}): Promise<OwnerVisit> => {
  const browser = createBrowser()
  const place = await browser.open(options.permissionsUrl)
  const form = formOn(place, 'form with permissions', f => f.fields.has('contents'))
  for (const [name, level] of Object.entries(options.permissions)) form.fields.set(name, level)
  return visit(browser, await browser.submit(form))
}

/** Presses "Accept new permissions" on the page of an installation. */
export const approvePermissions = async (options: { installationUrl: string }): Promise<OwnerVisit> => {
  const browser = createBrowser()
  const place = await browser.open(options.installationUrl)
  return visit(browser, await browser.submit(formOn(place, 'request to approve', endsIn('/permissions'))))
}

const install = async (
  browser: Browser,
  address: string,
  { account, repositories }: Pick<OwnerOptions, 'account' | 'repositories'>,
): Promise<Place> => {
  const form = formOn(await browser.open(address), 'install form', f => f.fields.has('account'))
  if (account !== undefined) form.fields.set('account', account)
  if (repositories !== undefined) {
    form.fields.set('repository_selection', 'selected')
    for (const name of repositories) form.fields.append('repositories', `${form.fields.get('account')}/${name}`)
  }
  const end = await browser.submit(form)
  if (end.status >= 400) throw stuck(end, 'installation')
  return end
}

const isInstallPage = (address: string): boolean => new URL(address).pathname.endsWith('/installations/new')

const endsIn =
  (tail: string) =>
  (form: { action: string }): boolean =>
    form.action.endsWith(tail)

const visit = (browser: Browser, place: Place, callbackUrl?: string): OwnerVisit => ({
  steps: browser.steps,
  url: place.url,
  status: place.status,
  html: place.html,
  ...(callbackUrl === undefined ? {} : { callbackUrl }),
})
