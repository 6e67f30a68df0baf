// The catalogue of problems in Japanese; a test holds that no code is missing.

export type Words = { readonly title: string; readonly next: string }

/** Of the problem, and of the warning. */
export const CLOCK_ADVICE_JA =
  "`timedatectl set-ntp true` で時計を合わせてください。タイムサーバーに接続できない場合は、`timedatectl set-ntp false` に続けて `timedatectl set-time 'YYYY-MM-DD hh:mm:ss UTC'` を実行してください。それまでの間、デーモンは GitHub の時刻を使用します。"

export const PROBLEMS_JA: Readonly<Record<string, Words>> = {
  usage: { title: 'コマンドの使い方が正しくありません', next: 'コマンドの --help を参照してください。' },
  'invalid-request': { title: '入力内容に誤りがあります', next: '示された項目を修正してください。' },
  'body-too-large': { title: '送信内容が大きすぎます', next: '小さくして送信してください。' },
  'unknown-route': { title: 'ページが見つかりません', next: '概要のページに戻ってください。' },
  'browser-refused': {
    title: 'ブラウザーからの要求は受け付けません',
    next: 'Host: localhost を指定し、Origin と Referer を付けずにソケットを直接呼び出してください。',
  },
  'not-permitted': {
    title: 'ポリシーで許可されていません',
    next: '管理者にプロファイルを依頼してください。管理者は `sudo ghconnect explain` で、だれが何を取得できるかを確認できます。',
  },
  'peer-gone': {
    title: '呼び出し元のプロセスを特定できません',
    next: '応答を受け取るまで終了しないプロセスから、もう一度要求してください。',
  },
  'profile-required': { title: '複数のプロファイルが該当します', next: '`profile` でいずれかを指定してください。' },
  'installation-required': {
    title: 'App は複数のアカウントにインストールされています',
    next: '`installation` でいずれかを指定してください。',
  },
  'repositories-required': {
    title: 'プロファイルのリポジトリがパターンで指定されています',
    next: '`repositories` でリポジトリを指定してください。',
  },
  'too-many-streams': {
    title: 'このユーザーのイベントストリームが多すぎます',
    next: 'どれかを閉じるか、定期的に問い合わせてください。',
  },
  'rate-limited': { title: '要求が多すぎます', next: 'しばらく待ってから、もう一度お試しください。' },
  'signed-out': {
    title: 'サインインしていません',
    next: 'このマシンで `ghconnect ui` を実行し、新しいリンクを取得してください。',
  },
  'cross-site': {
    title: 'このページからの要求ではありません',
    next: 'ページを開き直し、そこからもう一度操作してください。',
  },

  'not-connected': {
    title: 'GitHub に接続されていません',
    next: '概要のページで状態を確認し、GitHub Connect を有効にしてください。',
  },
  'already-connected': { title: 'すでに接続されています', next: '先に GitHub Connect を無効にしてください。' },
  'no-enable-pending': {
    title: 'この応答を待っているセットアップはありません',
    next: 'もう一度 GitHub Connect を有効にしてください。リンクは 1 時間有効で、使えるのは一度だけです。',
  },
  'enable-in-progress': {
    title: '新しい App の鍵を GitHub に要求しましたが、まだ応答がありません',
    next: '自動的に再試行します。中止してやり直すには、セットアップを取り消してください。',
  },
  'code-rejected': {
    title: 'GitHub が App マニフェストのコードを受け付けません',
    next: 'コードは 1 時間有効で、使えるのは一度だけです。GitHub で新しい App を削除し、もう一度有効にしてください。',
  },
  'wrong-owner': {
    title: 'App は別のアカウントのものです',
    next: 'GitHub で App を削除し、所有者にするアカウントでもう一度有効にしてください。',
  },
  'invalid-key': {
    title: '秘密鍵を読み取れません',
    next: 'GitHub の App のページからダウンロードした PEM ファイル (RSA、PKCS#1 または PKCS#8) を渡してください。',
  },
  'key-mismatch': {
    title: '秘密鍵と App が一致しません',
    next: 'App ID (またはクライアント ID) と鍵のフィンガープリントを、App のページと照らし合わせてください。',
  },
  'too-many-keys': {
    title: 'すでに 2 つの秘密鍵があります',
    next: '古い鍵を削除してから、新しい鍵を追加してください。',
  },
  'last-key': {
    title: '最後の秘密鍵は削除できません',
    next: '先に新しい鍵を追加してください。接続を終えるには GitHub Connect を無効にします。',
  },
  'key-lost': {
    title: 'App は作成されましたが、鍵がディスクに届きませんでした',
    next: 'App のページで新しい鍵を生成して取り込むか、App を削除してもう一度有効にしてください。',
  },
  quarantined: {
    title: '認証情報は別のマシンで有効にされました',
    next: 'このマシンで置き換える場合は接続を引き継ぎ、複製の場合はここの認証情報を削除してください。',
  },

  locked: {
    title: 'ストアの鍵が得られないため、ロックされています',
    next: 'ストアの鍵 (systemd の資格情報 `store.key` または [store] key_file) を用意するか、回復キーでロックを解除してください。',
  },
  'nothing-locked': {
    title: 'ロックされているものはありません',
    next: '`ghconnect status` で状態を確認してください。封印されたバンドルは、先に `ghconnect snapshot restore` で復元してください。',
  },
  'wrong-store-key': {
    title: 'ストアの鍵がこのストアと一致しません',
    next: 'ストアを作成したときの鍵を用意するか、回復キーでロックを解除してください。',
  },
  'store-corrupt': {
    title: 'ストアが破損しています',
    next: '調査のためフォルダーを残したまま、スナップショットを復元してください: `ghconnect snapshot restore --input FILE`',
  },
  'store-newer': {
    title: 'ストアは新しいバージョンで書き込まれています',
    next: 'そのバージョンをもう一度インストールしてください。',
  },
  'state-in-use': {
    title: '別のデーモンが状態フォルダーを使用しています',
    next: '示されたプロセスを停止するか、別の [paths] state を指定してください。',
  },
  'socket-in-use': {
    title: 'ソケットは動作中のプロセスが使用しています',
    next: '示されたプロセスを停止するか、別の [paths] runtime を指定してください。',
  },
  'disk-full': {
    title: 'ディスクに空きがありません',
    next: '空き容量を確保してください。何も変更されていません。開けなかったストアは 15 秒ごとに再試行されます。',
  },
  io: { title: '読み書きに失敗しました', next: '原因を確認し、パスの所有者とアクセス権を確かめてください。' },
  'audit-unavailable': {
    title: '監査ログに書き込めないため、トークンを提供できません',
    next: '空き容量を確保するか、状態フォルダーを修復してください。デーモンは、監査ログに記録できないものを許可しません。',
  },
  configuration: {
    title: '設定に誤りがあります',
    next: '示されたキーを修正し、`ghconnect config check` で確認してください。',
  },
  'daemon-absent': { title: 'デーモンが応答しません', next: '起動してください: `systemctl start ghconnectd`' },

  'bundle-corrupt': {
    title: 'スナップショットが破損しているか、変更されています',
    next: '何も変更されていません。別のスナップショットを使ってください。`ghconnect snapshot inspect FILE` で確認できます。',
  },
  'bundle-newer': {
    title: 'スナップショットは新しいバージョンで作成されています',
    next: '何も変更されていません。そのバージョン以降をインストールしてから復元してください。',
  },
  'bundle-wrong-identity': {
    title: 'この回復キーでは開けません',
    next: '受信者のいずれかに対応する回復キーを渡してください。`ghconnect snapshot inspect FILE` で受信者を確認できます。',
  },
  'bundle-untrusted': {
    title: 'スナップショットは未知のマシンで署名されており、ここには有効な接続があります',
    next: '`ghconnect snapshot inspect FILE` で App、アカウント、署名者を確認し、署名者を [snapshot] trusted に追加するか --force を指定してください。',
  },
  'bundle-other-github': {
    title: 'スナップショットは別の GitHub のものです',
    next: '何も変更されていません。設定の [github] url と api_url を修正するか、--force を指定して復元し直してください。',
  },
  'bundle-sealed': {
    title: 'スナップショットは暗号化されており、回復キーがありません',
    next: '回復キーを渡してください。',
  },

  'proxy-unreachable': {
    title: 'Web プロキシに接続できません',
    next: 'プロキシを起動するか、[proxy] url を修正して `systemctl reload ghconnectd` を実行してください。',
  },
  'proxy-authentication': {
    title: 'Web プロキシの認証に失敗しました',
    next: '[proxy] url のユーザーを確認してください。パスワードを [proxy] password_file に書くか、`systemd-ask-password -n | systemd-creds encrypt --name=proxy.password - /etc/ghconnectd/credentials/proxy.password` で封印し、`systemctl restart ghconnectd` を実行してください。',
  },
  'proxy-auth-scheme': {
    title: 'Web プロキシが、対応している認証方式を提示していません',
    next: '対応しているのは Basic 認証だけです。プロキシで Basic 認証を有効にするか、[proxy] url に cntlm や px などの中継プログラムを指定してください。',
  },
  'proxy-refused': {
    title: 'Web プロキシが GitHub への接続を拒否しています',
    next: 'プロキシで、GitHub の各ホストの 443 番ポートへの CONNECT を許可してください。',
  },
  portal: {
    title: 'GitHub 以外のものが応答しました',
    next: '途中のポータル、フィルター、プロキシが通信に割り込んでいます。GitHub の各ホストへの通信を通してください。',
  },
  dns: {
    title: 'GitHub のホスト名を解決できません',
    next: '/etc/resolv.conf のネームサーバーを修正してください。',
  },
  tls: {
    title: 'GitHub までの間の TLS 証明書を信頼できません',
    next: '社内で TLS 通信を検査している場合は、その CA 証明書のファイルを [proxy] ca_file に指定し、`systemctl reload ghconnectd` を実行してください。そうでない場合は、だれが通信に割り込んでいるかを調べてください。',
  },
  unreachable: {
    title: 'GitHub に接続できません',
    next: '経路とファイアウォールを確認してください。自動的に再試行します。',
  },
  timeout: { title: 'GitHub から時間内に応答がありませんでした', next: '自動的に再試行します。' },
  'github-outage': {
    title: 'GitHub で障害が発生しています',
    next: 'www.githubstatus.com を確認してください。自動的に再試行します。',
  },
  'github-unexpected': {
    title: 'GitHub から想定外の応答がありました',
    next: '詳細を確認し、続く場合は報告してください。',
  },
  'scope-mismatch': {
    title: 'GitHub が要求と異なる範囲を付与しました',
    next: 'トークンは失効させ、提供しません。App のアクセス許可を確認してください。',
  },

  'cluster-unreachable': {
    title: 'クラスターの etcd に接続できません',
    next: '[cluster] endpoints と、etcd の過半数のメンバーが動作していることを確認してください。手元の情報で動作を続け、自動的に再試行します。',
  },
  'cluster-refused': {
    title: 'クラスターの etcd がこのノードを拒否しています',
    next: '[cluster] の証明書、ユーザー、パスワードと、クラスターのプレフィックスに対するロールの権限を確認してください。',
  },
  'cluster-conflict': {
    title: '別のノードが先に接続を変更しました',
    next: '概要のページで現在の状態を確認し、改めて判断してください。',
  },
  'cluster-secret': {
    title: 'クラスターの内容を開けません',
    next: 'ほかのノードと同じクラスターシークレットを設定し、再起動してください。',
  },
  'cluster-behind': {
    title: 'クラスターの内容をこのノードに取り込めません',
    next: '示された問題を解決してください。自動的に再試行します。それまでこのノードからの変更はできず、24 時間が過ぎるとトークンを提供しなくなります。',
  },
  'cluster-member': {
    title: 'このノードはクラスターと適合しません',
    next: '`ghconnect cluster status` で確認し、`cluster join` または `cluster leave` で変更してください。',
  },
  isolated: {
    title: 'このノードは長時間クラスターから切り離されていました',
    next: 'etcd への経路、または `ghconnect cluster status` が示す問題を解決してください。クラスターの内容を取り込めるまで、トークンは提供されません。',
  },
  replica: {
    title: 'このノードはレプリカで、外部を呼び出しません',
    next: 'プライマリのノードに要求するか、このノードで `ghconnect cluster promote` を実行してください。',
  },

  'clock-skew': {
    title: 'このマシンの時計が GitHub とずれています',
    next: CLOCK_ADVICE_JA,
  },
  'key-rejected': {
    title: 'GitHub が App の秘密鍵を拒否しています',
    next: 'App のページで新しい鍵を生成し、追加してください。',
  },
  'app-not-found': {
    title: 'GitHub に App が見つかりません',
    next: 'App が削除された場合は、このマシンで無効にしてから、もう一度有効にしてください。',
  },
  'installation-not-found': {
    title: 'App がインストールされていません',
    next: 'アカウントに App をインストールしてください。アドレスは `ghconnect status` で確認できます。',
  },
  suspended: {
    title: 'インストールが一時停止されています',
    next: 'アカウントの設定の GitHub Apps で、一時停止を解除してください。',
  },
  'ip-blocked': {
    title: 'アカウントの IP 許可リストにこのマシンが含まれていません',
    next: 'このマシンの外向きのアドレスを、アカウントの IP 許可リストに追加してください。',
  },
  'account-policy': {
    title: 'アカウントのポリシーにより App が拒否されています',
    next: 'アカウントの所有者が、App に関するポリシーとシングルサインオンの設定を確認してください。詳細に GitHub の応答があります。',
  },
  'permission-not-granted': {
    title: 'App に必要なアクセス許可がありません',
    next: '要求を減らすか、所有者が App の設定でアクセス許可を承認してください。',
  },
  'repository-not-accessible': {
    title: 'インストールに含まれないリポジトリがあります',
    next: '名前を確認するか、インストールにリポジトリを追加してください。',
  },
  'bad-credentials': {
    title: 'GitHub がトークンを拒否しました',
    next: '新しいトークンを発行します。もう一度お試しください。',
  },
  forbidden: { title: 'App にはこの操作が許可されていません', next: '詳細に示されたアクセス許可を確認してください。' },
  quota: { title: 'GitHub のレート制限に達しました', next: '制限がリセットされると自動的に再試行します。' },

  internal: { title: 'プログラムのエラーです', next: 'ジャーナルを確認し、報告してください。' },
}
