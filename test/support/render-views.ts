// Every view in every state, as HTML by name; run by itself it writes them to a folder: node test/support/render-views.ts FOLDER

import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createAssets } from '../../src/page/assets.ts'
import { LANGUAGES, type Language } from '../../src/page/model.ts'
import { views } from '../../src/page/views/views.ts'
import {
  checkModel,
  confirmModel,
  connectedModel,
  errorModel,
  importModel,
  keysModel,
  overviewModels,
  signedOutModel,
  signInModel,
} from './page-models.ts'

export type RenderedView = { readonly name: string; readonly language: Language; readonly text: string }

export const renderViews = async (): Promise<RenderedView[]> => {
  const rendered: RenderedView[] = []
  for (const language of LANGUAGES) {
    const all = {
      ...Object.fromEntries(
        Object.entries(overviewModels(language)).map(([name, model]) => [`overview-${name}`, views.overview(model)]),
      ),
      import: views.importApp(importModel(language)),
      disable: views.disable(connectedModel(language)),
      check: views.check(checkModel(language)),
      'check-never': views.check(connectedModel(language)),
      keys: views.keys(keysModel(language)),
      'keys-none': views.keys({ ...connectedModel(language), recoveryRecipients: [] }),
      confirm: views.confirm(confirmModel(language)),
      'sign-in': views.signIn(signInModel(language)),
      'signed-out': views.signedOut(signedOutModel(language)),
      error: views.error(errorModel(language)),
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
