// The configuration file: TOML, every key optional, an unknown or wrong one an error with its line.

import { readFileSync } from 'node:fs'
import type { z } from 'zod'
import { Failure } from '../protocol/errors.ts'
import { createFinder, type Finding, refusalOf } from './config-findings.ts'
import { examineFeatures, examineText } from './config-parse.ts'
import type { FeatureTables } from './config-schema.ts'
import type { Config, Examined, Surroundings } from './config-types.ts'
import { explainUnreadable } from './named-file.ts'

export type { Config, Sink, SinkFormat, Surroundings, WebAddress } from './config-types.ts'

export const DEFAULT_CONFIG_FILE = '/etc/ghconnectd/config.toml'

/** Beside the configuration, for features that were switched on by command: `config.toml` has `config.features.toml`. */
export const featuresFileOf = (configFile: string): string => `${configFile.replace(/\.toml$/, '')}.features.toml`

/** Everything that is wrong with the texts; the files that they name are not looked at. Never throws. */
export const examineTexts = (file: string, surroundings: Surroundings): Examined => {
  const findings: Finding[] = []
  const read = (path: string, mayBeAbsent: boolean): string | undefined => {
    try {
      return readText(path, mayBeAbsent)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      findings.push({ level: 'error', file: path, line: undefined, key: '', name: undefined, message: error.message })
      return undefined
    }
  }
  const text = read(file, file === DEFAULT_CONFIG_FILE)
  const features = read(featuresFileOf(file), true) ?? ''
  if (text === undefined) return { config: undefined, findings, find: createFinder({ file, text: '' }) }
  const {
    config,
    findings: more,
    find,
  } = examineText(text, { file, beside: featuresFileOf(file), surroundings, features })
  return { config, findings: [...findings, ...more], find }
}

/** Throws `configuration`, naming file, line and key of all errors. An absent file is an error too, unless it is the default one. */
export const loadConfig = (file: string, surroundings: Surroundings): Config =>
  assertUsable(examineTexts(file, surroundings))

/** Throws `configuration`. */
export const readConfig = (file: string): string => readText(file, file === DEFAULT_CONFIG_FILE)

/** The text of the file beside; none where it is absent. Throws `configuration`. */
export const readFeatures = (configFile: string): string => readText(featuresFileOf(configFile), true)

const readText = (file: string, mayBeAbsent: boolean): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    if (mayBeAbsent && cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return ''
    throw new Failure('configuration', explainUnreadable(file, { cause, secret: false }), { cause })
  }
}

/** `features`: the text of the file beside. Throws `configuration`. */
export const parseConfig = (
  text: string,
  context: { file: string; surroundings: Surroundings; features?: string },
): Config => assertUsable(examineText(text, { features: '', beside: featuresFileOf(context.file), ...context }))

/** Throws `configuration`. */
export const parseFeatures = (text: string, file: string): z.infer<typeof FeatureTables> => {
  const findings: Finding[] = []
  const tables = examineFeatures(text, { file, findings })
  const refusal = refusalOf(findings)
  if (refusal) throw refusal
  return tables
}

/** Throws `configuration` for all errors at once. */
export const assertUsable = ({ config, findings }: Omit<Examined, 'find'>): Config => {
  const refusal = refusalOf(findings)
  if (refusal) throw refusal
  if (!config) throw new Failure('internal', 'a configuration without errors has no settings')
  return config
}
