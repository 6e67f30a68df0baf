// The states: what each is called and how grave it is, and what those say and offer in which something has to be fixed or decided.

import { appsSettingsUrl, type DaemonState, type Trouble } from '../../protocol/connection.ts'
import { type PageModel, to } from '../model.ts'
import { type Html, html, type Part, type Text, textIn } from './html.ts'
import {
  actionForm,
  banner,
  box,
  form,
  keyField,
  linkButton,
  outButton,
  prose,
  quoted,
  row,
  submit,
  type Tone,
} from './parts.ts'

type State = {
  readonly label: Text
  readonly tone: Tone
  /** Problems that the state itself tells of: they need no warning beside it. */
  readonly said?: readonly string[]
}

export const STATES: Readonly<Record<DaemonState, State>> = {
  disconnected: { label: ['Not enabled', '無効'], tone: 'neutral' },
  'awaiting-app': { label: ['Setting up', 'セットアップ中'], tone: 'attention' },
  'key-lost': { label: ['Key lost', '鍵の喪失'], tone: 'danger' },
  'awaiting-installation': { label: ['Setting up', 'セットアップ中'], tone: 'attention' },
  connected: { label: ['Connected', '接続済み'], tone: 'success' },
  suspended: { label: ['Suspended', '一時停止中'], tone: 'danger', said: ['suspended'] },
  uninstalled: { label: ['Not installed', '未インストール'], tone: 'danger', said: ['installation-not-found'] },
  'app-deleted': { label: ['App deleted', 'App 削除済み'], tone: 'danger', said: ['app-not-found'] },
  'key-rejected': { label: ['Key rejected', '鍵の拒否'], tone: 'danger', said: ['key-rejected'] },
  blocked: { label: ['Blocked', '遮断'], tone: 'danger', said: ['ip-blocked', 'account-policy'] },
  quarantined: { label: ['Quarantined', '隔離中'], tone: 'danger' },
  disconnecting: { label: ['Disabling', '無効化中'], tone: 'attention' },
  locked: { label: ['Locked', 'ロック中'], tone: 'danger' },
  'awaiting-unlock': { label: ['Waiting for a recovery key', '回復キー待ち'], tone: 'attention' },
  isolated: { label: ['Cut off', '孤立'], tone: 'danger' },
}

/** What GitHub put the connection into: what it said, and the one thing that fixes it. */
export const troubleBanner = (model: PageModel, trouble: Trouble): Html => {
  const { title, next, action } = troubleOf(model, trouble)
  return banner(
    'danger',
    html`<h2 class="banner-title">${title}</h2>
<p>${next}</p>
${model.evidence !== undefined && html`<p class="quoted"><span class="muted">${textIn(model.language)('What GitHub says:', 'GitHub の応答:')}</span> <q lang="en">${model.evidence}</q></p>`}
<div class="form-actions">${action}</div>`,
  )
}

const troubleOf = (model: PageModel, trouble: Trouble): { title: string; next: string; action: Part } => {
  const t = textIn(model.language)
  const app = model.app?.name ?? ''
  const login = model.account?.login ?? ''
  switch (trouble) {
    case 'suspended': {
      const [first] = model.installations
      const installation = model.installations.find(one => one.suspended_at !== undefined) ?? first
      return {
        title: t(`The installation of ${app} is suspended`, `${app} のインストールが一時停止されています`),
        next: t(
          `No new tokens are made. An owner of ${login} unsuspends the App on GitHub; it is noticed within minutes.`,
          `新しいトークンは発行されません。${login} の所有者が GitHub で一時停止を解除すると、数分以内に検知します。`,
        ),
        action:
          installation &&
          outButton(installation.html_url, t('Open the installation', 'インストールのページを開く'), 'primary'),
      }
    }
    case 'uninstalled':
      return {
        title: t(`${app} is no longer installed`, `${app} はインストールされていません`),
        next: t(
          `Tokens are not served. Install the App on ${login} again; it is noticed within minutes.`,
          `トークンは提供されません。${login} に App をもう一度インストールすると、数分以内に検知します。`,
        ),
        action: model.app && outButton(installUrl(model.app), t('Install the App', 'App をインストール'), 'primary'),
      }
    case 'app-deleted':
      return {
        title: t(`GitHub does not know ${app} any more`, `GitHub に ${app} が見つかりません`),
        next: t(
          'Tokens are not served. If the App was deleted on purpose, disable GitHub Connect on this machine, then enable it again for a new App.',
          'トークンは提供されません。意図して App を削除した場合は、このマシンで GitHub Connect を無効にしてから、もう一度有効にして新しい App を作成してください。',
        ),
        action: linkButton(to(model, 'disableForm'), t('Disable on this machine', 'このマシンで無効にする'), 'danger'),
      }
    case 'key-rejected':
      return {
        title: t(`GitHub rejects the private key of ${app}`, `GitHub が ${app} の秘密鍵を拒否しています`),
        next: t(
          'Tokens at hand are served until they end. Generate a new key on the App’s page, and add it here.',
          '手元のトークンは期限まで提供されます。App のページで新しい鍵を生成し、ここで追加してください。',
        ),
        action: [
          model.appSettingsUrl !== undefined &&
            outButton(model.appSettingsUrl, t('Open the App’s page', 'App のページを開く')),
          linkButton(to(model, 'keysPage'), t('Add a private key', '秘密鍵を追加する'), 'primary'),
        ],
      }
    case 'blocked': {
      // The allow list names itself in what GitHub says; another policy of the account does not.
      const isList = /IP allow list/i.test(model.evidence ?? '')
      const button = isList ? t('Open the allow list', '許可リストを開く') : t('Open the settings', '設定を開く')
      const url = securityUrl(model)
      return {
        title: isList
          ? t('The IP allow list does not admit this machine', 'IP 許可リストにこのマシンが含まれていません')
          : t(`A policy of the account keeps ${app} out`, `アカウントのポリシーにより ${app} が拒否されています`),
        next: isList
          ? t(
              `Let an owner of ${login} add this machine’s address to the IP allow list; it is noticed within minutes.`,
              `${login} の所有者がこのマシンのアドレスを IP 許可リストに追加すると、数分以内に検知します。`,
            )
          : t(
              `Let an owner of ${login} look at its policies on Apps and its single sign-on; it is noticed within minutes.`,
              `${login} の所有者が、App に関するポリシーとシングルサインオンの設定を確認してください。変更は数分以内に検知します。`,
            ),
        action: url !== undefined && outButton(url, button, 'primary'),
      }
    }
    default:
      return trouble satisfies never
  }
}

export const installUrl = (app: NonNullable<PageModel['app']>): string => `${app.html_url}/installations/new`

/** GitHub's page of the account's IP allow list. A user has no such list. */
const securityUrl = ({ account, githubUrl }: PageModel): string | undefined =>
  account && account.type !== 'user'
    ? `${githubUrl}/${account.type === 'enterprise' ? 'enterprises' : 'organizations'}/${account.login}/settings/security`
    : undefined

export const quarantinedBody = (model: PageModel): Html => {
  const t = textIn(model.language)
  const explained = t(
    `They were enabled on ${model.enabledOn ?? '?'}; this is ${model.hostname}. Nothing is served and no call goes out, so that a copy does not disturb the original.`,
    `認証情報は ${model.enabledOn ?? '?'} で有効にされましたが、このマシンは ${model.hostname} です。複製が元のマシンの妨げにならないよう、トークンの提供も外部への通信も行いません。`,
  )
  return html`${stopBanner(t('These credentials belong to another machine', 'この認証情報は別のマシンのものです'), explained)}
${decide(model, [
  [
    t('This machine replaces it', 'このマシンで置き換える場合'),
    t(
      'The other one is gone and will not come back. Tokens are served at once.',
      '元のマシンはもう存在せず、戻りません。すぐにトークンの提供を始めます。',
    ),
    actionForm(model, 'adopt', [t('Take over the connection', '接続を引き継ぐ'), 'primary']),
  ],
  [
    t('This machine is a copy', 'このマシンが複製の場合'),
    t(
      'Deletes the credentials here. GitHub and the other machine notice nothing.',
      'ここにある認証情報を削除します。GitHub と元のマシンには影響しません。',
    ),
    linkButton(to(model, 'disableForm'), t('Delete the credentials here', 'ここの認証情報を削除する'), 'danger'),
  ],
])}`
}

export const keyLostBody = (model: PageModel): Html => {
  const t = textIn(model.language)
  const login = model.account?.login ?? ''
  const explained = t(
    `GitHub made an App for ${login} and gave out its key once; this machine stopped before the key was on the disk.`,
    `GitHub は ${login} に App を作成して鍵を一度だけ渡しましたが、ディスクに保存する前にこのマシンが停止しました。`,
  )
  return html`${stopBanner(
    t('The App was created, but its key never arrived', 'App は作成されましたが、鍵が届きませんでした'),
    explained,
    html`${model.evidence !== undefined && quoted(model.evidence, model.language)}<div class="form-actions">${openApps(model)}</div>`,
  )}
${decide(model, [
  [
    t('Keep the App', 'App を使い続ける'),
    t(
      'Generate a new key on its page on GitHub, and give it here.',
      'GitHub の App のページで新しい鍵を生成し、ここで渡してください。',
    ),
    linkButton(to(model, 'importForm'), t('Import App and key', 'App と鍵を取り込む'), 'primary'),
  ],
  [
    t('Start over', 'やり直す'),
    t('Delete the App on GitHub, then enable again.', 'GitHub で App を削除し、もう一度有効にしてください。'),
    actionForm(model, 'cancel', [t('Start over', 'やり直す')]),
  ],
])}`
}

/** GitHub's list of the account's Apps. */
export const openApps = ({ account, githubUrl, language }: PageModel): Part =>
  account &&
  outButton(
    appsSettingsUrl(githubUrl, account),
    textIn(language)('Open the Apps on GitHub', 'GitHub の App 一覧を開く'),
  )

export const lockedBody = (model: PageModel): Html => {
  const t = textIn(model.language)
  const meaning = quoted(model.meaning, model.language)
  const unlock = (title: string): Html =>
    box(
      { id: 'unlock', title },
      row(
        form({ frame: model, route: 'unlock' }, [
          keyField(model.language, 'identity'),
          html`<div class="form-actions">${submit(t('Unlock', 'ロックを解除'))}</div>`,
        ]),
      ),
    )
  if (model.state === 'awaiting-unlock') {
    const explained = t(
      'A snapshot that is encrypted was restored here. It becomes the connection once a recovery key opens it.',
      '暗号化されたスナップショットが復元されました。回復キーで開くと、その内容で接続します。',
    )
    const title = t('A snapshot waits for its recovery key', 'スナップショットが回復キーを待っています')
    return html`${stopBanner(title, explained, meaning, 'attention')}
${unlock(t('Open it', '開く'))}`
  }
  const explained = t(
    'The key that opens the encrypted store cannot be had, so nothing can be served. Nothing is lost.',
    '暗号化ストアを開く鍵が得られないため、何も提供できません。データは失われていません。',
  )
  const bring = t(
    'It is the systemd credential `store.key`, or the file that `[store] key_file` names. The daemon tries again by itself.',
    'systemd の資格情報 `store.key`、または `[store] key_file` で指定したファイルです。自動的に再試行します。',
  )
  return html`${stopBanner(t('The store is locked', 'ストアがロックされています'), explained, meaning)}
${box({ id: 'store-key', title: t('Bring back the store key', 'ストアの鍵を元に戻す') }, row(prose(bring)))}
${unlock(t('Or open it with the recovery key', 'または、回復キーで開く'))}`
}

const stopBanner = (title: string, explained: string, more?: Part, tone: Tone = 'danger'): Html =>
  banner(tone, html`<h2 class="banner-title">${title}</h2><p>${explained}</p>${more}`)

/** The ways on, of which the administrator takes one. */
const decide = (model: PageModel, ways: readonly (readonly [title: string, hint: string, action: Html])[]): Html =>
  box(
    { id: 'decide', title: textIn(model.language)('Next step', '次の手順') },
    ways.map(([title, hint, action]) => row(html`<h3>${title}</h3><p class="hint">${hint}</p>`, action)),
  )
