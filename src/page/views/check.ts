// The doctor's report: a row for each layer, from the machine outward, with what was seen and what to do.

import type { CheckReport, CheckRow } from '../../protocol/wire-check.ts'
import type { Language, PageModel } from '../model.ts'
import { type Html, html, relativeTime, type Text, textIn } from './html.ts'
import { sessionPage } from './layout.ts'
import { banner, box, english, form, icon, type IconName, label, prose, submit, type Tone } from './parts.ts'

const VERDICTS: Readonly<Record<CheckRow['verdict'], { tone: Tone; picture: IconName; text: Text }>> = {
  ok: { tone: 'success', picture: 'check', text: ['Passed', '正常'] },
  warning: { tone: 'attention', picture: 'alert', text: ['Warning', '警告'] },
  failed: { tone: 'danger', picture: 'cross', text: ['Failed', '失敗'] },
  skipped: { tone: 'neutral', picture: 'dash', text: ['Skipped', '省略'] },
}

const SUMMARIES: Readonly<Record<CheckReport['verdict'], Text>> = {
  ok: ['Everything works.', 'すべて正常です。'],
  warning: ['It works, and something should be looked at.', '動作していますが、確認が必要な項目があります。'],
  failed: ['Something stands in the way.', '接続を妨げている問題があります。'],
}

const LAYERS: Readonly<Record<CheckRow['layer'], Text>> = {
  configuration: ['Configuration', '設定'],
  store: ['Encrypted store', '暗号化ストア'],
  'recovery-key': ['Recovery key', '回復キー'],
  backup: ['Backup', 'バックアップ'],
  clock: ['Clock', '時計'],
  dns: ['Name resolution (DNS)', '名前解決 (DNS)'],
  proxy: ['Web proxy', 'Web プロキシ'],
  tls: ['TLS certificates', 'TLS 証明書'],
  host: ['GitHub answers', 'GitHub からの応答'],
  egress: ['Address seen by GitHub', 'GitHub から見たアドレス'],
  key: ['Private key', '秘密鍵'],
  app: ['GitHub App', 'GitHub App'],
  installation: ['Installation', 'インストール'],
  permissions: ['Permissions', 'アクセス許可'],
  repositories: ['Repositories', 'リポジトリ'],
  quota: ['Rate limit', 'レート制限'],
  cluster: ['Cluster', 'クラスター'],
}

export const checkPage = (model: PageModel): Html => {
  const t = textIn(model.language)
  const { check: report, language } = model
  const running = t('Checking…', '診断中…')
  const failed = t('The check broke off. Try again.', '診断が途中で終わりました。もう一度お試しください。')
  return sessionPage(model, 'checkPage', {
    title: t('Check connection', '接続の診断'),
    lead: t(
      'Looks at each layer between this machine and a token, from the configuration to GitHub’s rate limit, and says what to do.',
      '設定から GitHub のレート制限まで、このマシンとトークンの間にある各層を調べ、必要な対処を示します。',
    ),
    body: html`${form({ frame: model, route: 'check', className: 'section check-form' }, [
      submit(report ? t('Check again', 'もう一度診断する') : t('Check now', '診断する')),
      html`<span class="check-running" data-running data-failed="${failed}" role="status"><span class="visually-hidden" data-text="${running}"></span></span>`,
    ])}
<div id="check-summary" data-summary aria-live="polite">${report && checkSummary(report, model)}</div>
${box(
  { id: 'results', title: t('Results', '結果') },
  html`<ul class="checks" data-rows>${
    report
      ? report.rows.map(each => checkRow(each, language))
      : html`<li class="row muted">${t('Nothing has been checked yet.', 'まだ診断していません。')}</li>`
  }</ul>`,
)}`,
  })
}

export const checkSummary = (
  { verdict, checked_at: at, took_ms: took }: Omit<CheckReport, 'rows'>,
  model: { readonly language: Language; readonly nowMs: number },
): Html => {
  const t = textIn(model.language)
  const time = duration(took, model.language)
  return banner(
    VERDICTS[verdict].tone,
    html`<p class="banner-title">${t(...SUMMARIES[verdict])}</p><p class="hint">${relativeTime(at, model)}, ${t(`in ${time}`, `所要時間 ${time}`)}</p>`,
  )
}

export const checkRow = (each: CheckRow, language: Language): Html => {
  const t = textIn(language)
  const { tone, picture, text } = VERDICTS[each.verdict]
  return html`<li class="check-row check-${each.verdict}"><span class="step-mark tone-${tone}">${icon(picture)}</span><div class="row-main"><h3>${t(...LAYERS[each.layer])}${each.subject !== undefined && html` <code>${each.subject}</code>`}</h3>
<p class="evidence"${english(language)}>${each.evidence}</p>${each.next !== undefined && html`<p class="advice"><strong>${t('What to do:', '対処:')}</strong> <span${english(language)}>${prose(each.next)}</span></p>`}</div><div class="check-aside">${label(tone, t(...text))}<span class="hint">${duration(each.took_ms, language)}</span></div></li>`
}

const duration = (ms: number, language: Language): string => {
  const seconds = (ms / 1000).toFixed(1)
  return ms < 1000 ? textIn(language)(`${ms} ms`, `${ms} ミリ秒`) : textIn(language)(`${seconds} s`, `${seconds} 秒`)
}
