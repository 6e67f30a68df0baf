// Every view in every state, as HTML by name; run by itself it writes them to a folder: node test/support/render-views.ts FOLDER

import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createAssets } from '../../src/page/assets.ts'
import { LANGUAGES, type Language } from '../../src/page/model.ts'
import { checkPage } from '../../src/page/views/check.ts'
import { disablePage } from '../../src/page/views/disable.ts'
import { keysPage } from '../../src/page/views/keys.ts'
import { overviewPage } from '../../src/page/views/overview.ts'
import { confirmPage, hopPage, problemPage, signedOutPage, signInPage, statePage } from '../../src/page/views/plain.ts'
import { importPage } from '../../src/page/views/setup.ts'
import {
  checkModel,
  confirmModel,
  connectedModel,
  errorFrame,
  importModel,
  keysModel,
  overviewModels,
  problem,
  signedOutModel,
  signInModel,
} from './page-models.ts'

export type RenderedView = { readonly name: string; readonly language: Language; readonly text: string }

export const renderViews = async (): Promise<RenderedView[]> => {
  const rendered: RenderedView[] = []
  for (const language of LANGUAGES) {
    const all = {
      ...Object.fromEntries(
        Object.entries(overviewModels(language)).map(([name, model]) => [`overview-${name}`, overviewPage(model)]),
      ),
      import: importPage(importModel(language)),
      disable: disablePage(connectedModel(language)),
      check: checkPage(checkModel(language)),
      'check-never': checkPage(connectedModel(language)),
      keys: keysPage(keysModel(language)),
      'keys-none': keysPage({ ...connectedModel(language), recovery_recipients: [] }),
      confirm: confirmPage(confirmModel(language)),
      'sign-in': signInPage(signInModel(language)),
      'signed-out': signedOutPage(signedOutModel(language)),
      hop: hopPage(signedOutModel(language), '/s/5f2c9a/'),
      state: statePage(signedOutModel(language), { meaning: 'It is connected.', next: 'Run `ghconnect status`.' }),
      error: problemPage(errorFrame(language), problem),
    }
    for (const [name, view] of Object.entries(all)) rendered.push({ name, language, text: String(await view) })
  }
  return rendered
}

/** To be opened from the folder: the assets lie beside the pages. */
const writeViews = async (folder: string): Promise<void> => {
  await mkdir(folder, { recursive: true })
  const assets = createAssets()
  for (const path of assets.paths) await writeFile(join(folder, path), (await assets.get(path))?.body ?? '')
  for (const { name, language, text } of await renderViews()) {
    const local = text.replaceAll(/(href|src)="\/(style\.css|client\.js|icon\.svg)"/g, '$1="$2"')
    await writeFile(join(folder, `${name}.${language}.html`), local)
  }
}

const [, entry = '', folder = 'artifacts/views'] = process.argv
if (resolve(entry) === import.meta.filename) await writeViews(folder)
