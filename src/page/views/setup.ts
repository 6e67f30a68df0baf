// Not connected yet: what GitHub Connect does and needs, the form that begins it, the steps to the first token, and the import of an App.

import type { AccountType } from '../../protocol/connection.ts'
import { type Language, type PageModel, to } from '../model.ts'
import { dateTime, type Html, html, type Part, type Text, textIn } from './html.ts'
import { sessionPage } from './layout.ts'
import {
  ACCOUNT_TYPES,
  actionForm,
  banner,
  box,
  cancelLink,
  chips,
  form,
  icon,
  type IconName,
  keyField,
  linkButton,
  outButton,
  permissionList,
  quoted,
  row,
  type Step,
  stepList,
  submit,
  textField,
} from './parts.ts'
import { installUrl, openApps } from './states.ts'

/** Beyond this the learned offset is told of. */
const CLOCK_TOLERANCE_S = 30

export const enableBody = (model: PageModel): Html => {
  const t = textIn(model.language)
  const { evidence, proxy, language } = model
  const ended = t('The last connection ended:', '前回の接続は終了しました:')
  const asked = t(
    'The App asks for these permissions, on the repositories that you choose when you install it:',
    'App は、インストール時に選んだリポジトリに対して次のアクセス許可を求めます:',
  )
  const shared = t(
    'GitHub learns the name and address of this server and the address from which it calls. No users, repositories or license data are sent by GitHub Connect itself; what a local service sends with its token is its own.',
    'GitHub に伝わるのは、このサーバーの名前とアドレス、および接続元のアドレスです。GitHub Connect 自体がユーザー、リポジトリ、ライセンスの情報を送ることはありません。ローカルサービスがトークンを使って送る内容は、そのサービスによります。',
  )
  const does = pictured(language, [
    [
      'plug',
      'Creates a GitHub App that your account owns. Its private key is stored encrypted, on this machine only.',
      'お使いのアカウントが所有する GitHub App を作成します。秘密鍵は暗号化され、このマシンだけに保存されます。',
    ],
    [
      'key',
      'Gives short-lived tokens of a narrow scope to the local services that you allow, and refreshes them ahead of their end.',
      '許可したローカルサービスに、範囲を絞った短期間のトークンを渡し、期限が来る前に更新します。',
    ],
    proxy === undefined
      ? [
          'globe',
          'Calls GitHub directly: no web proxy is configured.',
          'GitHub に直接接続します (Web プロキシは設定されていません)。',
        ]
      : [
          'globe',
          `Sends every call through the web proxy ${proxy}.`,
          `すべての通信は Web プロキシ ${proxy} を経由します。`,
        ],
    [
      'shield',
      'Writes each grant and each change to an audit log that cannot be altered unnoticed.',
      'トークンの提供と変更をすべて、気づかれずに書き換えることのできない監査ログに記録します。',
    ],
  ])
  return html`${evidence !== undefined && banner('accent', html`<p>${ended}</p>${quoted(evidence, language)}`)}
${enableBox(model)}
${box({ id: 'does', title: t('What it does', 'できること') }, does)}
${prerequisitesBox(model)}
${box({ id: 'data', title: t('Data and permissions', 'データとアクセス許可') }, [
  row(shared),
  row(html`<p>${asked}</p>${permissionList(model.wantedPermissions, language)}`),
])}`
}

/** A row with a picture each. */
const pictured = (language: Language, rows: readonly (readonly [IconName, ...Text, more?: Html])[]): Html[] =>
  rows.map(([picture, en, ja, more]) => {
    const text = html`<p>${textIn(language)(en, ja)}</p>`
    return html`<div class="row row-icon"><span class="row-picture${picture === 'alert' && ' tone-attention'}">${icon(picture)}</span>${more ? html`<div>${text}${more}</div>` : text}</div>`
  })

const prerequisitesBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const seconds = Math.round(Math.abs(model.clock_offset_seconds))
  const isOff = Math.abs(model.clock_offset_seconds) >= CLOCK_TOLERANCE_S
  const verify = linkButton(to(model, 'checkPage'), t('Check connection', '接続を診断する'))
  const browser = t('So does your browser.', 'お使いのブラウザーからも接続できる必要があります。')
  const hosts = chips(model.hosts.map(host => html`<code>${host}</code>`))
  const rows = pictured(model.language, [
    [
      'person',
      'You own the organization, or the enterprise, on GitHub.',
      'GitHub で Organization または Enterprise の所有者であること。',
    ],
    [
      'server',
      'This machine reaches these hosts on port 443:',
      'このマシンから次のホストの 443 番ポートに接続できること:',
      html`${hosts}<p class="hint">${browser}</p>`,
    ],
    [
      'shield',
      'If the account has an IP allow list, it admits the address from which this machine calls out.',
      'アカウントに IP 許可リストがある場合、このマシンの外向きのアドレスが含まれていること。',
    ],
    isOff
      ? [
          'alert',
          `The clock of this machine is ${seconds} seconds off GitHub’s. Set it (NTP).`,
          `このマシンの時計が GitHub と ${seconds} 秒ずれています。NTP で合わせてください。`,
        ]
      : ['clock', 'The clock of this machine is right.', 'このマシンの時計が合っていること。'],
  ])
  return box({ id: 'before', title: t('Before you begin', '始める前に'), aside: verify }, rows)
}

const KINDS: readonly (readonly [AccountType, ...Text])[] = [
  [
    'organization',
    'The App is created for you; you confirm it on GitHub.',
    'App は自動で作成されます。GitHub で承認してください。',
  ],
  [
    'enterprise',
    'You create the App from a form that is filled in, and import its key here.',
    '入力済みのフォームから App を作成し、その鍵をここに取り込みます。',
  ],
  ['user', 'For trying things out.', 'お試し用です。'],
]

const enableBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const { type: chosen = 'organization', login = '' } = model.typed ?? {}
  const terms = t(
    'I may connect this account, and accept that the local services named in the configuration act in its name under GitHub’s terms.',
    'このアカウントを接続する権限があり、設定ファイルに記載したローカルサービスが GitHub の利用規約のもとでアカウントの名義で動作することに同意します。',
  )
  const kinds = KINDS.map(
    ([type, ...hint]) =>
      html`<div class="choice"><input type="radio" name="type" value="${type}" id="type-${type}"${type === chosen && ' checked'} aria-describedby="type-${type}-hint"><div><label for="type-${type}">${t(...ACCOUNT_TYPES[type])}</label><p class="hint" id="type-${type}-hint">${t(...hint)}</p></div></div>`,
  )
  return box(
    { id: 'enable', title: t('Enable', '有効にする') },
    row(
      form({ frame: model, route: 'enable' }, [
        html`<fieldset class="field"><legend>${t('Which kind of account will own the App?', 'App を所有するアカウントの種類')}</legend><div class="choices">${kinds}</div></fieldset>`,
        textField({
          id: 'login',
          name: 'login',
          text: t('Name of the account', 'アカウント名'),
          hint: t(
            'As in its address on GitHub: github.com/octo-org, or github.com/enterprises/octo-corp.',
            'GitHub のアドレスに含まれる名前です (github.com/octo-org、github.com/enterprises/octo-corp など)。',
          ),
          value: login,
          attributes: html`required maxlength="100" pattern="[A-Za-z0-9][A-Za-z0-9_\\-]*"`,
        }),
        model.recovery_recipients.length === 0 && recoveryChoice(model),
        html`<div class="check-field"><input type="checkbox" id="terms" name="terms" required><label for="terms">${terms}</label></div>
<div class="form-actions">${submit(t('Enable GitHub Connect', 'GitHub Connect を有効にする'))}<p class="hint">${t('The App exists already?', 'すでに App がある場合は')} <a href="${to(model, 'importForm')}">${t('Import it', '取り込んでください')}</a></p></div>`,
      ]),
    ),
  )
}

const recoveryChoice = (model: PageModel): Html => {
  const t = textIn(model.language)
  const without = t(
    'Go on without a recovery key. Snapshots will leave this machine unencrypted.',
    '回復キーなしで続けます。スナップショットは暗号化されずに出力されます。',
  )
  return html`<div class="note note-attention"><p>${t('There is no recovery key yet.', '回復キーがまだありません。')} <a href="${to(model, 'keysPage')}#recovery">${t('Make one', '作成する')}</a></p>
<div class="check-field"><input type="checkbox" id="without-recovery-key" name="without_recovery_key" required><label for="without-recovery-key">${without}</label></div></div>`
}

/** As long as somebody may wait for the first token. Later, no token is live simply because nobody asks for one. */
const RECENT_MS = 10 * 60_000

/** The last step happens after the state has changed: it stays in view until there was a token. */
export const lastStep = (model: PageModel): Part =>
  model.state === 'connected' &&
  model.tokens.live === 0 &&
  model.tokens.last_minted_at === undefined &&
  model.nowMs - Date.parse(model.since) < RECENT_MS &&
  progressBox(model)

export const progressBody = (model: PageModel): Html => {
  const t = textIn(model.language)
  const hint = t(
    'Stops setting up. An App that was created already stays on GitHub until you delete it there.',
    'セットアップを中止します。すでに作成された App は、GitHub で削除するまで残ります。',
  )
  return html`${progressBox(model)}
<div class="section form-actions">${actionForm(model, 'cancel', [t('Cancel', '取り消す')])}<p class="hint">${hint}</p></div>`
}

/** It shows what is on the disk, so a reload or a restart loses nothing. */
const progressBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const created = t('Create the App', 'App を作成')
  const installed = t('Install the App', 'App をインストール')
  const token = t('Get the first token', '最初のトークンを取得')
  const steps: Step[] =
    model.state === 'awaiting-app'
      ? [
          { state: 'active', title: created, detail: toCreate(model) },
          { state: 'pending', title: installed },
          { state: 'pending', title: token },
        ]
      : [
          { state: 'done', title: created },
          model.state === 'connected'
            ? { state: 'done', title: installed }
            : { state: 'active', title: installed, detail: toInstall(model) },
          model.state === 'connected' ? firstToken(model, token) : { state: 'pending', title: token },
        ]
  const title = t('Setting up', 'セットアップ中')
  return box({ id: 'progress', title, live: true }, row(stepList(steps, model.language)))
}

const toCreate = (model: PageModel): Html => {
  const t = textIn(model.language)
  if (model.pendingEnable?.converting) {
    const converting = t(
      'The App was created, and this machine cannot get its key from GitHub yet. Nothing is lost: the daemon keeps asking for an hour, and continues automatically.',
      'App は作成されましたが、このマシンはまだ GitHub から鍵を取得できていません。失われたものはありません。1 時間のあいだ自動的に再試行し、取得でき次第続行します。',
    )
    return html`<p>${converting}</p>`
  }
  if (model.account?.type === 'enterprise')
    return html`<p>${t('Create the App on GitHub, then give its ID and key here.', 'GitHub で App を作成し、その ID と鍵をここで入力してください。')}</p>${linkButton(to(model, 'importForm'), t('Give ID and key', 'ID と鍵を入力'), 'primary')}`
  return html`<p>${t('An owner of the account confirms it on GitHub.', 'アカウントの所有者が GitHub で承認します。')}</p>${linkButton(to(model, 'confirm'), t('Continue on GitHub', 'GitHub に進む'), 'primary')}${
    model.pendingEnable &&
    html`<p class="hint">${t('Good until', '有効期限')}: ${dateTime(model.pendingEnable.expiresAt)}</p>`
  }`
}

const toInstall = (model: PageModel): Html => {
  const t = textIn(model.language)
  const hint = t(
    'Choose the account and the repositories on GitHub. It is noticed by itself.',
    'GitHub でアカウントとリポジトリを選んでください。完了は自動的に検知します。',
  )
  const button = t('Install the App on GitHub', 'GitHub で App をインストール')
  return html`<p>${hint}</p>${model.app && outButton(installUrl(model.app), button, 'primary')}`
}

/** Where it failed the connection stands: a refresh asks for it anew. */
const firstToken = (model: PageModel, title: string): Step => {
  const t = textIn(model.language)
  const failure = model.last_failure
  if (!failure)
    return { state: 'active', title, detail: html`<p>${t('It takes a few seconds.', '数秒かかります。')}</p>` }
  const retry = actionForm(model, 'refresh', [t('Try again', 'もう一度試す')])
  return { state: 'failed', title, detail: [quoted(failure.detail, model.language), retry] }
}

/** The ID of an App and a key of it. An enterprise's App comes this way. */
export const importPage = (model: PageModel): Html => {
  const t = textIn(model.language)
  const create =
    model.createUrl !== undefined &&
    html`<br>${outButton(model.createUrl, t('Open the form on GitHub', 'GitHub のフォームを開く'), 'primary')}`
  const apps = openApps(model)
  return sessionPage(model, 'importForm', {
    title: t('Import a GitHub App', 'GitHub App を取り込む'),
    lead: t(
      'For an enterprise’s App, and for one that exists already: give its ID and a private key. Both are tried with GitHub before they are stored.',
      'Enterprise の App や、すでにある App を使う場合は、その ID と秘密鍵を入力してください。どちらも GitHub で確認してから保存します。',
    ),
    body: html`<ol class="numbered">
<li>${t('Create the App on GitHub, from a form that is filled in', '入力済みのフォームから、GitHub で App を作成します')}${create}</li>
<li>${t('On its page, under “Private keys”, generate a key: the browser downloads a file', 'App のページの “Private keys” で鍵を生成すると、ファイルがダウンロードされます')}${apps && html`<br>${apps}`}</li>
<li>${t('Under “Install App”, install it', '“Install App” から App をインストールします')}</li>
<li>${t('Give its ID and the file here', 'ID とファイルをここで渡します')}</li>
</ol>
${box({ id: 'import', title: t('App and key', 'App と鍵') }, row(importForm(model)))}`,
  })
}

const importForm = (model: PageModel): Html => {
  const t = textIn(model.language)
  const { id = '', account = model.account?.login ?? '' } = model.typed ?? {}
  return form({ frame: model, route: 'import' }, [
    textField({
      id: 'app-id',
      name: 'id',
      text: t('App ID or client ID', 'App ID またはクライアント ID'),
      hint: t('At the top of the App’s page, under “About”.', 'App のページ上部の “About” にあります。'),
      value: id,
      attributes: html`required maxlength="64" pattern="[A-Za-z0-9._\\-]+"`,
    }),
    keyField(model.language, 'private_key'),
    textField({
      id: 'import-account',
      name: 'account',
      text: t('Account', 'アカウント'),
      hint: t(
        'The organization or enterprise that the App acts for. Leave it empty if it is the App’s owner.',
        'App を使う Organization または Enterprise です。App の所有者と同じ場合は空欄のままにしてください。',
      ),
      value: account,
      attributes: html`maxlength="100" pattern="[A-Za-z0-9][A-Za-z0-9_\\-]*"`,
    }),
    html`<div class="form-actions">${submit(t('Import App', 'App を取り込む'))}${cancelLink(model)}</div>`,
  ])
}
