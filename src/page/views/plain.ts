// Pages that stand alone: the way in and out, problems, the form that goes to GitHub, and the way back from there.

import type { Explanation } from '../../protocol/connection.ts'
import { type ConfirmModel, type Frame, type Problem, type SignInModel, to } from '../model.ts'
import { problemText } from '../problems.ts'
import { type Html, html, relativeTime, textIn } from './html.ts'
import { plainPage } from './layout.ts'
import {
  accountType,
  cancelLink,
  facts,
  icon,
  linkButton,
  localPath,
  permissionList,
  prose,
  quoted,
  row,
  submit,
  webAddress,
} from './parts.ts'

/** The form goes to the address of the link itself: that is what makes it good once. */
export const signInPage = (model: SignInModel): Html => {
  const t = textIn(model.language)
  const lead = t(
    `This link signs you in to the settings of GitHub Connect on ${model.hostname}.`,
    `このリンクで ${model.hostname} の GitHub Connect の設定にサインインします。`,
  )
  const hint = t(
    'It works once. The session ends after 15 minutes without use.',
    '使えるのは一度だけです。15 分間操作がないとセッションは終了します。',
  )
  return plainPage(model, {
    nowMs: model.nowMs,
    title: t('Sign in', 'サインイン'),
    body: html`<div class="box"><div class="row center"><span class="big-mark">${icon('plug')}</span>
<p>${lead}</p>
<form method="post" action="${localPath(model.path)}"><button class="button button-primary button-wide" type="submit">${t('Continue', '続ける')}</button></form>
<p class="hint">${hint}<br>${t('The link expires', 'リンクの有効期限')}: ${relativeTime(model.expiresAt, model)}</p></div></div>`,
  })
}

export const signedOutPage = (frame: Frame): Html => {
  const t = textIn(frame.language)
  const hint = t(
    'For a new link, run this on the machine:',
    '新しいリンクを取得するには、このマシンで次を実行してください:',
  )
  return plainPage(frame, {
    title: t('You are signed out', 'サインアウトしました'),
    body: html`<div class="box">${row(html`<p>${hint}</p><pre class="command">ghconnect ui</pre>`)}</div>`,
  })
}

export const problemPage = (frame: Frame, problem: Problem): Html => {
  const t = textIn(frame.language)
  const { title, next } = problemText(problem.code, frame.language)
  const help = t(
    'For a new link to this page, run `ghconnect ui` on the machine.',
    'このページの新しいリンクは、マシン上で `ghconnect ui` を実行すると取得できます。',
  )
  const back =
    frame.prefix === ''
      ? // A problem that is the lack of a session says itself how to get one.
        problem.code !== 'signed-out' && html`<p class="hint">${prose(help)}</p>`
      : html`<p>${linkButton(to(frame, 'overview'), t('Back to the overview', '概要に戻る'))}</p>`
  return plainPage(frame, {
    title,
    body: html`<div class="box">${row(html`${quoted(problem.message, frame.language)}<p>${prose(next)}</p>
${back}
<p class="hint"><code>${problem.code}</code></p>`)}</div>`,
  })
}

/** The last page before GitHub: what will be asked for there, and the form with the App manifest that goes to it. */
export const confirmPage = (model: ConfirmModel): Html => {
  const t = textIn(model.language)
  const { account, language } = model
  const hints = [
    t(
      'The App’s private key goes from GitHub to this machine only, and is stored encrypted.',
      'App の秘密鍵は GitHub からこのマシンにだけ渡され、暗号化して保存されます。',
    ),
    t(
      'If GitHub says that it did not find a manifest, come back and press the button again. If the name is taken, change it on GitHub’s page.',
      'GitHub にマニフェストが見つからないと表示された場合は、このページに戻ってもう一度ボタンを押してください。名前がすでに使われている場合は、GitHub のページで変更できます。',
    ),
  ]
  return plainPage(model, {
    nowMs: model.nowMs,
    title: t('Create the App on GitHub', 'GitHub で App を作成する'),
    lead: t(
      `An owner of ${account.login} confirms on GitHub that this App is created.`,
      `${account.login} の所有者が、次の App の作成を GitHub で承認します。`,
    ),
    body: html`<div class="box">${facts([
      [t('Name of the App', 'App の名前'), html`<strong>${model.appName}</strong>`],
      [t('Owner', '所有者'), html`${account.login} ${accountType(account, language)}`],
      [t('Permissions', 'アクセス許可'), permissionList(model.permissions, language)],
      [t('Expires', '有効期限'), relativeTime(model.expiresAt, model)],
    ])}
<form class="row form-actions" method="post" action="${webAddress(model.action)}">
<input type="hidden" name="manifest" value="${plainAscii(model.manifest)}">
${submit(t('Continue on GitHub', 'GitHub に進む'))}${model.prefix !== '' && cancelLink(model)}
</form></div>
${hints.map(hint => html`<p class="hint">${hint}</p>\n`)}`,
  })
}

/** The same JSON, without a character that could disguise another. */
const plainAscii = (json: string): string =>
  json.replaceAll(/[^\u0020-\u007E]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Back from GitHub, for a moment: the browser goes on by itself. */
export const hopPage = (frame: Frame, next: string): Html => {
  const t = textIn(frame.language)
  const link = linkButton(next, t('Go on to the settings page', '設定ページへ進む'), 'primary')
  return plainPage(frame, { title: t('Back from GitHub', 'GitHub から戻りました'), body: html`<p>${link}</p>` })
}

/** For whoever comes back from GitHub and has no page here: the daemon's own words, which are English. */
export const statePage = (frame: Frame, { meaning, next }: Explanation): Html => {
  const hint = textIn(frame.language)(
    'To see more, sign in to the settings page: `ghconnect ui` prints a link.',
    '詳しくは設定ページにサインインしてください。リンクは `ghconnect ui` で表示されます。',
  )
  return plainPage(frame, {
    title: 'GitHub Connect',
    body: html`<div class="box">${row(html`${quoted(meaning, frame.language)}<p lang="en">${prose(next)}</p>
<p class="hint">${prose(hint)}</p>`)}</div>`,
  })
}
