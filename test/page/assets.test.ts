// The files that pages name: found in the sources, whole in a build, and no variable of the style sheet without a value.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { composeStyle, createAssets, variablesFor } from '../../src/page/assets.ts'
import { OPEN_ROUTES } from '../../src/page/model.ts'

const ROOT = resolve(import.meta.dirname, '../..')

test('each file that a page names is there, with its type', async t => {
  const assets = createAssets()
  t.deepEqual(assets.paths.toSorted(), [OPEN_ROUTES.icon, OPEN_ROUTES.script, OPEN_ROUTES.style].toSorted())
  for (const path of assets.paths) {
    const asset = await assets.get(path)
    t.true((asset?.body.length ?? 0) > 100, path)
    t.regex(asset?.type ?? '', /^(?:text\/(?:css|javascript); charset=utf-8|image\/svg\+xml)$/, path)
    t.regex(asset?.etag ?? '', /^"[\w-]{22}"$/, path)
    t.is(await assets.get(path), asset, 'read once')
  }
  t.is(await assets.get('/../package.json'), undefined)
  t.is(await assets.get('constructor'), undefined)
})

test('each variable that the style sheet uses has a value, and nothing comes from elsewhere', async t => {
  const style = await composeStyle()
  const defined = new Set([...style.matchAll(/(--[\w-]+):/g)].map(([, name]) => name))
  const used = [...style.matchAll(/var\((--[\w-]+)/g)].map(([, name]) => name)
  t.true(used.length > 100)
  t.deepEqual(
    used.filter(name => name === undefined || !defined.has(name)),
    [],
  )
  t.notRegex(style, /@import|url\(|https?:/)
})

test('only the variables that are used are taken, with those that they are made of; dark ones where they differ', t => {
  const light = new Map([
    ['--size', '1rem'],
    ['--a', 'var(--b)'],
    ['--b', '#fff'],
    ['--unused', 'red'],
  ])
  const dark = new Map([
    ['--size', '1rem'],
    ['--a', 'var(--b)'],
    ['--b', '#000'],
  ])
  t.is(
    variablesFor('p { color: var(--a); margin: var(--size) }', { light, dark }),
    ':root{--a:var(--b);--b:#fff;--size:1rem}\n@media (prefers-color-scheme:dark){:root{--b:#000}}',
  )
  t.throws(() => variablesFor('p { color: var(--c) }', { light, dark }), { message: /--c/ })
})

test('what the build writes is what the sources serve', async t => {
  const { stdout } = await promisify(execFile)(process.execPath, [resolve(ROOT, 'scripts/style.ts')])
  const asset = await createAssets().get(OPEN_ROUTES.style)
  t.is(stdout, asset?.body ?? '')
})

test('the build and the package carry each of these files', t => {
  for (const script of ['scripts/build', 'scripts/build-deb']) {
    const text = readFileSync(resolve(ROOT, script), 'utf8')
    for (const path of createAssets().paths) t.true(text.includes(path.slice(1)), `${script}: ${path}`)
  }
})
