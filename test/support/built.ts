// The bundle of these sources, as it is shipped. What is tested is what runs on an appliance, and a process of it starts in a third of the time.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')
/** What a bundle is made of, files and folders. */
const PARTS = ['src', 'scripts/build', 'scripts/bundle.ts', 'scripts/style.ts', 'package.json', 'package-lock.json']

const filesOf = (part: string): string[] => {
  try {
    return readdirSync(join(ROOT, part), { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name))
      .toSorted()
  } catch {
    return [join(ROOT, part)]
  }
}

/** Its folder. Built by whichever test process comes first; several at once build the same. */
const findOrBuild = (): string => {
  const digest = createHash('sha256')
  for (const file of PARTS.flatMap(filesOf)) digest.update(`${file}\n`).update(readFileSync(file))
  const folder = join(ROOT, '.state/built', digest.digest('hex').slice(0, 16))
  if (existsSync(folder)) return folder
  mkdirSync(join(ROOT, '.state/built'), { recursive: true })
  const made = `${folder}.${process.pid}`
  execFileSync(join(ROOT, 'scripts/build'), [made], { stdio: ['ignore', 'ignore', 'inherit'] })
  try {
    renameSync(made, folder)
  } catch {
    // Another one was first.
    rmSync(made, { recursive: true })
  }
  return folder
}

/** Coverage is that of the sources. */
const folder = process.env['NODE_V8_COVERAGE'] === undefined ? findOrBuild() : undefined

export const ENTRY = folder === undefined ? join(ROOT, 'src/ghconnectd.ts') : join(folder, 'ghconnectd.cjs')
export const CLI = folder === undefined ? join(ROOT, 'src/ghconnect.ts') : join(folder, 'ghconnect.cjs')
