// The overview: one page for each state, each with its next step.

import { type PageModel, type RouteName, to } from '../model.ts'
import { warningText } from '../problems.ts'
import { auditBox, connectionBox, dangerZone, featuresBox, installationsBox, profilesBox } from './connected.ts'
import { disablingBody } from './disable.ts'
import { type Html, html, textIn } from './html.ts'
import { sessionPage } from './layout.ts'
import { banner, english, label, linkButton, prose, quoted } from './parts.ts'
import { enableBody, lastStep, progressBody } from './setup.ts'
import { keyLostBody, lockedBody, quarantinedBody, STATES, troubleBanner } from './states.ts'
import { tokensBox } from './tokens.ts'

export const overviewPage = (model: PageModel): Html => {
  const { state, app } = model
  const t = textIn(model.language)
  // An App whose facts are worth a look.
  const isEstablished =
    app !== undefined && state !== 'awaiting-installation' && state !== 'disconnecting' && state !== 'quarantined'
  const check = isEstablished && linkButton(to(model, 'checkPage'), t('Check connection', '接続を診断する'))
  return sessionPage(model, 'overview', {
    title: 'GitHub Connect',
    mark: html`${label(STATES[state].tone, t(...STATES[state].label))}<span class="head-space"></span>${check}`,
    lead: leadOf(model),
    body: bodyOf(model),
  })
}

const leadOf = ({ state, language, hostname, account, app }: PageModel): string | undefined => {
  const t = textIn(language)
  const [login, name] = [account?.login ?? hostname, app?.name ?? '']
  if (state === 'disconnected')
    return t(
      `Let ${hostname} use GitHub.com through a GitHub App that belongs to your own organization or enterprise.`,
      `${hostname} から、自社の Organization または Enterprise が所有する GitHub App を通じて GitHub.com を利用できるようにします。`,
    )
  if (state === 'awaiting-app' || state === 'awaiting-installation')
    return t(
      `Connecting to ${login}. You may close this page and come back.`,
      `${login} に接続しています。このページは閉じてもかまいません。後で戻って続けられます。`,
    )
  if (state === 'connected') return t(`Connected to ${login} as ${name}.`, `${login} に ${name} として接続しています。`)
  if (state !== 'disconnecting') return undefined
  return t(
    'Serving has stopped. Each step goes on by itself, also after a restart.',
    'トークンの提供は停止しました。残りの手順は、再起動しても自動的に続きます。',
  )
}

const bodyOf = (model: PageModel): Html => {
  switch (model.state) {
    case 'disconnected':
      return enableBody(model)
    case 'awaiting-app':
    case 'awaiting-installation':
      return html`${warningsOf(model, ['no-recovery-key'])}
${progressBody(model)}`
    case 'connected':
    case 'isolated':
      return establishedBody(model)
    case 'suspended':
    case 'uninstalled':
    case 'app-deleted':
    case 'key-rejected':
    case 'blocked':
      return html`${troubleBanner(model, model.state)}${establishedBody(model)}`
    case 'key-lost':
      return keyLostBody(model)
    case 'quarantined':
      return quarantinedBody(model)
    case 'disconnecting':
      return disablingBody(model)
    case 'locked':
    case 'awaiting-unlock':
      return lockedBody(model)
    default:
      return model.state satisfies never
  }
}

const establishedBody = (model: PageModel): Html => html`${warningsOf(model, STATES[model.state].said ?? [])}
${lastStep(model)}
${tokensBox(model)}
${connectionBox(model)}
${installationsBox(model)}
${featuresBox(model)}
${profilesBox(model)}
${auditBox(model)}
${dangerZone(model)}`

const GRAVE = new Set(['audit-unavailable', 'key-rejected', 'app-not-found', 'store-corrupt', 'disk-full'])

/** The page of this site on which something is done about it. */
const REMEDIES: ReadonlyMap<string, RouteName> = new Map([
  ['no-recovery-key', 'keysPage'],
  ['key-old', 'keysPage'],
  ['key-fallback', 'keysPage'],
  ['key-retire', 'keysPage'],
  ['key-rejected', 'keysPage'],
  ['clock', 'checkPage'],
])

/** The lasting warnings of a connection. */
const warningsOf = (model: PageModel, unsaid: readonly string[]): Html =>
  html`<div id="warnings" data-live>${model.warnings
    .filter(({ code }) => !unsaid.includes(code))
    .map(warning => warningBanner(warning, model))}</div>`

const warningBanner = (warning: PageModel['warnings'][number], model: PageModel): Html => {
  const { language } = model
  const t = textIn(language)
  const { title, next } = warningText(warning, language)
  const remedy = REMEDIES.get(warning.code)
  const name = remedy === 'checkPage' ? t('Check connection', '接続の診断') : t('Keys and recovery', '鍵と回復')
  return banner(
    GRAVE.has(warning.code) ? 'danger' : 'attention',
    html`<div class="banner-line"><div>${
      title === undefined
        ? html`<p class="banner-title"${english(language)}>${warning.detail}</p>`
        : html`<p class="banner-title">${title}</p>${quoted(warning.detail, language)}`
    }${(remedy === undefined || title !== undefined) && html`<p>${prose(next)}</p>`}</div>${remedy && linkButton(to(model, remedy), name)}</div>`,
  )
}
