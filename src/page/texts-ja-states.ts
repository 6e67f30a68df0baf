// What each state of the connection means and asks for, in Japanese.

import type { StateTexts } from './texts-en-states.ts'

export const STATES_JA: StateTexts = {
  enable: {
    lead: hostname =>
      `${hostname} から、自社の Organization または Enterprise が所有する GitHub App を通じて GitHub.com を利用できるようにします。`,
    does: 'できること',
    doesApp: 'お使いのアカウントが所有する GitHub App を作成します。秘密鍵は暗号化され、このマシンだけに保存されます。',
    doesTokens: '許可したローカルサービスに、範囲を絞った短期間のトークンを渡し、期限が来る前に更新します。',
    doesProxy: proxy => `すべての通信は Web プロキシ ${proxy} を経由します。`,
    doesDirect: 'GitHub に直接接続します (Web プロキシは設定されていません)。',
    doesAudit: 'トークンの提供と変更をすべて、気づかれずに書き換えることのできない監査ログに記録します。',
    data: 'データとアクセス許可',
    dataShared:
      'GitHub に伝わるのは、このサーバーの名前とアドレス、および接続元のアドレスです。GitHub Connect 自体がユーザー、リポジトリ、ライセンスの情報を送ることはありません。ローカルサービスがトークンを使って送る内容は、そのサービスによります。',
    dataPermissions: 'App は、インストール時に選んだリポジトリに対して次のアクセス許可を求めます:',
    before: '始める前に',
    beforeOwner: 'GitHub で Organization または Enterprise の所有者であること。',
    beforeHosts: 'このマシンから次のホストの 443 番ポートに接続できること:',
    beforeBrowser: 'お使いのブラウザーからも接続できる必要があります。',
    beforeAllowList: 'アカウントに IP 許可リストがある場合、このマシンのアドレスが含まれていること:',
    beforeAllowListUnknown: 'アカウントに IP 許可リストがある場合、このマシンの外向きのアドレスが含まれていること。',
    beforeClock: 'このマシンの時計が合っていること。',
    beforeClockOff: seconds => `このマシンの時計が GitHub と ${seconds} 秒ずれています。NTP で合わせてください。`,
    verify: '接続を診断する',
    form: '有効にする',
    kind: 'App を所有するアカウントの種類',
    organization: 'Organization',
    organizationHint: 'App は自動で作成されます。GitHub で承認してください。',
    enterprise: 'Enterprise',
    enterpriseHint: '入力済みのフォームから App を作成し、その鍵をここに取り込みます。',
    user: '個人アカウント',
    userHint: 'お試し用です。',
    login: 'アカウント名',
    loginHint: 'GitHub のアドレスに含まれる名前です (github.com/octo-org、github.com/enterprises/octo-corp など)。',
    withoutRecovery: '回復キーなしで続けます。スナップショットは暗号化されずに出力されます。',
    recoveryFirst: '回復キーがまだありません。',
    recoveryMake: '作成する',
    terms:
      'このアカウントを接続する権限があり、設定ファイルに記載したローカルサービスが GitHub の利用規約のもとでアカウントの名義で動作することに同意します。',
    button: 'GitHub Connect を有効にする',
    other: 'すでに App がある場合は',
    import: '取り込んでください',
    ended: '前回の接続は終了しました:',
  },
  progress: {
    title: 'セットアップ中',
    lead: login => `${login} に接続しています。このページは閉じてもかまいません。後で戻って続けられます。`,
    created: 'App を作成',
    installed: 'App をインストール',
    'first-token': '最初のトークンを取得',
    createHint: 'アカウントの所有者が GitHub で承認します。',
    createButton: 'GitHub に進む',
    importButton: 'ID と鍵を入力',
    importHint: 'GitHub で App を作成し、その ID と鍵をここで入力してください。',
    converting:
      'App は作成されましたが、このマシンはまだ GitHub から鍵を取得できていません。失われたものはありません。1 時間のあいだ自動的に再試行し、取得でき次第続行します。',
    expires: '有効期限',
    installHint: 'GitHub でアカウントとリポジトリを選んでください。完了は自動的に検知します。',
    installButton: 'GitHub で App をインストール',
    tokenHint: '数秒かかります。',
    retry: 'もう一度試す',
    cancel: '取り消す',
    cancelHint: 'セットアップを中止します。すでに作成された App は、GitHub で削除するまで残ります。',
  },
  connected: {
    lead: (login, app) => `${login} に ${app} として接続しています。`,
  },
  trouble: {
    github: 'GitHub の応答:',
    open: 'GitHub で開く',
    suspended: {
      title: app => `${app} のインストールが一時停止されています`,
      next: login =>
        `新しいトークンは発行されません。${login} の所有者が GitHub で一時停止を解除すると、数分以内に検知します。`,
      action: 'インストールのページを開く',
    },
    uninstalled: {
      title: app => `${app} はインストールされていません`,
      next: login => `トークンは提供されません。${login} に App をもう一度インストールすると、数分以内に検知します。`,
      action: 'App をインストール',
    },
    'app-deleted': {
      title: app => `GitHub に ${app} が見つかりません`,
      next: () =>
        'トークンは提供されません。意図して App を削除した場合は、このマシンで GitHub Connect を無効にしてから、もう一度有効にして新しい App を作成してください。',
      action: 'このマシンで無効にする',
    },
    'key-rejected': {
      title: app => `GitHub が ${app} の秘密鍵を拒否しています`,
      next: () => '手元のトークンは期限まで提供されます。App のページで新しい鍵を生成し、ここで追加してください。',
      action: 'App のページを開く',
    },
    blocked: {
      title: _app => 'IP 許可リストにこのマシンが含まれていません',
      next: login => `${login} の所有者がこのマシンのアドレスを IP 許可リストに追加すると、数分以内に検知します。`,
      action: '許可リストを開く',
    },
    policy: {
      title: app => `アカウントのポリシーにより ${app} が拒否されています`,
      next: login =>
        `${login} の所有者が、App に関するポリシーとシングルサインオンの設定を確認してください。変更は数分以内に検知します。`,
      action: '設定を開く',
    },
    address: 'このマシンのアドレス:',
  },
  quarantined: {
    title: 'この認証情報は別のマシンのものです',
    explained: (host, here) =>
      `認証情報は ${host} で有効にされましたが、このマシンは ${here} です。複製が元のマシンの妨げにならないよう、トークンの提供も外部への通信も行いません。`,
    replace: 'このマシンで置き換える場合',
    replaceHint: '元のマシンはもう存在せず、戻りません。すぐにトークンの提供を始めます。',
    adopt: '接続を引き継ぐ',
    copy: 'このマシンが複製の場合',
    copyHint: 'ここにある認証情報を削除します。GitHub と元のマシンには影響しません。',
    remove: 'ここの認証情報を削除する',
  },
  locked: {
    title: 'ストアがロックされています',
    explained: '暗号化ストアを開く鍵が得られないため、何も提供できません。データは失われていません。',
    bring: 'ストアの鍵を元に戻す',
    bringHint:
      'systemd の資格情報 `store.key`、または `[store] key_file` で指定したファイルです。自動的に再試行します。',
    recover: 'または、回復キーで開く',
    waitTitle: 'スナップショットが回復キーを待っています',
    waitExplained: '暗号化されたスナップショットが復元されました。回復キーで開くと、その内容で接続します。',
    waitForm: '開く',
    identity: '回復キー',
    identityHint:
      '回復キーの作成時に保存したファイルです。AGE-SECRET-KEY-1 で始まる行があります。一度だけ使用し、保存はしません。',
    button: 'ロックを解除',
  },
  keyLost: {
    title: 'App は作成されましたが、鍵が届きませんでした',
    explained: login =>
      `GitHub は ${login} に App を作成して鍵を一度だけ渡しましたが、ディスクに保存する前にこのマシンが停止しました。`,
    keep: 'App を使い続ける',
    keepHint: 'GitHub の App のページで新しい鍵を生成し、ここで渡してください。',
    keepButton: 'App と鍵を取り込む',
    again: 'やり直す',
    againHint: 'GitHub で App を削除し、もう一度有効にしてください。',
    openApps: 'GitHub の App 一覧を開く',
    cancel: 'やり直す',
  },
}
