// All views by name: plain data in, HTML out. Nothing that came from outside disguises what stands around it.

import type { ViewInputs } from '../model.ts'
import { checkPage } from './check.ts'
import { confirm } from './confirm.ts'
import { disablePage } from './disable.ts'
import { withoutDisguise } from './format.ts'
import type { Html } from './html.ts'
import { importPage } from './import.ts'
import { keysPage } from './keys.ts'
import { overview } from './overview.ts'
import { errorPage, signedOut, signIn } from './session.ts'

export { checkRow, checkSummary } from './check.ts'

type Views = { readonly [Name in keyof ViewInputs]: (input: ViewInputs[Name]) => Html }

export const views: Views = {
  overview: model => overview(withoutDisguise(model)),
  importApp: model => importPage(withoutDisguise(model)),
  disable: model => disablePage(withoutDisguise(model)),
  check: model => checkPage(withoutDisguise(model)),
  keys: model => keysPage(withoutDisguise(model)),
  /** The manifest is JSON and keeps its meaning: what could disguise is escaped in it. */
  confirm: model => confirm({ ...withoutDisguise(model), manifest: model.manifest }),
  signIn: model => signIn(withoutDisguise(model)),
  signedOut: frame => signedOut(withoutDisguise(frame)),
  error: model => errorPage(withoutDisguise(model)),
}
