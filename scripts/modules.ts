// Prints what the process with the key can load: each of its modules with its lines, each package, and the sums last. node scripts/modules.ts
// `docs/core.modules.txt` is its output; CI compares them, so that growth shows in review.

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { build, type Metafile } from 'esbuild'

const ROOT = resolve(import.meta.dirname, '..')
const ENTRY = 'src/ghconnectd.ts'
/** Loaded where etcd is configured, and where somebody asks for the check. */
const ON_DEMAND = /^src\/(core\/cluster|doctor)\//

const { metafile } = await build({
  absWorkingDir: ROOT,
  entryPoints: [ENTRY],
  bundle: true,
  platform: 'node',
  format: 'esm',
  splitting: true,
  outdir: 'never-written',
  write: false,
  metafile: true,
  logLevel: 'error',
  loader: { '.node': 'empty' },
  // Their native parts are files of their own.
  external: ['@koromix/*'],
})

/** What can be reached from the entry, `onDemand` or not. */
const reach = ({ inputs }: Metafile, onDemand: boolean): Set<string> => {
  const seen = new Set<string>()
  const visit = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    for (const { path: next, kind, external } of inputs[path]?.imports ?? []) {
      if (external || (!onDemand && kind === 'dynamic-import' && ON_DEMAND.test(next))) continue
      visit(next)
    }
  }
  visit(ENTRY)
  return seen
}

const PACKAGE = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/
const describe = (paths: ReadonlySet<string>): { modules: string[]; packages: string[]; lines: number } => {
  const modules = [...paths].filter(path => path.startsWith('src/')).toSorted()
  const packages = new Set([...paths].flatMap(path => PACKAGE.exec(path)?.[1] ?? []))
  const lines = modules.reduce((sum, path) => sum + linesOf(path), 0)
  return { modules, packages: [...packages].toSorted(), lines }
}
const linesOf = (path: string): number => readFileSync(join(ROOT, path), 'utf8').split('\n').length - 1

const all = describe(reach(metafile, true))
const single = describe(reach(metafile, false))
const print = (text: string): void => void process.stdout.write(`${text}\n`)
const mark = (isSingle: boolean): string => (isSingle ? ' ' : '+')
print('# What the process with the key can load. +: only in a cluster, or for the check. Made by scripts/modules.ts.')
for (const path of all.modules) print(`${mark(single.modules.includes(path))} ${path} ${linesOf(path)}`)
for (const name of all.packages) print(`${mark(single.packages.includes(name))} package ${name}`)
const sum = ({ modules, packages, lines }: typeof all): string =>
  `${modules.length} modules, ${packages.length} packages, ${lines} lines`
print(`without + : ${sum(single)}`)
print(`in all: ${sum(all)}`)
