// The lasting warnings and the features in Japanese; a test holds that no warning is missing.

import type { FeatureName } from '../protocol/features.ts'
import { CLOCK_ADVICE_JA, type Words } from './texts-ja-problems.ts'

/** Besides problems, what `GET /v1/status` warns of. */
export const WARNINGS_JA: Readonly<Record<string, Words>> = {
  clock: {
    title: 'このマシンの時計が GitHub とずれています',
    next: CLOCK_ADVICE_JA,
  },
  'tokens-unrevoked': {
    title: '失効させたトークンの一部を GitHub がまだ受け付けます',
    next: '更新のたびに再試行されます。トークンは遅くとも 1 時間で期限切れになります。',
  },
  'no-recovery-key': {
    title: '回復キーがありません',
    next: '回復キーを作成し、このマシン以外の場所に保管してください。',
  },
  'config-refused': {
    title: '変更された設定ファイルは拒否され、以前の設定が引き続き有効です',
    next: 'ファイルを修正し、`ghconnect reload` を実行してください。',
  },
  'config-doubt': {
    title: '設定に、使われない値または疑わしい値があります',
    next: '設定または環境変数を修正し、`ghconnect config check` で確認してください。',
  },
  'unknown-unit': {
    title: 'ポリシーに、systemd にないユニットがあります',
    next: '設定を修正するか、ユニットをインストールしてください。それまでは、だれもこの条件に当てはまりません。',
  },
  'waiting-bundle': {
    title: '暗号化されたスナップショットが回復キーを待っています',
    next: '`ghconnect unlock --identity FILE` を実行してください。',
  },
  'key-old': {
    title: '1 年以上前の秘密鍵があります',
    next: 'GitHub で新しい鍵を生成し、「鍵と回復」で追加してください。',
  },
  'key-fallback': {
    title: '新しい秘密鍵が拒否され、古い鍵を使用しています',
    next: '「鍵と回復」で、拒否された鍵を新しい鍵に置き換えてください。',
  },
  'key-retire': {
    title: '使われなくなった秘密鍵があります',
    next: '「鍵と回復」で古い鍵を削除し、GitHub でも削除してください。',
  },
  moved: {
    title: 'このマシンの名前または machine-id が変わりました',
    next: '意図した変更であれば、`ghconnect adopt` を実行してください。',
  },
  'permissions-pending': {
    title: '承認されていないアクセス許可があります',
    next: '所有者が GitHub のインストールのページで承認するか、App の設定で要求を取り下げてください。',
  },
  flapping: {
    title: '状態が繰り返し変わっています',
    next: '設定を変更し続けている人を所有者に確認してください。`ghconnect refresh` を実行すると、待たずに確認します。',
  },
  'installation-suspended': {
    title: '一時停止されているインストールがあります',
    next: 'アカウントの所有者が GitHub で一時停止を解除してください。',
  },
  'profile-unmatched': {
    title: 'インストールのないアカウントを指すプロファイルがあります',
    next: 'プロファイルを修正するか、そのアカウントに App をインストールしてください。',
  },
  'quota-rest': {
    title: 'レート制限のため、GitHub への要求を休止しています',
    next: '期限が来ると自動的に再開します。`ghconnect refresh` を実行すると、今すぐ要求します。',
  },
  'cluster-not-joined': {
    title: 'クラスターが設定されていますが、このノードはまだ参加していません',
    next: '`ghconnect cluster join` を実行してください。',
  },
  'cluster-isolated': {
    title: 'このノードはクラスターから切り離されています',
    next: 'etcd への経路を修復してください。24 時間が過ぎると、このノードはトークンを提供しなくなります。',
  },
  'cluster-unsent': {
    title: 'クラスターにまだ伝わっていない変更があります',
    next: 'etcd への経路を修復してください。回復すると自動的に伝わります。',
  },
  'feature-permissions': {
    title: '機能に必要なアクセス許可が足りません',
    next: 'App の所有者が GitHub の App のページでアクセス許可を追加し、インストール先で承認してください。',
  },
}

export const FEATURES_JA: Readonly<Record<FeatureName, string>> = {
  'license-user-sync': 'ライセンスユーザーの同期',
  'dependabot-alerts': 'Dependabot アラート',
  'dependabot-updates': 'Dependabot の更新',
  'actions-from-github': 'GitHub.com の Actions',
  'unified-search-public': '統合検索 (パブリックリポジトリ)',
  'unified-search-private': '統合検索 (プライベートリポジトリ)',
  'unified-contributions': '統合コントリビューション',
  'server-statistics': 'サーバー統計',
}
