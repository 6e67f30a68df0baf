// The configuration as text, for a bundle and for a debug bundle: never with a password, token or key in it.

import { Failure } from '../protocol/errors.ts'
import { featuresFileOf, readConfig, readFeatures } from './config.ts'
import { stringsIn } from './config-parse.ts'
import { redact } from './log.ts'

export type ConfigText = { readonly path: string; readonly text: string }

/** Settings of a bundle have 256 KiB. */
const MAX_BYTES = 240 * 1024

/** For a bundle. Throws `configuration`, with file and line but without the secret, where a text holds one or is too long. */
export const configTextsForBundle = (configFile: string): readonly ConfigText[] => {
  const texts = readTexts(configFile)
  for (const { path, text } of texts) {
    const at = text.split('\n').findIndex(holdsSecret)
    if (at < 0 && !hasLogin(text) && redact(text) === text) continue
    const place = at < 0 ? path : `${path}:${at + 1}`
    throw new Failure('configuration', `${place} has a password, token or key in it, and is not put into a bundle`, {
      next: 'Move it to a file of its own (`[proxy] password_file`), or export without the configuration.',
    })
  }
  if (Buffer.byteLength(JSON.stringify(texts)) <= MAX_BYTES) return texts
  throw new Failure('configuration', `${configFile} is too long for a bundle; at most ${MAX_BYTES / 1024} KiB fit`)
}

/** To be sent to whoever helps: lines that may hold a secret are left out. Throws `configuration` where a file cannot be read. */
export const configTextsWithoutSecrets = (configFile: string): readonly ConfigText[] =>
  readTexts(configFile).map(({ path, text }) => {
    const suspect = stringsIn(text) === undefined ? ADDRESS : MISPLACED
    // A private key has many lines.
    const lines = redact(text).split('\n')
    const kept = lines.map(line => (holdsSecret(line) || suspect.test(line) ? '# [line left out]' : line)).join('\n')
    return { path, text: hasLogin(kept) ? '# [left out: a URL in it has a password]\n' : kept }
  })

const readTexts = (configFile: string): ConfigText[] => {
  const features = readFeatures(configFile)
  return [
    { path: configFile, text: readConfig(configFile) },
    ...(features === '' ? [] : [{ path: featuresFileOf(configFile), text: features }]),
  ]
}

/** Of a file that is not TOML nobody can tell where a URL ends. */
const ADDRESS = /:\/\/|@|pass|secret|token|key/i
/** In place of a file's name, or under a key that there is not. */
const MISPLACED =
  /(?:password|passwd|passphrase|secret|token|key)(?:_file)?["']?\s*=(?!\s*["']\/|\s*["']["']|\s*(?:true|false)\b)/i

const LOGIN = /:\/\/[^\s"]*:[^\s"]*@/
/** A password with blanks or quotes is seen in the parsed value only, and one in a comment once it is none. */
const LOGIN_VALUE = /^\s*[a-z][a-z\d+.-]*:\/\/[^]*:[^]*@/i

const holdsSecret = (line: string): boolean =>
  LOGIN.test(line) || redact(line) !== line || hasLogin(line.replace(/^[\s#]+/, ''))

const hasLogin = (toml: string): boolean => stringsIn(toml)?.some(text => LOGIN_VALUE.test(text)) ?? false
