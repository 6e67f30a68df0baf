// The style sheet: ours, and before it those variables of GitHub's Primer that it names, light and dark.

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'

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
export const readStyle = async (): Promise<string> => {
  try {
    return await readFile(new URL('./style.css', import.meta.url), 'utf8')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    return composeStyle()
  }
}

/** From the sources; the build writes it to a file. */
export const composeStyle = async (): Promise<string> => {
  const own = await Promise.all(OWN.map(name => readFile(new URL(`./style/${name}.css`, import.meta.url), 'utf8')))
  const [light = NONE, dark = NONE, ...shared] = await Promise.all(
    ['functional/themes/light', 'functional/themes/dark', ...SHARED].map(readPrimer),
  )
  const ownText = own.join('\n')
  return `${variablesFor(ownText, { light, dark, shared: new Map(shared.flatMap(part => [...part])) })}\n${ownText}`
}

const NONE: Variables = new Map()

const readPrimer = async (name: string): Promise<Variables> => {
  const { resolve } = createRequire(import.meta.url)
  return variablesOf(await readFile(resolve(`@primer/primitives/dist/css/${name}.css`), 'utf8'))
}

/** Throws where our files name a variable that there is not: it would be drawn with a colour of chance. */
export const variablesFor = (own: string, from: { light: Variables; dark: Variables; shared: Variables }): string => {
  const wanted = namesIn(own)
  const light = closure(wanted, new Map([...from.shared, ...from.light]))
  const dark = closure(wanted, new Map([...from.shared, ...from.dark]))
  const differing = [...dark].filter(([name, value]) => light.get(name) !== value)
  const block = (entries: Iterable<readonly [string, string]>): string =>
    [...entries].map(([name, value]) => `${name}:${value}`).join(';')
  return `:root{${block(light)}}\n@media (prefers-color-scheme:dark){:root{${block(differing)}}}`
}

/** The first rule's: the rest of a theme's file says the same for other ways to choose it. */
const variablesOf = (css: string): Variables => {
  const [first = ''] = css.replaceAll(/\/\*[\s\S]*?\*\//g, '').split('}')
  return new Map(
    [...first.matchAll(/(--[\w-]+)\s*:\s*([^;]+);/g)].map(([, name = '', value = '']) => [name, value.trim()]),
  )
}

const namesIn = (css: string): Set<string> =>
  new Set([...css.matchAll(/var\((--[\w-]+)/g)].map(([, name = '']) => name))

/** With those that the wanted ones are made of, in the order of their names. */
const closure = (wanted: ReadonlySet<string>, all: Variables): Variables => {
  const found = new Map<string, string>()
  const take = (name: string): void => {
    if (found.has(name)) return
    const value = all.get(name)
    if (value === undefined) throw new Error(`style.css names ${name}, which @primer/primitives does not have`)
    found.set(name, value)
    for (const inner of namesIn(value)) take(inner)
  }
  for (const name of wanted) take(name)
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
