// The configuration as text: what leaves has no password in it, wherever somebody wrote one.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { configTextsForBundle, configTextsWithoutSecrets } from '../../src/service/config-texts.ts'

const inFile = (t: ExecutionContext, text: string, features?: string): string => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-texts-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'config.toml')
  writeFileSync(file, text)
  if (features !== undefined) writeFileSync(join(folder, 'config.features.toml'), features)
  return file
}

const refusal = (file: string): string => {
  try {
    configTextsForBundle(file)
    return ''
  } catch (error) {
    if (error instanceof Failure && error.code === 'configuration') return error.message
    throw error
  }
}

const HARMLESS = `# ask ops@example.com: they know
[proxy]
url = "http://user@proxy:3128"
password_file = "/etc/ghconnectd/proxy.password"
[cluster]
endpoints = ["https://a:2379", "https://b:2379"] # ops@example.com
[snapshot]
include_token = true
[[profiles]]
name = "a"
permissions = { secrets = "read" }
`

test('a configuration without secrets leaves as it is, with the file of features beside it', t => {
  const features = '[code-search]\n'
  const file = inFile(t, HARMLESS, features)
  const texts = [
    { path: file, text: HARMLESS },
    { path: file.replace('.toml', '.features.toml'), text: features },
  ]
  t.deepEqual(configTextsForBundle(file), texts)
  t.deepEqual(configTextsWithoutSecrets(file), texts)
})

const PEM = ['-----BEGIN RSA', 'PRIVATE KEY-----\n# MIISECRET\n# -----END RSA', 'PRIVATE KEY-----'].join(' ')

const SECRET_LINES: readonly [string, number][] = [
  ['[proxy]\nurl = "http://user:hunter2SECRET@proxy:3128"', 2],
  ["[proxy]\nurl = 'http://user:hunter2 \"SECRET@proxy:3128'", 2],
  ['[proxy]\n\n# url = "http://user:SECRET@proxy:3128"', 3],
  ['[proxy]\n  #url = "http://user:SEC RET@proxy:3128" # was', 2],
  ['[proxy]\nurl = "http\\u003a//user\\u003aSECRET\\u0040proxy:3128"', 2],
  ['[github]\nurl = "https://:SECRET@github.example.com"', 2],
  ['[cluster]\nendpoints = ["https://a:2379", "https://root:SECRET@b:2379"]', 2],
  [`# ghs_${'SECRET'.repeat(6)}`, 1],
  [`# AGE-SECRET-KEY-1${'SECRET'.repeat(4)}`, 1],
  [`# ${PEM}`, 1],
]

for (const [text, line] of SECRET_LINES) {
  test(`a secret on line ${line} is refused by its place and left out: ${JSON.stringify(text.slice(0, 50))}`, t => {
    const file = inFile(t, `${text}\n`)
    const message = refusal(file)
    t.true(message.startsWith(`${file}:${line} `), message)
    t.notRegex(message, /SECRET/)
    t.notRegex(JSON.stringify(configTextsWithoutSecrets(file)), /SECRET|MII/)
  })
}

test('a password over several lines is on none of them, and found', t => {
  const file = inFile(t, '[proxy]\nurl = """http://user:SEC\\\n  RET@proxy"""\n')
  t.true(refusal(file).startsWith(`${file} `))
  t.notRegex(JSON.stringify(configTextsWithoutSecrets(file)), /SEC|RET/)
})

test('in a file that the daemon refuses, misplaced passwords are left out, and the rest can be read', t => {
  const file = inFile(t, '[proxy]\npassword = "SECRET"\n# token: see below\nexclude = [".internal"]\n')
  t.is(configTextsWithoutSecrets(file)[0]?.text.split('\n')[3], 'exclude = [".internal"]')
  t.notRegex(JSON.stringify(configTextsWithoutSecrets(file)), /SECRET/)
  const broken = inFile(t, '[proxy\nurl = http://user:SEC"RET@proxy\nexclude = [".internal"]\n')
  t.is(configTextsWithoutSecrets(broken)[0]?.text, '[proxy\n# [line left out]\nexclude = [".internal"]\n')
})

test('a text that is too long for a bundle is refused before anything is written', t => {
  t.regex(refusal(inFile(t, `#${'x'.repeat(250_000)}\n`)), /too long for a bundle; at most 240 KiB/)
})
