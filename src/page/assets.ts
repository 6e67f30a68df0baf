// The files that a page names: style sheet, script and icon. Before our style stand those variables of GitHub's Primer that it names.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Hono } from 'hono'
import { OPEN_ROUTES } from './model.ts'
import type { Env } from './requests.ts'

const readBeside = (name: string): Promise<string> => readFile(new URL(`./${name}`, import.meta.url), 'utf8')

const ASSETS: ReadonlyMap<string, { type: string; read: () => Promise<string> }> = new Map([
  [OPEN_ROUTES.style, { type: 'text/css; charset=utf-8', read: () => readStyle() }],
  [OPEN_ROUTES.script, { type: 'text/javascript; charset=utf-8', read: () => readBeside('client.js') }],
  [OPEN_ROUTES.icon, { type: 'image/svg+xml', read: () => readBeside('icon.svg') }],
])

export const createAssets = () => {
  const known = new Map<string, Promise<{ type: string; body: string; etag: string }>>()

  const load = async (type: string, read: () => Promise<string>) => {
    const body = await read()
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    return { type, body, etag }
  }

  return {
    paths: [...ASSETS.keys()],
    /** Read once, at the first request, and told apart by its content. */
    async get(path: string) {
      const source = ASSETS.get(path)
      if (!source) return undefined
      const asset = known.get(path) ?? load(source.type, source.read)
      known.set(path, asset)
      // A file that could not be read once is tried again.
      asset.catch(() => known.delete(path))
      return asset
    },
  }
}

/** The same for everybody. A browser keeps them, and asks whether they changed. */
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

/** In the order in which they apply. */
const OWN = ['base', 'frame', 'boxes', 'controls', 'parts', 'widths']

/** Of the package: what is the same in all of its themes. */
const SHARED = [
  'base/size/size',
  'base/typography/typography',
  'functional/size/border',
  'functional/size/radius',
  'functional/size/size',
  'functional/spacing/space',
  'functional/typography/typography',
]

type Variables = ReadonlyMap<string, string>

/** A package has it whole, beside the program; the sources have it in parts. */
const readStyle = async (): Promise<string> => {
  try {
    return await readBeside('style.css')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    return composeStyle()
  }
}

/** From the sources; the build writes it to a file. */
export const composeStyle = async (): Promise<string> => {
  const own = (await Promise.all(OWN.map(name => readBeside(`style/${name}.css`)))).join('\n')
  const [light, dark, ...shared] = await Promise.all(
    ['functional/themes/light', 'functional/themes/dark', ...SHARED].map(readPrimer),
  )
  const all = new Map(shared.flatMap(part => [...part]))
  return `${variablesFor(own, { light: new Map([...all, ...(light ?? [])]), dark: new Map([...all, ...(dark ?? [])]) })}\n${own}`
}

/** The first rule's: the rest of a theme's file says the same for other ways to choose it. */
const readPrimer = async (name: string): Promise<Variables> => {
  const { resolve } = createRequire(import.meta.url)
  const css = await readFile(resolve(`@primer/primitives/dist/css/${name}.css`), 'utf8')
  const [first = ''] = css.replaceAll(/\/\*[\s\S]*?\*\//g, '').split('}')
  return new Map(
    [...first.matchAll(/(--[\w-]+)\s*:\s*([^;]+);/g)].map(([, variable = '', value = '']) => [variable, value.trim()]),
  )
}

/** Light ones, and dark ones where they differ. Throws where our files name a variable that there is not: it would be drawn with a colour of chance. */
export const variablesFor = (own: string, from: { light: Variables; dark: Variables }): string => {
  const light = closure(own, from.light)
  const differing = [...closure(own, from.dark)].filter(([name, value]) => light.get(name) !== value)
  const block = (entries: Iterable<readonly [string, string]>): string =>
    [...entries].map(([name, value]) => `${name}:${value}`).join(';')
  return `:root{${block(light)}}\n@media (prefers-color-scheme:dark){:root{${block(differing)}}}`
}

const namesIn = (css: string): string[] => [...css.matchAll(/var\((--[\w-]+)/g)].map(([, name = '']) => name)

/** Those that are named and not our own, with those that they are made of, in the order of their names. */
const closure = (css: string, all: Variables): Variables => {
  const own = new Set([...css.matchAll(/(--[\w-]+):/g)].map(([, name = '']) => name))
  const found = new Map<string, string>()
  const take = (name: string): void => {
    if (found.has(name) || own.has(name)) return
    const value = all.get(name)
    if (value === undefined) throw new Error(`style.css names ${name}, which @primer/primitives does not have`)
    found.set(name, value)
    for (const inner of namesIn(value)) take(inner)
  }
  for (const name of namesIn(css)) take(name)
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
