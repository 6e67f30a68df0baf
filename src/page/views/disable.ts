// Disable: what will be deleted, the account's name typed again, then each step as it is done.

import type { DisableStep } from '../../protocol/connection.ts'
import type { PageModel } from '../model.ts'
import { dateTime, type Html, html, type Part, type Text, textIn } from './html.ts'
import { sessionPage } from './layout.ts'
import {
  actionForm,
  banner,
  box,
  cancelLink,
  form,
  outButton,
  row,
  type Step,
  stepList,
  submit,
  textField,
} from './parts.ts'

const DISABLE: Text = ['Disable GitHub Connect', 'GitHub Connect を無効にする']

/** A page of its own: where no script opens the dialog, and after a name that was typed wrongly. */
export const disablePage = (model: PageModel): Html =>
  sessionPage(model, 'disableForm', {
    title: textIn(model.language)(...DISABLE),
    body: html`<div class="box narrow">${row(disableForm(model, cancelLink(model)))}</div>`,
  })

export const disableDialog = (model: PageModel): Html => {
  const t = textIn(model.language)
  const close = html`<button class="button button-default" type="button" data-closes>${t('Cancel', '取り消す')}</button>`
  return html`<dialog class="dialog" id="disable-dialog" aria-labelledby="disable-dialog-title">
<div class="dialog-head"><h2 id="disable-dialog-title">${t(...DISABLE)}</h2></div>
<div class="dialog-body">${disableForm(model, close)}</div>
</dialog>`
}

const disableForm = (model: PageModel, cancel: Html): Html => {
  const t = textIn(model.language)
  const login = model.account?.login ?? ''
  const app = model.app?.name ?? ''
  const [tokens, accounts, keys] = [model.tokens.live, model.installations.length, model.keys.length]
  const deleted = [
    t(
      tokens === 1 ? '1 live token is revoked' : `${tokens} live tokens are revoked`,
      `有効なトークン ${tokens} 個を失効させます`,
    ),
    t(
      accounts === 1 ? `${app} is uninstalled from its account` : `${app} is uninstalled from ${accounts} accounts`,
      `${app} を ${accounts} 個のアカウントからアンインストールします`,
    ),
    t(
      keys === 1
        ? 'its private key is destroyed on this machine'
        : `its ${keys} private keys are destroyed on this machine`,
      `秘密鍵 ${keys} 個をこのマシンから破棄します`,
    ),
  ]
  const warning = t(
    'Services on this machine get no token from this moment on.',
    'この時点から、このマシンのサービスはトークンを取得できなくなります。',
  )
  const owner = t(
    `An owner then deletes ${app} on GitHub, which has no API for that. The audit log is kept.`,
    `GitHub には App を削除する API がないため、最後に所有者が GitHub で ${app} を削除します。監査ログは残ります。`,
  )
  const localHint = t(
    'For an App that is gone, or an account that cannot be reached. Tokens live on for up to an hour.',
    'App がすでにない場合や、アカウントに接続できない場合に使います。トークンは最長 1 時間有効なままです。',
  )
  const isLocal = model.state === 'app-deleted' || model.state === 'quarantined' || Boolean(model.typed?.['local'])
  return form({ frame: model, route: 'disable' }, [
    banner('danger', html`<p>${warning}</p>`),
    html`<p class="strong">${t('What is deleted:', '削除されるもの:')}</p>
<ul class="bullets">${deleted.map(item => html`<li>${item}</li>`)}</ul>
<p>${owner}</p>
${textField({
  id: 'disable-account',
  name: 'account',
  text: t(`To confirm, type “${login}”`, `確認のため「${login}」と入力してください`),
  attributes: html`required data-confirm="${login}"`,
})}
<div class="check-field"><input type="checkbox" id="disable-local" name="local"${isLocal && ' checked'} aria-describedby="disable-local-hint"><div><label for="disable-local">${t('Only on this machine: do not call GitHub', 'このマシンだけで無効にする (GitHub を呼び出さない)')}</label><p class="hint" id="disable-local-hint">${localHint}</p></div></div>
<div class="form-actions">${submit(t(...DISABLE), 'danger')}${cancel}</div>`,
  ])
}

const STEPS: readonly (readonly [DisableStep, Text])[] = [
  ['revoke', ['Revoke the tokens', 'トークンを失効']],
  ['uninstall', ['Uninstall the App', 'App をアンインストール']],
  ['delete-app', ['Delete the App on GitHub', 'GitHub で App を削除']],
]

export const disablingBody = (model: PageModel): Html => {
  const t = textIn(model.language)
  const at = STEPS.findIndex(([step]) => step === (model.disabling?.step ?? 'revoke'))
  const steps: Step[] = [
    { state: 'done', title: t('Stop serving tokens', 'トークンの提供を停止') },
    ...STEPS.map(([step, title], index): Step => {
      if (index !== at) return { state: index < at ? 'done' : 'pending', title: t(...title) }
      return { state: 'active', title: t(...title), detail: stepDetail(model, step) }
    }),
    { state: 'pending', title: t('Destroy the private key', '秘密鍵を破棄') },
  ]
  return box({ id: 'progress', title: t('Progress', '進行状況'), live: true }, row(stepList(steps, model.language)))
}

const stepDetail = (model: PageModel, step: DisableStep): Part => {
  const t = textIn(model.language)
  if (step !== 'delete-app') {
    const retrying = t(
      'GitHub could not be reached; it is tried again by itself.',
      'GitHub に接続できませんでした。自動的に再試行します。',
    )
    return model.warnings.length > 0 && html`<p>${retrying}</p>`
  }
  const hint = t(
    'GitHub has no API for this: an owner deletes the App under “Advanced”. It is noticed within seconds.',
    'GitHub にはこのための API がありません。所有者が “Advanced” から App を削除すると、数秒で検知します。',
  )
  const open =
    model.appSettingsUrl !== undefined &&
    outButton(`${model.appSettingsUrl}/advanced`, t('Delete the App on GitHub', 'GitHub で App を削除'), 'primary')
  const finish = actionForm(model, 'finishDisable', [t('Do not wait for it', '待たずに完了する')])
  const finishHint = t(
    'The key is destroyed now. Delete the App on GitHub later.',
    '秘密鍵を今すぐ破棄します。App は後で GitHub から削除してください。',
  )
  const deadline = t('At the latest the key is destroyed on:', '秘密鍵を破棄する期限:')
  return html`<p>${hint}</p>
<div class="form-actions">${open}${finish}</div>
<p class="hint">${finishHint}${model.disabling && html`<br>${deadline} ${dateTime(model.disabling.deadline)}`}</p>`
}
