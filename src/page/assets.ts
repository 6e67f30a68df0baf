// The files that a page names: style sheet, script and icon. Read once, at the first request, and told apart by their content.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { OPEN_ROUTES } from './model.ts'
import { readStyle } from './style.ts'

export type Asset = { readonly type: string; readonly body: string; readonly etag: string }

const SOURCES: Readonly<Record<string, { type: string; read: () => Promise<string> }>> = {
  [OPEN_ROUTES.style]: { type: 'text/css; charset=utf-8', read: readStyle },
  [OPEN_ROUTES.script]: {
    type: 'text/javascript; charset=utf-8',
    read: () => readFile(new URL('./client.js', import.meta.url), 'utf8'),
  },
  [OPEN_ROUTES.icon]: { type: 'image/svg+xml', read: () => readFile(new URL('./icon.svg', import.meta.url), 'utf8') },
}

export type Assets = { readonly paths: readonly string[]; get(path: string): Promise<Asset | undefined> }

export const createAssets = (): Assets => {
  const known = new Map<string, Promise<Asset>>()

  const load = async ({ type, read }: { type: string; read: () => Promise<string> }): Promise<Asset> => {
    const body = await read()
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    return { type, body, etag }
  }

  return {
    paths: Object.keys(SOURCES),
    async get(path) {
      const source = Object.hasOwn(SOURCES, path) ? SOURCES[path] : undefined
      if (!source) return undefined
      const asset = known.get(path) ?? load(source)
      known.set(path, asset)
      // A file that could not be read once is tried again.
      asset.catch(() => known.delete(path))
      return asset
    },
  }
}
