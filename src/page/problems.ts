// Problems, warnings and features for somebody who has the page before them: in Japanese, and in English where the catalogue names a command.

import { CATALOGUE, type Code, isCode } from '../protocol/errors.ts'
import type { FeatureName } from '../protocol/features.ts'
import type { Language, PageModel } from './model.ts'

/** Title and advice of a problem. */
export const problemText = (code: Code, language: Language): { readonly title: string; readonly next: string } =>
  language === 'ja'
    ? sentencesOf(PROBLEMS_JA[code])
    : { title: CATALOGUE[code].title, next: ADVICE_EN[code] ?? CATALOGUE[code].next }

/** `title` is absent where the English detail is all there is to say. */
export const warningText = (
  { code, next }: PageModel['warnings'][number],
  language: Language,
): { readonly title?: string; readonly next: string } => {
  const words = WARNINGS_JA[code] ?? (isCode(code) ? PROBLEMS_JA[code] : undefined)
  return language === 'en' || words === undefined ? { next } : sentencesOf(words)
}

export const featureTitle = ({ name, title }: { name: FeatureName; title: string }, language: Language): string =>
  language === 'ja' ? FEATURES_JA[name] : title

/** The first sentence is the title, and what follows the advice. */
const sentencesOf = (words: string): { title: string; next: string } => {
  const end = words.indexOf('。')
  return { title: words.slice(0, end), next: words.slice(end + 1) }
}

/** Where the catalogue names a command, and the page has a form. */
const ADVICE_EN: Readonly<Partial<Record<Code, string>>> = {
  'unknown-route': 'Go back to the overview.',
  'not-connected': 'See the overview for the state, and enable GitHub Connect there.',
  'already-connected': 'Disable GitHub Connect first.',
  'no-enable-pending': 'Enable GitHub Connect again; a link is good for one hour and one use.',
  'enable-in-progress': 'Wait: it is asked again by itself. To give up and start over, cancel setting up.',
  'code-rejected': 'A code is good once and for one hour. Delete the new App on GitHub, then continue on GitHub again.',
  'too-many-keys': 'Remove the old key, then add the new one.',
  'last-key': 'Add a new key first; disabling GitHub Connect ends the connection.',
  'key-lost': 'Generate a new key on the App’s page and import it here, or delete the App and enable again.',
  quarantined: 'Take over the connection if this machine replaces the other one, else delete the credentials here.',
  'wrong-store-key': 'Give the key that the store was made with, or unlock it with the recovery key.',
  'bundle-wrong-identity': 'Give the recovery key to which the snapshot was encrypted.',
  'bundle-sealed': 'Give the recovery key.',
  'key-rejected': 'Generate a key on the App’s page and add it under “Keys and recovery”.',
  'app-not-found': 'If the App was deleted, disable GitHub Connect on this machine, then enable it again.',
}

/** Of the problem, and of the warning. */
const CLOCK_JA =
  "このマシンの時計が GitHub とずれています。`timedatectl set-ntp true` で時計を合わせてください。タイムサーバーに接続できない場合は、`timedatectl set-ntp false` に続けて `timedatectl set-time 'YYYY-MM-DD hh:mm:ss UTC'` を実行してください。それまでの間、デーモンは GitHub の時刻を使用します。"

export const PROBLEMS_JA: Readonly<Record<Code, string>> = {
  usage: 'コマンドの使い方が正しくありません。コマンドの --help を参照してください。',
  'invalid-request': '入力内容に誤りがあります。示された項目を修正してください。',
  'body-too-large': '送信内容が大きすぎます。小さくして送信してください。',
  'unknown-route': 'ページが見つかりません。概要のページに戻ってください。',
  'browser-refused':
    'ブラウザーからの要求は受け付けません。Host: localhost を指定し、Origin と Referer を付けずにソケットを直接呼び出してください。',
  'not-permitted':
    'ポリシーで許可されていません。管理者にプロファイルを依頼してください。管理者は `sudo ghconnect explain` で、だれが何を取得できるかを確認できます。',
  'peer-gone':
    '呼び出し元のプロセスを特定できません。応答を受け取るまで終了しないプロセスから、もう一度要求してください。',
  'profile-required': '複数のプロファイルが該当します。`profile` でいずれかを指定してください。',
  'installation-required':
    'App は複数のアカウントにインストールされています。`installation` でいずれかを指定してください。',
  'repositories-required':
    'プロファイルのリポジトリがパターンで指定されています。`repositories` でリポジトリを指定してください。',
  'too-many-streams': 'このユーザーのイベントストリームが多すぎます。どれかを閉じるか、定期的に問い合わせてください。',
  'rate-limited': '要求が多すぎます。しばらく待ってから、もう一度お試しください。',
  'signed-out': 'サインインしていません。このマシンで `ghconnect ui` を実行し、新しいリンクを取得してください。',
  'cross-site': 'このページからの要求ではありません。ページを開き直し、そこからもう一度操作してください。',

  'not-connected': 'GitHub に接続されていません。概要のページで状態を確認し、GitHub Connect を有効にしてください。',
  'already-connected': 'すでに接続されています。先に GitHub Connect を無効にしてください。',
  'no-enable-pending':
    'この応答を待っているセットアップはありません。もう一度 GitHub Connect を有効にしてください。リンクは 1 時間有効で、使えるのは一度だけです。',
  'enable-in-progress':
    '新しい App の鍵を GitHub に要求しましたが、まだ応答がありません。自動的に再試行します。中止してやり直すには、セットアップを取り消してください。',
  'code-rejected':
    'GitHub が App マニフェストのコードを受け付けません。コードは 1 時間有効で、使えるのは一度だけです。GitHub で新しい App を削除し、もう一度有効にしてください。',
  'wrong-owner':
    'App は別のアカウントのものです。GitHub で App を削除し、所有者にするアカウントでもう一度有効にしてください。',
  'invalid-key':
    '秘密鍵を読み取れません。GitHub の App のページからダウンロードした PEM ファイル (RSA、PKCS#1 または PKCS#8) を渡してください。',
  'key-mismatch':
    '秘密鍵と App が一致しません。App ID (またはクライアント ID) と鍵のフィンガープリントを、App のページと照らし合わせてください。',
  'too-many-keys': 'すでに 2 つの秘密鍵があります。古い鍵を削除してから、新しい鍵を追加してください。',
  'last-key':
    '最後の秘密鍵は削除できません。先に新しい鍵を追加してください。接続を終えるには GitHub Connect を無効にします。',
  'key-lost':
    'App は作成されましたが、鍵がディスクに届きませんでした。App のページで新しい鍵を生成して取り込むか、App を削除してもう一度有効にしてください。',
  quarantined:
    '認証情報は別のマシンで有効にされました。このマシンで置き換える場合は接続を引き継ぎ、複製の場合はここの認証情報を削除してください。',

  locked:
    'ストアの鍵が得られないため、ロックされています。ストアの鍵 (systemd の資格情報 `store.key` または [store] key_file) を用意するか、回復キーでロックを解除してください。',
  'nothing-locked':
    'ロックされているものはありません。`ghconnect status` で状態を確認してください。封印されたバンドルは、先に `ghconnect snapshot restore` で復元してください。',
  'wrong-store-key':
    'ストアの鍵がこのストアと一致しません。ストアを作成したときの鍵を用意するか、回復キーでロックを解除してください。',
  'store-corrupt':
    'ストアが破損しています。調査のためフォルダーを残したまま、スナップショットを復元してください: `ghconnect snapshot restore --input FILE`',
  'store-newer': 'ストアは新しいバージョンで書き込まれています。そのバージョンをもう一度インストールしてください。',
  'state-in-use':
    '別のデーモンが状態フォルダーを使用しています。示されたプロセスを停止するか、別の [paths] state を指定してください。',
  'socket-in-use':
    'ソケットは動作中のプロセスが使用しています。示されたプロセスを停止するか、別の [paths] runtime を指定してください。',
  'disk-full':
    'ディスクに空きがありません。空き容量を確保してください。何も変更されていません。開けなかったストアは 15 秒ごとに再試行されます。',
  io: '読み書きに失敗しました。原因を確認し、パスの所有者とアクセス権を確かめてください。',
  'audit-unavailable':
    '監査ログに書き込めないため、トークンを提供できません。空き容量を確保するか、状態フォルダーを修復してください。デーモンは、監査ログに記録できないものを許可しません。',
  configuration: '設定に誤りがあります。示されたキーを修正し、`ghconnect config check` で確認してください。',
  'daemon-absent': 'デーモンが応答しません。起動してください: `systemctl start ghconnectd`',

  'bundle-corrupt':
    'スナップショットが破損しているか、変更されています。何も変更されていません。別のスナップショットを使ってください。`ghconnect snapshot inspect FILE` で確認できます。',
  'bundle-newer':
    'スナップショットは新しいバージョンで作成されています。何も変更されていません。そのバージョン以降をインストールしてから復元してください。',
  'bundle-wrong-identity':
    'この回復キーでは開けません。受信者のいずれかに対応する回復キーを渡してください。`ghconnect snapshot inspect FILE` で受信者を確認できます。',
  'bundle-untrusted':
    'スナップショットは未知のマシンで署名されており、ここには有効な接続があります。`ghconnect snapshot inspect FILE` で App、アカウント、署名者を確認し、署名者を [snapshot] trusted に追加するか --force を指定してください。',
  'bundle-other-github':
    'スナップショットは別の GitHub のものです。何も変更されていません。設定の [github] url と api_url を修正するか、--force を指定して復元し直してください。',
  'bundle-sealed': 'スナップショットは暗号化されており、回復キーがありません。回復キーを渡してください。',

  'proxy-unreachable':
    'Web プロキシに接続できません。プロキシを起動するか、[proxy] url を修正して `systemctl reload ghconnectd` を実行してください。',
  'proxy-authentication':
    'Web プロキシの認証に失敗しました。[proxy] url のユーザーを確認してください。パスワードを [proxy] password_file に書くか、`systemd-ask-password -n | systemd-creds encrypt --name=proxy.password - /etc/ghconnectd/credentials/proxy.password` で封印し、`systemctl restart ghconnectd` を実行してください。',
  'proxy-auth-scheme':
    'Web プロキシが、対応している認証方式を提示していません。対応しているのは Basic 認証だけです。プロキシで Basic 認証を有効にするか、[proxy] url に cntlm や px などの中継プログラムを指定してください。',
  'proxy-refused':
    'Web プロキシが GitHub への接続を拒否しています。プロキシで、GitHub の各ホストの 443 番ポートへの CONNECT を許可してください。',
  portal:
    'GitHub 以外のものが応答しました。途中のポータル、フィルター、プロキシが通信に割り込んでいます。GitHub の各ホストへの通信を通してください。',
  dns: 'GitHub のホスト名を解決できません。/etc/resolv.conf のネームサーバーを修正してください。',
  tls: 'GitHub までの間の TLS 証明書を信頼できません。社内で TLS 通信を検査している場合は、その CA 証明書のファイルを [proxy] ca_file に指定し、`systemctl reload ghconnectd` を実行してください。そうでない場合は、だれが通信に割り込んでいるかを調べてください。',
  unreachable: 'GitHub に接続できません。経路とファイアウォールを確認してください。自動的に再試行します。',
  timeout: 'GitHub から時間内に応答がありませんでした。自動的に再試行します。',
  'github-outage': 'GitHub で障害が発生しています。www.githubstatus.com を確認してください。自動的に再試行します。',
  'github-unexpected': 'GitHub から想定外の応答がありました。詳細を確認し、続く場合は報告してください。',
  'scope-mismatch':
    'GitHub が要求と異なる範囲を付与しました。トークンは失効させ、提供しません。App のアクセス許可を確認してください。',

  'cluster-unreachable':
    'クラスターの etcd に接続できません。[cluster] endpoints と、etcd の過半数のメンバーが動作していることを確認してください。手元の情報で動作を続け、自動的に再試行します。',
  'cluster-refused':
    'クラスターの etcd がこのノードを拒否しています。[cluster] の証明書、ユーザー、パスワードと、クラスターのプレフィックスに対するロールの権限を確認してください。',
  'cluster-conflict': '別のノードが先に接続を変更しました。概要のページで現在の状態を確認し、改めて判断してください。',
  'cluster-secret':
    'クラスターの内容を開けません。ほかのノードと同じクラスターシークレットを設定し、再起動してください。',
  'cluster-behind':
    'クラスターの内容をこのノードに取り込めません。示された問題を解決してください。自動的に再試行します。それまでこのノードからの変更はできず、24 時間が過ぎるとトークンを提供しなくなります。',
  'cluster-member':
    'このノードはクラスターと適合しません。`ghconnect cluster status` で確認し、`cluster join` または `cluster leave` で変更してください。',
  isolated:
    'このノードは長時間クラスターから切り離されていました。etcd への経路、または `ghconnect cluster status` が示す問題を解決してください。クラスターの内容を取り込めるまで、トークンは提供されません。',
  replica:
    'このノードはレプリカで、外部を呼び出しません。プライマリのノードに要求するか、このノードで `ghconnect cluster promote` を実行してください。',

  'clock-skew': CLOCK_JA,
  'key-rejected': 'GitHub が App の秘密鍵を拒否しています。App のページで新しい鍵を生成し、追加してください。',
  'app-not-found':
    'GitHub に App が見つかりません。App が削除された場合は、このマシンで無効にしてから、もう一度有効にしてください。',
  'installation-not-found':
    'App がインストールされていません。アカウントに App をインストールしてください。アドレスは `ghconnect status` で確認できます。',
  suspended: 'インストールが一時停止されています。アカウントの設定の GitHub Apps で、一時停止を解除してください。',
  'ip-blocked':
    'アカウントの IP 許可リストにこのマシンが含まれていません。このマシンの外向きのアドレスを、アカウントの IP 許可リストに追加してください。',
  'account-policy':
    'アカウントのポリシーにより App が拒否されています。アカウントの所有者が、App に関するポリシーとシングルサインオンの設定を確認してください。詳細に GitHub の応答があります。',
  'permission-not-granted':
    'App に必要なアクセス許可がありません。要求を減らすか、所有者が App の設定でアクセス許可を承認してください。',
  'repository-not-accessible':
    'インストールに含まれないリポジトリがあります。名前を確認するか、インストールにリポジトリを追加してください。',
  'bad-credentials': 'GitHub がトークンを拒否しました。新しいトークンを発行します。もう一度お試しください。',
  forbidden: 'App にはこの操作が許可されていません。詳細に示されたアクセス許可を確認してください。',
  quota: 'GitHub のレート制限に達しました。制限がリセットされると自動的に再試行します。',

  internal: 'プログラムのエラーです。ジャーナルを確認し、報告してください。',
}

/** Besides problems, what `GET /v1/status` warns of; a test holds that none is missing. */
export const WARNINGS_JA: Readonly<Record<string, string>> = {
  clock: CLOCK_JA,
  'tokens-unrevoked':
    '失効させたトークンの一部を GitHub がまだ受け付けます。更新のたびに再試行されます。トークンは遅くとも 1 時間で期限切れになります。',
  'no-recovery-key': '回復キーがありません。回復キーを作成し、このマシン以外の場所に保管してください。',
  'config-refused':
    '変更された設定ファイルは拒否され、以前の設定が引き続き有効です。ファイルを修正し、`ghconnect reload` を実行してください。',
  'config-doubt':
    '設定に、使われない値または疑わしい値があります。設定または環境変数を修正し、`ghconnect config check` で確認してください。',
  'unknown-unit':
    'ポリシーに、systemd にないユニットがあります。設定を修正するか、ユニットをインストールしてください。それまでは、だれもこの条件に当てはまりません。',
  'waiting-bundle':
    '暗号化されたスナップショットが回復キーを待っています。`ghconnect unlock --identity FILE` を実行してください。',
  'key-old': '1 年以上前の秘密鍵があります。GitHub で新しい鍵を生成し、「鍵と回復」で追加してください。',
  'key-fallback':
    '新しい秘密鍵が拒否され、古い鍵を使用しています。「鍵と回復」で、拒否された鍵を新しい鍵に置き換えてください。',
  'key-retire': '使われなくなった秘密鍵があります。「鍵と回復」で古い鍵を削除し、GitHub でも削除してください。',
  moved:
    'このマシンの名前または machine-id が変わりました。意図した変更であれば、`ghconnect adopt` を実行してください。',
  'permissions-pending':
    '承認されていないアクセス許可があります。所有者が GitHub のインストールのページで承認するか、App の設定で要求を取り下げてください。',
  flapping:
    '状態が繰り返し変わっています。設定を変更し続けている人を所有者に確認してください。`ghconnect refresh` を実行すると、待たずに確認します。',
  'installation-suspended':
    '一時停止されているインストールがあります。アカウントの所有者が GitHub で一時停止を解除してください。',
  'profile-unmatched':
    'インストールのないアカウントを指すプロファイルがあります。プロファイルを修正するか、そのアカウントに App をインストールしてください。',
  'quota-rest':
    'レート制限のため、GitHub への要求を休止しています。期限が来ると自動的に再開します。`ghconnect refresh` を実行すると、今すぐ要求します。',
  'cluster-not-joined':
    'クラスターが設定されていますが、このノードはまだ参加していません。`ghconnect cluster join` を実行してください。',
  'cluster-isolated':
    'このノードはクラスターから切り離されています。etcd への経路を修復してください。24 時間が過ぎると、このノードはトークンを提供しなくなります。',
  'cluster-unsent':
    'クラスターにまだ伝わっていない変更があります。etcd への経路を修復してください。回復すると自動的に伝わります。',
  'feature-permissions':
    '機能に必要なアクセス許可が足りません。App の所有者が GitHub の App のページでアクセス許可を追加し、インストール先で承認してください。',
}

const FEATURES_JA: Readonly<Record<FeatureName, string>> = {
  'license-user-sync': 'ライセンスユーザーの同期',
  'dependabot-alerts': 'Dependabot アラート',
  'dependabot-updates': 'Dependabot の更新',
  'actions-from-github': 'GitHub.com の Actions',
  'unified-search-public': '統合検索 (パブリックリポジトリ)',
  'unified-search-private': '統合検索 (プライベートリポジトリ)',
  'unified-contributions': '統合コントリビューション',
  'server-statistics': 'サーバー統計',
}
