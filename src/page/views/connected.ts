// What is connected to what: account, App, installations and features; who may use it, what happened lately, and the way out of it all.

import { permissionsCover } from '../../protocol/scope.ts'
import { type PageModel, to } from '../model.ts'
import { featureTitle } from '../problems.ts'
import { disableDialog } from './disable.ts'
import { dateTime, type Html, html, type Part, relativeTime, type Text, textIn } from './html.ts'
import { accountType, box, chips, english, facts, label, muted, outLink, permissionList, prose, row } from './parts.ts'

const ROLES: Readonly<Record<PageModel['role'], Text>> = {
  single: ['Single node', '単一ノード'],
  leader: ['Leader: it refreshes the tokens for all nodes', 'リーダー (全ノードのトークンを更新します)'],
  follower: ['Follower: it has its tokens from the leader', 'フォロワー (リーダーからトークンを受け取ります)'],
  replica: ['Replica', 'レプリカ'],
}

export const connectionBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const { account, app, keys, language, proxy } = model
  const held = keys.length === 1 ? '1 private key' : `${keys.length} private keys`
  const count = model.recovery_recipients.length
  const recovery = count === 0 ? 'no recovery key' : count === 1 ? '1 recovery key' : `${count} recovery keys`
  return box(
    { id: 'connection', title: t('Connection', '接続'), live: true },
    facts([
      [
        t('Account', 'アカウント'),
        account && html`<strong>${account.login}</strong> ${accountType(account, language)}`,
      ],
      [
        'GitHub App',
        app &&
          html`${outLink(app.html_url, app.name)}<br><span class="hint">${t(`App ID ${app.id} · client ID ${app.client_id}`, `App ID ${app.id} · クライアント ID ${app.client_id}`)}</span>`,
      ],
      [t('Since', '開始'), dateTime(model.since)],
      [
        t('Keys', '鍵'),
        html`<a href="${to(model, 'keysPage')}">${t(held, `秘密鍵 ${keys.length} 個`)} · ${t(recovery, count === 0 ? '回復キーなし' : `回復キー ${count} 個`)}</a>${keys.some(({ state }) => state === 'rejected') && html` ${label('danger', t('Rejected by GitHub', 'GitHub に拒否されました'))}`}`,
      ],
      [
        t('Web proxy', 'Web プロキシ'),
        proxy === undefined
          ? t('None: this machine calls GitHub directly', 'なし (GitHub に直接接続します)')
          : html`<code>${proxy}</code>`,
      ],
      [
        t('This machine', 'このマシン'),
        html`${model.hostname} <span class="hint">${t(`generation ${model.generation}`, `世代 ${model.generation}`)}</span>`,
      ],
      [t('Cluster role', 'クラスターでの役割'), t(...ROLES[model.role])],
    ]),
  )
}

export const installationsBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const rows = model.installations.map(installation => installationRow(installation, model))
  return box(
    { id: 'installations', title: t('Installations', 'インストール先'), live: true },
    rows.length > 0
      ? rows
      : muted(t('The App is not installed anywhere yet.', 'App はまだどこにもインストールされていません。')),
  )
}

const installationRow = (installation: PageModel['installations'][number], model: PageModel): Html => {
  const { language } = model
  const t = textIn(language)
  const { account, repository_selection: selection, permissions, html_url: url, suspended_at: suspended } = installation
  // What the App asks for by now, and the owner of the installation has not approved.
  const pending = Object.entries(model.askedPermissions).filter(
    ([name, access]) => !permissionsCover(permissions, { [name]: access }),
  )
  return row(
    html`<h3>${account.login} ${accountType(account, language)}${suspended !== undefined && html` ${label('danger', t('Suspended', '一時停止中'))}`}</h3>
<p class="hint">${selection === 'all' ? t('All repositories', 'すべてのリポジトリ') : t('Selected repositories', '選択したリポジトリ')}</p>
${permissionList(permissions, language)}
${
  pending.length > 0 &&
  html`<div class="note note-attention"><p>${t('Permissions that wait for approval by an owner:', '所有者の承認を待っているアクセス許可:')} ${outLink(url, t('Review', '確認する'))}</p>${permissionList(Object.fromEntries(pending), language)}</div>`
}`,
    outLink(url, t('Manage', '管理')),
  )
}

/** Those that are off share a row: they are choices, not facts. */
export const featuresBox = (model: PageModel): Part => {
  if (model.features.length === 0) return undefined
  const { language } = model
  const t = textIn(language)
  const off = model.features.filter(({ state }) => state === 'off')
  const howTo = t(
    'Off; `ghconnect features enable NAME` switches one on:',
    'オフの機能 (`ghconnect features enable NAME` でオンにできます):',
  )
  return box({ id: 'features', title: t('Features', '機能'), live: true }, [
    ...model.features
      .filter(({ state }) => state !== 'off')
      .map(feature =>
        row(
          html`<h3>${featureTitle(feature, language)} <code class="muted">${feature.name}</code></h3>${feature.detail !== undefined && html`<p class="hint"${english(language)}>${feature.detail}</p>`}`,
          feature.state === 'on'
            ? label('success', t('On', 'オン'))
            : label('attention', t('Needs attention', '要確認')),
        ),
      ),
    off.length > 0 &&
      row(html`<p class="hint">${prose(howTo)}</p>${chips(off.map(feature => featureTitle(feature, language)))}`),
  ])
}

export const profilesBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const title = t('Who may use it', '利用できるプログラム')
  if (model.profiles.length === 0) {
    const empty = t(
      'No profile is configured: no local service gets a token. Add [[profiles]] to the configuration.',
      'プロファイルが設定されていないため、どのサービスもトークンを取得できません。設定ファイルに [[profiles]] を追加してください。',
    )
    return box({ id: 'profiles', title }, muted(empty))
  }
  const explained = t(
    'Local services get a token only under one of these profiles of the configuration.',
    'ローカルのサービスは、設定ファイルの次のプロファイルに従う場合に限りトークンを取得できます。',
  )
  return box({ id: 'profiles', title }, [
    row(html`<p class="hint">${explained}</p>`),
    ...model.profiles.map(profile => profileRow(profile, model)),
  ])
}

const profileRow = (profile: PageModel['profiles'][number], { language }: PageModel): Html => {
  const t = textIn(language)
  const { name, installation, repositories, permissions, allow } = profile
  const callers = [
    [t('users', 'ユーザー'), allow.users],
    [t('groups', 'グループ'), allow.groups],
    [t('units', 'ユニット'), allow.units],
  ] as const
  const named = callers.filter(([, names]) => names.length > 0)
  return html`<div class="row profile"><div class="profile-name"><h3><code>${name}</code></h3>${installation !== undefined && html`<p class="hint">${installation}</p>`}</div>
<dl class="profile-facts"><div><dt>${t('Callers', '呼び出し元')}</dt><dd>${
    named.length === 0
      ? t('nobody', 'なし')
      : named.map(([kind, names]) => html`<span class="caller">${kind} ${codes(names)}</span>`)
  }</dd></div>
<div><dt>${t('Scope', '範囲')}</dt><dd>${repositories === undefined ? t('all repositories', 'すべてのリポジトリ') : codes(repositories)}${permissions === undefined ? html`<br>${t('all permissions that were granted', '付与されたすべてのアクセス許可')}` : permissionList(permissions, language)}</dd></div></dl></div>`
}

const codes = (names: readonly string[]): Part =>
  names.map((name, index) => html`${index > 0 && ', '}<code>${name}</code>`)

const AUDIT_ROWS = 10

export const auditBox = (model: PageModel): Html => {
  const t = textIn(model.language)
  const head = { id: 'audit', title: t('Recent activity', '最近の出来事'), live: true }
  const rows = model.audit.slice(0, AUDIT_ROWS)
  if (rows.length === 0) return box(head, muted(t('Nothing has happened yet.', 'まだ何も記録されていません。')))
  const explained = t(
    'From the audit log; `ghconnect audit` shows all of it.',
    '監査ログの抜粋です。全体は `ghconnect audit` で確認できます。',
  )
  const columns = [t('When', '日時'), t('Event', 'イベント'), t('Caller', '呼び出し元'), t('Details', '詳細')]
  return box(
    head,
    html`${row(html`<p class="hint">${prose(explained)}</p>`)}<div class="table-scroll" role="group" aria-labelledby="audit-title" tabindex="0"><table class="table"><thead><tr>${columns.map(name => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows.map(entry => auditRow(entry, model))}</tbody></table></div>`,
  )
}

const auditRow = (entry: PageModel['audit'][number], model: PageModel): Html => {
  const { at, event, unit, uid, pid, count = 1 } = entry
  const times = textIn(model.language)(`${count} times`, `${count} 回`)
  const who = unit ?? (uid !== undefined && `uid ${uid}, pid ${pid}`)
  const said = [entry.profile, entry.scope, entry.detail].filter(Boolean).join(' · ')
  return html`<tr><td class="nowrap">${relativeTime(at, model)}</td><td><code>${event}</code>${count > 1 && html` <span class="counter">${times}</span>`}</td><td>${who ? html`<code>${who}</code>` : html`<span class="muted" aria-hidden="true">–</span>`}</td><td class="said">${said}</td></tr>`
}

export const dangerZone = (model: PageModel): Html => {
  const t = textIn(model.language)
  const disable = t('Disable GitHub Connect', 'GitHub Connect を無効にする')
  const hint = t(
    'Revokes all tokens, uninstalls the App, and deletes its private key from this machine.',
    'すべてのトークンを失効させ、App をアンインストールし、このマシンから秘密鍵を削除します。',
  )
  return html`${box(
    { id: 'danger', title: t('Danger zone', '危険な操作') },
    row(
      html`<h3>${disable}</h3><p class="hint">${hint}</p>`,
      html`<a class="button button-danger" href="${to(model, 'disableForm')}" data-opens="disable-dialog">${disable}</a>`,
    ),
  )}${disableDialog(model)}`
}
