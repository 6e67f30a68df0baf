// Planting bugs in a copy of the tree: where a mutant goes, which tests could notice it, and mutants made by operators.

import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { Mutant } from '../mutants/mutant.ts'
import type { Seeded } from './seeded.ts'

/** The text with the bug in it. Throws where the place is not there, or not the only one. */
export const plantIn = (text: string, { file, what, find, put }: Omit<Mutant, 'test'>): string => {
  const at = text.indexOf(find)
  if (at < 0) throw new Error(`${file}: ${what}: the place is not there`)
  if (text.indexOf(find, at + 1) >= 0) throw new Error(`${file}: ${what}: the place is not the only one`)
  return text.slice(0, at) + put + text.slice(at + find.length)
}

const filesBelow = (root: string, folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(folder, name))

/** What a file of the tree imports of the tree, also where it does so later. */
const importsOf = (root: string, file: string): string[] =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from |import\()'(\.[^']+)'/g)].map(([, path = '']) =>
    resolve('/', dirname(file), path).slice(1),
  )

/** Test files in the order in which they are worth trying: of the file itself, of its room, then those end to end that name it. */
export const testsFor = (root: string, { file, test }: Mutant): string[] => {
  if (test !== undefined) return [join('test', test)]
  const source = join('src', file)
  const room = dirname(file)
  const helpers = new Set(filesBelow(root, 'test/support').filter(helper => importsOf(root, helper).includes(source)))
  const isAbout = (name: string): boolean => {
    const imports = importsOf(root, name)
    return imports.includes(source) || imports.some(path => helpers.has(path))
  }
  const all = filesBelow(root, 'test').filter(name => name.endsWith('.test.ts'))
  const units = all.filter(name => !name.startsWith('test/e2e/'))
  const subject = basename(file, '.ts')
  const near = units.filter(name => basename(name, '.test.ts') === subject && dirname(name).endsWith(room))
  const far = all.filter(
    name => name.startsWith('test/e2e/') && readFileSync(join(root, name), 'utf8').includes(subject),
  )
  return [
    ...new Set([
      ...near,
      ...units.filter(isAbout),
      ...units.filter(name => dirname(name) === join('test', room)),
      ...far,
    ]),
  ]
}

/** As a mistake is made: one operator, bound, await or statement. */
const OPERATORS: readonly (readonly [what: string, find: RegExp, put: string])[] = [
  ['equal for unequal', / === /g, ' !== '],
  ['unequal for equal', / !== /g, ' === '],
  ['or for and', / && /g, ' || '],
  ['and for or', / \|\| /g, ' && '],
  ['a bound is one off', / < /g, ' <= '],
  ['a bound is one off', / >= /g, ' > '],
  ['minus for plus', / \+ /g, ' - '],
  ['nobody waits', /(?<=^ +)await /gm, 'void '],
  ['a statement is left out', /^ +[\w.?]+\([^()\n]*\)$/gm, ''],
  ['a guard is left out', /^ +if \([^\n]*\) (?:return|throw)\b[^\n]*$/gm, ''],
  ['true for false', /\bfalse\b/g, 'true'],
  ['false for true', /\btrue\b/g, 'false'],
  ['ten times as long', /(?<=_MS = )\d[\d_]*/g, '10 * $&'],
]

/** One mutant by an operator, at a place that the seed chooses, outside of comments and imports; undefined where there is none. */
export const mutantIn = (text: string, file: string, seeded: Seeded): Mutant | undefined => {
  const places = OPERATORS.flatMap(([what, find, put]) =>
    [...text.matchAll(find)].map(found => ({
      what,
      at: found.index,
      found: found[0],
      put: put.replace('$&', found[0]),
    })),
  ).filter(({ at }) => {
    const line = text.slice(text.lastIndexOf('\n', at) + 1, text.indexOf('\n', at))
    return !/^\s*(?:\/\/|\/?\*|import |export type|export \{)/.test(line)
  })
  if (places.length === 0) return undefined
  const { what, at, found, put } = seeded.pick(places)
  const from = text.lastIndexOf('\n', at) + 1
  const next = text.indexOf('\n', at + found.length)
  const to = next < 0 ? text.length : next
  const line = text.slice(0, from).split('\n').length
  // The place as a whole: from the beginning of the file, so that it is the only one.
  return {
    file,
    what: `line ${line}: ${what}: ${text.slice(from, to).trim()}`,
    find: text.slice(0, to),
    put: text.slice(0, at) + put + text.slice(at + found.length, to),
  }
}

export const sourcesOf = (root: string, rooms: readonly string[]): string[] =>
  rooms.flatMap(room => filesBelow(root, join('src', room))).map(name => name.slice('src/'.length))
