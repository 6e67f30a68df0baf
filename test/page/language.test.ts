// The language of a page: what was chosen, else what the browser asks for first, else English.

import test from 'ava'
import * as fc from 'fast-check'
import { languageOf } from '../../src/page/guards.ts'
import { LANGUAGES } from '../../src/page/model.ts'
import { createWebRig } from '../support/web-rig.ts'

test('the first language that there is, by its weight', t => {
  for (const [accept, expected] of [
    [undefined, 'en'],
    ['', 'en'],
    ['ja', 'ja'],
    ['ja-JP,ja;q=0.9,en;q=0.8', 'ja'],
    ['en-GB,en;q=0.9,ja;q=0.8', 'en'],
    ['de,fr;q=0.9,ja;q=0.2', 'ja'],
    ['en;q=0.5, ja;q=0.6', 'ja'],
    ['JA', 'ja'],
    ['ja;q=0', 'en'],
    ['ja;q=0, en;q=0.1', 'en'],
    ['*', 'en'],
    ['jav', 'en'],
  ] as const)
    t.is(languageOf(undefined, accept), expected, accept)
})

test('what was chosen counts, where there is such a language', t => {
  t.is(languageOf('ja', 'en'), 'ja')
  t.is(languageOf('en', 'ja'), 'en')
  t.is(languageOf('tlh', 'ja'), 'ja')
  t.is(languageOf('constructor', undefined), 'en')
})

test('whatever a browser asks for, there is a language', t => {
  const asked = fc.oneof(fc.string(), fc.stringMatching(/^([a-z*]{1,3}(-[A-Z]{2})?(;q=[\d.]{1,4})?,?){0,6}$/))
  fc.assert(fc.property(asked, asked, (chosen, accept) => LANGUAGES.includes(languageOf(chosen, accept))))
  t.pass()
})

test('the switch is kept by the browser, and leads back to the page', async t => {
  const web = await createWebRig()
  t.teardown(() => web.close())
  const { get, prefix } = await web.signIn()
  t.regex((await get('/', { 'accept-language': 'ja' })).text, /<html lang="ja">/)
  const answer = await get('/?lang=en')
  t.is(answer.status, 303)
  t.is(answer.headers.location, `${prefix}/`)
  t.deepEqual(answer.headers['set-cookie'], ['ghconnect_language=en; Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax'])
  const headers = { 'accept-language': 'ja', cookie: 'ghconnect_language=en' }
  t.regex((await web.send('/', { headers })).text, /<html lang="en">/)
  t.is((await get('/?lang=%3Cscript%3E')).status, 200)
})

test('the switch leads to no other site', async t => {
  const web = await createWebRig()
  t.teardown(() => web.close())
  for (const path of ['//evil.example/', '//evil.example/%2F..', `http://${web.host}//evil.example/`]) {
    const answer = await web.send(`${path}?lang=ja`)
    t.is(answer.headers.location, '/', path)
  }
})
