// Switches features on and off in a file of its own beside the configuration, which is the administrator's alone.

import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { FeatureName } from '../protocol/features.ts'
import { Failure } from '../protocol/errors.ts'
import { featuresFileOf, parseConfig, parseFeatures, readConfig, readFeatures, type Surroundings } from './config.ts'
import { syncFolder, writeDurably } from './files.ts'

/** What is to hold for a feature; undefined switches it off. */
export type FeatureSetting = {
  readonly installation?: string | number
  readonly repositories?: readonly string[]
  readonly allow: {
    readonly users: readonly string[]
    readonly groups: readonly string[]
    readonly units: readonly string[]
  }
}

export type Switched = {
  /** The file that was changed. */
  readonly file: string
  /** Puts back what was there. */
  undo(): void
}

/** The whole configuration is checked with the change before it is written. Throws `configuration`, `usage`. */
export const switchFeature = (
  name: FeatureName,
  setting: FeatureSetting | undefined,
  { configFile, surroundings }: { configFile: string; surroundings: Surroundings },
): Switched => {
  const file = featuresFileOf(configFile)
  const before = readFeatures(configFile)
  const text = readConfig(configFile)
  const own = parseConfig(text, { file: configFile, surroundings }).features.some(feature => feature.name === name)
  if (own) throw new Failure('usage', `${name} stands in ${configFile}: change it there`)
  const { [name]: was, ...others } = parseFeatures(before, file)
  if (!was && !setting) throw new Failure('usage', `${name} is not switched on`)
  const after = format(setting ? { ...others, [name]: setting } : others)
  parseConfig(text, { file: configFile, surroundings, features: after })
  put(file, after)
  return { file, undo: () => put(file, before) }
}

const put = (file: string, text: string): void => {
  if (text !== '') return writeDurably(file, text, 0o644)
  rmSync(file, { force: true })
  syncFolder(dirname(file))
}

const format = (tables: Readonly<Record<string, FeatureSetting | undefined>>): string => {
  const written = Object.entries(tables).flatMap(([name, setting]) => (setting ? [formatOne(name, setting)] : []))
  return written.length === 0 ? '' : [HEAD, ...written].join('\n')
}

const HEAD = '# Written by `ghconnect features enable` and `disable`; each change writes it anew.\n'

const formatOne = (name: string, { installation, repositories, allow }: FeatureSetting): string => {
  const lists = Object.entries(allow).flatMap(([list, names]) =>
    names.length > 0 ? [`${list} = ${formatValue(names)}`] : [],
  )
  const lines = [
    `[${name}]`,
    ...(installation === undefined ? [] : [`installation = ${formatValue(installation)}`]),
    ...(repositories ? [`repositories = ${formatValue(repositories)}`] : []),
    ...(lists.length > 0 ? [`allow = { ${lists.join(', ')} }`] : []),
  ]
  return `${lines.join('\n')}\n`
}

/** JSON's strings, numbers and lists are TOML's as well. */
const formatValue = (value: string | number | readonly string[]): string => JSON.stringify(value)
