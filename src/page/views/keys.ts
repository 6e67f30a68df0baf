// Keys and recovery: the App's private keys, and the recovery key, which is made in the browser and not sent here.

import { isoTime } from '../../protocol/wire.ts'
import { type PageModel, to } from '../model.ts'
import { dateTime, type Html, html, relativeTime, textIn } from './html.ts'
import { sessionPage } from './layout.ts'
import { banner, box, form, keyField, label, muted, outButton, prose, row, submit, textField } from './parts.ts'

const YEAR_MS = 365 * 24 * 3_600_000

export const keysPage = (model: PageModel): Html => {
  const t = textIn(model.language)
  return sessionPage(model, 'keysPage', {
    title: t('Keys and recovery', '鍵と回復'),
    lead: t(
      'The App’s private keys prove this machine to GitHub. A recovery key opens snapshots, and the store should this machine lose its own key.',
      'App の秘密鍵は、このマシンを GitHub に対して証明します。回復キーは、スナップショットと、このマシンが自身の鍵を失ったときのストアを開きます。',
    ),
    body: html`${model.app && privateKeys(model)}
${recoveryBox(model)}`,
  })
}

const privateKeys = (model: PageModel): Html => {
  const t = textIn(model.language)
  const empty = muted(t('No private key is stored.', '秘密鍵は保存されていません。'))
  const hint = t(
    'Generate a key on the App’s page on GitHub; the file is downloaded by your browser. Then give it here. Both keys work until you remove the old one.',
    'GitHub の App のページで鍵を生成すると、ブラウザーがファイルをダウンロードします。そのファイルをここで渡してください。古い鍵を削除するまで、どちらの鍵も使えます。',
  )
  const aside =
    model.appSettingsUrl !== undefined &&
    outButton(model.appSettingsUrl, t('Open the App’s page', 'App のページを開く'))
  return html`${box({ id: 'private-keys', title: t('Private keys', '秘密鍵') }, model.keys.length === 0 ? empty : model.keys.map(key => keyRow(key, model)))}
${box(
  { id: 'add-key', title: t('Add a private key', '秘密鍵を追加する'), aside },
  row(
    html`<p class="hint">${hint}</p>${form({ frame: model, route: 'addKey' }, [
      keyField(model.language, 'private_key'),
      html`<div class="form-actions">${submit(t('Add key', '鍵を追加'))}</div>`,
    ])}`,
  ),
)}`
}

const keyRow = ({ fingerprint, added_at: added, state }: PageModel['keys'][number], model: PageModel): Html => {
  const t = textIn(model.language)
  const isOld = model.nowMs - Date.parse(added) >= YEAR_MS
  const marks = html`${state === 'rejected' && label('danger', t('Rejected by GitHub', 'GitHub に拒否されました'))} ${isOld && label('attention', t('Older than a year', '1 年以上前の鍵'))}`
  const remove = t('Remove', '削除')
  const retire = form({ frame: model, route: 'retireKey', className: 'inline-form' }, [
    html`<input type="hidden" name="fingerprint" value="${fingerprint}">`,
    html`<button class="button button-danger" type="submit" aria-label="${remove} ${fingerprint}">${remove}</button>`,
  ])
  return row(
    html`<h3 class="fingerprint"><code>${fingerprint}</code></h3><p class="hint">${t('Added', '追加')}: ${dateTime(added)} (${relativeTime(added, model)}) ${marks}</p>`,
    // The last key is never retired: disable ends the connection.
    model.keys.length > 1 && retire,
  )
}

const recoveryBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const held = model.recovery_recipients
  const empty = t(
    'There is no recovery key: snapshots leave this machine unencrypted, and a lost store key loses the connection.',
    '回復キーがありません。スナップショットは暗号化されないまま出力され、ストアの鍵を失うと接続も失われます。',
  )
  const byHand = form({ frame: model, route: 'recoveryKey' }, [
    textField({
      id: 'recipient',
      name: 'recipient',
      text: t('Recipient', '受信者 (recipient)'),
      hint: prose(
        t(
          'It begins with age1. `age-keygen` or `ghconnect recovery-key create` makes one.',
          'age1 で始まります。`age-keygen` または `ghconnect recovery-key create` で作成できます。',
        ),
      ),
      value: model.typed?.['recipient'] ?? '',
      mono: true,
      attributes: html`required pattern="age1[0-9a-z]{58}" placeholder="age1…"`,
    }),
    html`<div class="form-actions">${submit(t('Add', '追加'), 'default')}</div>`,
  ])
  return box({ id: 'recovery', title: t('Recovery keys', '回復キー') }, [
    held.length === 0
      ? row(banner('attention', html`<p>${empty}</p>`))
      : held.map(recipient => row(html`<p class="fingerprint"><code>${recipient}</code></p>`)),
    row(html`${makeKey(model)}
<h3>${t('Or give the public half of a key that you have', 'または、お持ちのキーの公開部分を入力')}</h3>${byHand}`),
  ])
}

/** Of the file, in English in every language. */
const COMMENT = 'A recovery key of ghconnectd: opens the snapshots and the store of this machine. Keep it elsewhere.'

/** Hidden until the script has found that this browser can make such keys. */
const makeKey = (model: PageModel): Html => {
  const t = textIn(model.language)
  const explained = t(
    'The key is made in this browser. This machine gets its public half only.',
    'キーはこのブラウザーの中で作成されます。このマシンに渡るのは公開部分だけです。',
  )
  const save = t(
    'Save this key now: it is shown once, and this machine does not have it.',
    'このキーを今すぐ保存してください。表示されるのは一度だけで、このマシンには残りません。',
  )
  const kept = t('I keep it in a safe place, away from this machine', 'このマシン以外の安全な場所に保管しました')
  return html`<div class="recovery" data-recovery data-comment="${COMMENT}" data-host="${model.hostname}" data-created="${isoTime(model.nowMs)}" hidden>
<h3>${t('Make a recovery key', '回復キーを作成する')}</h3>
<p class="hint">${explained}</p>
<p><button class="button button-default" type="button" data-make>${t('Make a key in this browser', 'このブラウザーでキーを作成')}</button></p>
<div data-made hidden>
${banner('attention', html`<p>${save}</p>`)}
<pre class="secret-file" data-file tabindex="0"></pre>
<form class="form" method="post" action="${to(model, 'recoveryKey')}">
<input type="hidden" name="csrf" value="${model.csrf}">
<input type="hidden" name="recipient" value="">
<p><a class="button button-default" data-download download="recovery-key-${model.hostname}.txt" href="#recovery">${t('Download the file', 'ファイルをダウンロード')}</a></p>
<div class="check-field"><input type="checkbox" id="recovery-kept" required><label for="recovery-kept">${kept}</label></div>
<div class="form-actions">${submit(t('Use this recovery key', 'この回復キーを使う'))}</div>
</form></div></div>`
}
