// The overview: one page for each state, each with its next step.

import { html } from 'hono/html'
import type { DaemonState } from '../../protocol/connection.ts'
import { type PageModel, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { warningBanner } from './failure.ts'
import type { Html } from './html.ts'
import { connectionBox, dangerZone, featuresBox, installationsBox } from './connection.ts'
import { disablingBody } from './disable.ts'
import { enableBody } from './enable.ts'
import { sessionPage } from './layout.ts'
import { label, linkButton, type Tone } from './parts.ts'
import { lastStep, progressBody } from './progress.ts'
import { auditBox, profilesBox } from './records.ts'
import { keyLostBody, lockedBody, quarantinedBody } from './stops.ts'
import { tokensBox } from './tokens.ts'
import { troubleBanner } from './troubles.ts'

export const overview = (model: PageModel): Html => {
  const t = textsOf(model.language)
  return sessionPage(model, 'overview', {
    title: 'GitHub Connect',
    mark: html`${label(TONES[model.state], t.overview.labels[model.state])}<span class="head-space"></span>${isEstablished(model) ? linkButton(to(model, 'checkPage'), t.overview.recheck) : ''}`,
    lead: leadOf(model),
    body: bodyOf(model),
  })
}

const TONES: Readonly<Record<DaemonState, Tone>> = {
  disconnected: 'neutral',
  'awaiting-app': 'attention',
  'key-lost': 'danger',
  'awaiting-installation': 'attention',
  connected: 'success',
  suspended: 'danger',
  uninstalled: 'danger',
  'app-deleted': 'danger',
  'key-rejected': 'danger',
  blocked: 'danger',
  quarantined: 'danger',
  disconnecting: 'attention',
  locked: 'danger',
  'awaiting-unlock': 'attention',
  isolated: 'danger',
}

/** With an App whose facts are worth a look. */
const isEstablished = ({ state, app }: PageModel): boolean =>
  app !== undefined && state !== 'awaiting-installation' && state !== 'disconnecting' && state !== 'quarantined'

const leadOf = (model: PageModel): string | undefined => {
  const { states, disabling } = textsOf(model.language)
  const login = model.account?.login ?? model.hostname
  if (model.state === 'disconnected') return states.enable.lead(model.hostname)
  if (model.state === 'awaiting-app' || model.state === 'awaiting-installation') return states.progress.lead(login)
  if (model.state === 'connected') return states.connected.lead(login, model.app?.name ?? '')
  return model.state === 'disconnecting' ? disabling.lead : undefined
}

const bodyOf = (model: PageModel): Html => {
  switch (model.state) {
    case 'disconnected':
      return enableBody(model)
    case 'awaiting-app':
    case 'awaiting-installation':
      return progressBody(model)
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

/** The failure that the state itself tells of needs no warning beside it. */
const SAID_BY_STATE: Readonly<Partial<Record<DaemonState, readonly string[]>>> = {
  suspended: ['suspended'],
  uninstalled: ['installation-not-found'],
  'app-deleted': ['app-not-found'],
  'key-rejected': ['key-rejected'],
  blocked: ['ip-blocked', 'account-policy'],
}

const establishedBody = (model: PageModel): Html => {
  const warnings = model.warnings.filter(({ code }) => !SAID_BY_STATE[model.state]?.includes(code))
  return html`<div id="warnings" data-live>${warnings.map(warning => warningBanner(warning, model))}</div>
${lastStep(model)}
${tokensBox(model)}
${connectionBox(model)}
${installationsBox(model)}
${featuresBox(model)}
${profilesBox(model)}
${auditBox(model)}
${dangerZone(model)}`
}
