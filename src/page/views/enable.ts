// Not enabled: what GitHub Connect does, which data and permissions it takes, what has to be there first, and the form.

import { html } from 'hono/html'
import type { AccountType } from '../../protocol/connection.ts'
import { type PageModel, to } from '../model.ts'
import { textsOf } from '../texts.ts'
import { quoted } from './failure.ts'
import type { Html } from './html.ts'
import { icon, type IconName } from './icons.ts'
import { banner, box, field, form, linkButton, permissionList, row, submit } from './parts.ts'

/** Beyond this the learned offset is told of. */
const CLOCK_TOLERANCE_S = 30

export const enableBody = (model: PageModel): Html => {
  const { enable: t } = textsOf(model.language).states
  return html`${model.evidence === undefined ? '' : banner('accent', html`<p>${t.ended}</p>${quoted(model.evidence, model.language)}`)}
${enableBox(model)}
${box({ id: 'does', title: t.does }, [
  feature('plug', t.doesApp),
  feature('key', t.doesTokens),
  feature('globe', model.proxy === undefined ? t.doesDirect : t.doesProxy(model.proxy)),
  feature('shield', t.doesAudit),
])}
${box({ id: 'before', title: t.before, aside: linkButton(to(model, 'checkPage'), t.verify) }, prerequisites(model))}
${box({ id: 'data', title: t.data }, [
  row(t.dataShared),
  row(html`<p>${t.dataPermissions}</p>${permissionList(model.wantedPermissions, model.language)}`),
])}`
}

const feature = (picture: IconName, text: string): Html =>
  html`<div class="row row-icon"><span class="row-picture">${icon(picture)}</span><p>${text}</p></div>`

const prerequisites = (model: PageModel): Html[] => {
  const { enable: t } = textsOf(model.language).states
  const { hosts, egressAddress, clockOffsetSeconds = 0 } = model.prerequisites
  const clockIsOff = Math.abs(clockOffsetSeconds) >= CLOCK_TOLERANCE_S
  return [
    feature('person', t.beforeOwner),
    html`<div class="row row-icon"><span class="row-picture">${icon('server')}</span><div><p>${t.beforeHosts}</p><ul class="chips">${hosts.map(host => html`<li class="chip"><code>${host}</code></li>`)}</ul><p class="hint">${t.beforeBrowser}</p></div></div>`,
    html`<div class="row row-icon"><span class="row-picture">${icon('shield')}</span><p>${egressAddress === undefined ? t.beforeAllowListUnknown : html`${t.beforeAllowList} <code>${egressAddress}</code>`}</p></div>`,
    html`<div class="row row-icon"><span class="row-picture${clockIsOff ? ' tone-attention' : ''}">${icon(clockIsOff ? 'alert' : 'clock')}</span><p>${clockIsOff ? t.beforeClockOff(Math.round(Math.abs(clockOffsetSeconds))) : t.beforeClock}</p></div>`,
  ]
}

const enableBox = (model: PageModel): Html => {
  const { enable: t } = textsOf(model.language).states
  const typed = model.typed ?? {}
  const kinds: readonly (readonly [AccountType, string, string])[] = [
    ['organization', t.organization, t.organizationHint],
    ['enterprise', t.enterprise, t.enterpriseHint],
    ['user', t.user, t.userHint],
  ]
  const chosen = typed['type'] ?? 'organization'
  return box(
    { id: 'enable', title: t.form },
    row(
      form({ frame: model, route: 'enable' }, [
        html`<fieldset class="field"><legend>${t.kind}</legend><div class="choices">${kinds.map(
          ([type, name, hint]) =>
            html`<div class="choice"><input type="radio" name="type" value="${type}" id="type-${type}"${type === chosen ? ' checked' : ''} aria-describedby="type-${type}-hint"><div><label for="type-${type}">${name}</label><p class="hint" id="type-${type}-hint">${hint}</p></div></div>`,
        )}</div></fieldset>`,
        field({
          id: 'login',
          text: t.login,
          hint: t.loginHint,
          control: html`<input class="control" id="login" name="login" value="${typed['login'] ?? ''}" required maxlength="100" pattern="[A-Za-z0-9][A-Za-z0-9_\\-]*" autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="login-hint">`,
        }),
        model.recoveryRecipients.length > 0 ? html`` : recoveryChoice(model),
        html`<div class="check-field"><input type="checkbox" id="terms" name="terms" required><label for="terms">${t.terms}</label></div>
<div class="form-actions">${submit(t.button)}<p class="hint">${t.other} <a href="${to(model, 'importForm')}">${t.import}</a></p></div>`,
      ]),
    ),
  )
}

const recoveryChoice = (model: PageModel): Html => {
  const { enable: t } = textsOf(model.language).states
  return html`<div class="note note-attention"><p>${t.recoveryFirst} <a href="${to(model, 'keysPage')}#recovery">${t.recoveryMake}</a></p>
<div class="check-field"><input type="checkbox" id="without-recovery-key" name="without_recovery_key" required><label for="without-recovery-key">${t.withoutRecovery}</label></div></div>`
}
