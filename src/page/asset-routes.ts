// Serves the files that pages load: the same for everybody. A browser keeps them, and asks whether they changed.

import type { Hono } from 'hono'
import { createAssets } from './assets.ts'
import type { Env } from './deps.ts'

export const addAssetRoutes = (app: Hono<Env>): void => {
  const assets = createAssets()
  for (const path of assets.paths) {
    app.get(path, async c => {
      const asset = await assets.get(path)
      if (!asset) return c.notFound()
      const headers = { etag: asset.etag, 'cache-control': 'no-cache' }
      if (c.req.header('if-none-match') === asset.etag) return c.body(null, 304, headers)
      return c.body(asset.body, 200, { ...headers, 'content-type': asset.type })
    })
  }
}
