// Bundles both entries into a folder, one file each, and beside them what is loaded on demand, or native: node scripts/bundle.ts FOLDER

import { cpSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { build, type BuildOptions, type Plugin } from 'esbuild'

const ROOT = resolve(import.meta.dirname, '..')
const ENTRIES = ['src/ghconnectd.ts', 'src/ghconnect.ts']
/** Resolved at run time, each a file of its own: two find their native code from there, and a start needs, reads and keeps none of the others. */
const BESIDE = [
  '@grpc/grpc-js',
  '@hono/node-server',
  '@octokit/auth-app',
  '@octokit/core',
  'age-encryption',
  'better-sqlite3',
  'hono',
  'koffi',
  'node-cron',
  'proxy-agent',
]

const [out = 'dist'] = process.argv.slice(2)

/** At start zod loads its texts in some fifty languages, and a reader of JSON Schema; the daemon speaks English and reads none. */
const leanZod: Plugin = {
  name: 'lean-zod',
  setup({ onLoad }) {
    onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, ({ path }) => ({
      contents: `export { default as en } from './en.js'`,
      resolveDir: resolve(path, '..'),
    }))
    onLoad({ filter: /\/zod\/v4\/classic\/from-json-schema\.js$/ }, () => ({
      contents: `export const fromJSONSchema = () => { throw new Error('left out of the bundle') }`,
    }))
  },
}

const COMMON: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node26',
  format: 'cjs',
  // A dynamic import becomes a late require(): the loader of modules is never started.
  supported: { 'dynamic-import': false },
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: 'const bundleUrl=require("node:url").pathToFileURL(__filename).href;' },
  legalComments: 'linked',
  logLevel: 'warning',
  metafile: true,
  plugins: [leanZod],
}

const inputs: Record<string, unknown> = {}
/** What a bundle asks for at run time, under the names that it uses: of some packages a part alone. */
const wanted = new Set(BESIDE)
const isPartOf = (specifier: string, name: string): boolean => specifier === name || specifier.startsWith(`${name}/`)
const isBeside = (specifier: string): boolean => BESIDE.some(name => isPartOf(specifier, name))

const bundle = async (options: BuildOptions): Promise<void> => {
  const { metafile } = await build({ ...COMMON, ...options })
  Object.assign(inputs, metafile?.inputs)
  for (const { imports } of Object.values(metafile?.outputs ?? {})) {
    for (const { path, external } of imports) if (external && isBeside(path)) wanted.add(path)
  }
}

await bundle({ entryPoints: ENTRIES, outdir: out, outExtension: { '.js': '.cjs' }, external: BESIDE })
// A set that grows goes on with what is added.
for (const name of wanted) {
  const folder = join(out, 'node_modules', name)
  const external = [...BESIDE.filter(other => !isPartOf(name, other)), '@koromix/*']
  await bundle({ entryPoints: [name], outfile: join(folder, 'lib/index.js'), external })
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify({ name, main: 'lib/index.js' })}\n`)
}
const native = `node_modules/better-sqlite3/prebuilds/linux-${process.arch}.node`
cpSync(join(ROOT, native), join(out, native))
// What the bundles hold, for the copyright file.
writeFileSync(join(out, 'meta.json'), JSON.stringify({ inputs }))
for (const name of readdirSync(out).filter(file => file.endsWith('.cjs'))) {
  console.log(`${(statSync(join(out, name)).size / 1024).toFixed(0)} KB  ${join(out, name)}`)
}
