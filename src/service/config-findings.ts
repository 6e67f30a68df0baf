// What is wrong with a configuration: all of it, each with file, line and key.

import { Failure } from '../protocol/errors.ts'
import { nearest } from '../protocol/spelling.ts'
import { lineOf } from './config-lines.ts'

export type Finding = {
  /** The daemon starts, and reloads, with a `fault` too: it concerns one part. With an `error` it does not. */
  readonly level: 'error' | 'fault' | 'warning'
  /** Undefined: a variable of the environment. */
  readonly file: string | undefined
  readonly line: number | undefined
  /** As `profiles.0.allow.users.1`; empty: the file itself. */
  readonly key: string
  /** Of the profile or sink that it concerns. */
  readonly name: string | undefined
  readonly message: string
}

export type Level = Finding['level']

/** Makes a finding about a key. */
export type Finder = (path: readonly PropertyKey[], message: string, level?: Finding['level']) => Finding
export type Report = (...finding: Parameters<Finder>) => void

/** `text`: of the file, for the lines. `nameOf`: the name of an element of a list of tables. */
export const createFinder =
  (at: {
    file: string
    text: string
    nameOf?: (table: PropertyKey | undefined, index: number) => string | undefined
  }): Finder =>
  (path, message, level = 'error') => {
    const [table, index] = path
    const name = typeof index === 'number' ? at.nameOf?.(table, index) : undefined
    return { level, file: at.file, line: lineOf(at.text, path), key: path.join('.'), name, message }
  }

/** The lines of `file` first, from its top. */
export const byPlace =
  (file: string) =>
  (a: Finding, b: Finding): number =>
    Number(a.file !== file) - Number(b.file !== file) || (a.line ?? 0) - (b.line ?? 0)

export const describeFinding = ({ file, line, key, name, message }: Finding): string => {
  // What is said of the file itself names it.
  if (file === undefined || message.startsWith(`${file} `)) return message
  const place = `${file}${line === undefined ? '' : `:${line}`}`
  const whose = name === undefined ? '' : ` (${key.split('.')[0]?.replace(/s$/, '')} ${name})`
  return `${[place, ...(key ? [key] : []), message].join(': ')}${whose}`
}

/** Something of the configuration that is not as it was meant, and keeps nothing from running. */
export type Doubt = { readonly said: string; readonly next: string }

/** Warnings about a key: a fault shows in its own layer. Not about units: what systemd knows changes while the daemon runs, so they are looked for each time. */
export const doubtsIn = (findings: readonly Finding[]): Doubt[] =>
  findings
    .filter(({ level, key }) => level === 'warning' && key !== '' && !/\.units$|^features\b/.test(key))
    .map(finding => ({
      said: describeFinding(finding),
      next:
        finding.file === undefined
          ? 'Correct the variable where the service gets it, then restart the daemon; or set [proxy] url and exclude.'
          : 'Correct it, then run `ghconnect config check`.',
    }))

const MOST_TOLD = 20

/** One failure for all errors among them; undefined where there is none. */
export const refusalOf = (findings: readonly Finding[]): Failure | undefined => {
  const errors = findings.filter(({ level }) => level === 'error').map(describeFinding)
  if (errors.length === 0) return undefined
  const more = errors.length > MOST_TOLD ? [`and ${errors.length - MOST_TOLD} more`] : []
  return new Failure('configuration', [...errors.slice(0, MOST_TOLD), ...more].join('; '))
}

export const noSuchKey = (key: string, known: readonly string[]): string => {
  const guess = nearest(key, known)
  return guess === undefined ? 'there is no such key' : `there is no such key; did you mean ${guess}?`
}
