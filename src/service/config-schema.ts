// The shape of the configuration file: each key, its type, its default, and what is said of a wrong value.

import { z } from 'zod'
import { FEATURE_NAMES } from '../protocol/features.ts'
import { PROFILE_NAME, UNIT_NAME } from '../protocol/profile.ts'
import { isRecipientSpelling } from '../protocol/spelling.ts'

const DURATION_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }

const duration = (least: number, most: number) =>
  z.string().transform((text, context): number => {
    const [, count, unit = ''] = /^(\d{1,5})([smh])$/.exec(text) ?? []
    const ms = Number(count) * (DURATION_MS[unit] ?? Number.NaN)
    if (ms >= least && ms <= most) return ms
    context.addIssue({
      code: 'custom',
      message: `must be a time from ${least / 1000}s to ${most / 60_000}m, such as "20m" or "30s"`,
    })
    return z.NEVER
  })

const MEBIBYTE = 1024 * 1024
const UNIT_BYTES: Readonly<Record<string, number>> = { MiB: MEBIBYTE, GiB: 1024 * MEBIBYTE }

/** In bytes. */
const size = (leastMiB: number) =>
  z.string().transform((text, context): number => {
    const [, count, unit = ''] = /^(\d{1,6})(MiB|GiB)$/.exec(text) ?? []
    const bytes = Number(count) * (UNIT_BYTES[unit] ?? Number.NaN)
    if (bytes >= leastMiB * MEBIBYTE) return bytes
    context.addIssue({
      code: 'custom',
      message: `must be a size of ${leastMiB}MiB or more, such as "512MiB" or "1GiB"`,
    })
    return z.NEVER
  })

/** Known to be good: the library that checks others is not loaded for it. */
export const DEFAULT_SCHEDULE = '*/5 * * * *'

/** Without a login, however it is spelt (a URL parser reads a backslash as a slash): addresses are shown, and stored in bundles. */
export const isPublicAddress = (text: string): boolean => !/[@\\?#\s]/.test(text)

const webUrl = z
  .url({ protocol: /^https?$/, message: 'must be an http or https URL' })
  .refine(isPublicAddress, 'must have no user, password, query or fragment')
const access = z.enum(['read', 'write', 'admin'])
// What is wrong with a name is told of the whole: of a key alone Zod says no more than that it is invalid.
const permissions = z.record(z.string().regex(/^[a-z][a-z0-9_]*$/), access, {
  error: ({ code }) => (code === 'invalid_key' ? 'permissions are spelt with a-z, 0-9 and _' : undefined),
})
const name = z.string().regex(PROFILE_NAME, 'must be a name of letters, digits and . _ -')
/** The suffixes of units that can run a process. */
const unit = z.string().regex(UNIT_NAME, 'must be the full name of a .service or .scope unit')

/** What a profile and a feature have in common: where, and who. */
const scopeAndCallers = {
  installation: z.union([z.string().min(1), z.int().positive()]).optional(),
  repositories: z
    .array(z.string().regex(/^[A-Za-z0-9._*-]+$/, 'must be the name of a repository, without its owner'))
    .min(1)
    .optional(),
  allow: z
    .strictObject({
      users: z.array(z.string().min(1)).default([]),
      groups: z.array(z.string().min(1)).default([]),
      units: z.array(unit).default([]),
    })
    .prefault({}),
}
const { installation, repositories, allow } = scopeAndCallers

export const ProfileTable = z.strictObject({
  name,
  installation,
  repositories,
  permissions: permissions.refine(set => Object.keys(set).length > 0, 'must not be empty').optional(),
  allow,
})

/** `true`: switched on, for administrators alone. */
const FeatureTable = z.preprocess(
  value => (value === true ? {} : value === false ? undefined : value),
  z.strictObject(scopeAndCallers, 'must be true, false or a table').optional(),
)
export type FeatureTable = NonNullable<z.infer<typeof FeatureTable>>

/** By name; also the whole of the file that `ghconnect features` writes. */
export const FeatureTables = z.partialRecord(z.enum(FEATURE_NAMES), FeatureTable)

const SinkTable = z.strictObject({
  name,
  profile: name,
  path: z.string().startsWith('/', 'must be an absolute path'),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'must be an octal string such as "0600"')
    .default('0600'),
  format: z.enum(['token', 'env', 'json', 'netrc']).default('token'),
})

/** Never quoted: somebody may have put the secret half in its place. */
const recipient = z
  .string()
  .refine(isRecipientSpelling, 'must be an age recipient, "age1" and 58 more characters without a slip')
const signer = z
  .string()
  .regex(/^ghconnect-signer:[A-Za-z0-9_-]{43}$/, 'must be a signer as `ghconnect snapshot inspect` prints it')

/** What the file may hold; the README has a row for each key. */
export const File = z.strictObject({
  appliance: z.strictObject({ hostname: z.string().min(1).optional(), url: webUrl.optional() }).prefault({}),
  github: z
    .strictObject({
      url: webUrl.optional(),
      api_url: webUrl.optional(),
      api_version: z
        .string()
        .regex(/^\d{4}-\d{2}-\d{2}$/, 'must be a date such as 2026-03-10')
        .default('2026-03-10'),
      stateless_tokens: z.enum(['default', 'enabled', 'disabled']).default('default'),
    })
    .prefault({}),
  app: z
    .strictObject({
      name: z.string().min(1).max(34).optional(),
      permissions: permissions.default({ metadata: 'read' }),
    })
    .prefault({}),
  paths: z
    .strictObject({
      state: z.string().startsWith('/').default('/var/lib/ghconnectd'),
      runtime: z.string().startsWith('/').default('/run/ghconnectd'),
    })
    .prefault({}),
  store: z.strictObject({ key_file: z.string().default('') }).prefault({}),
  proxy: z
    .strictObject({
      url: z.string().default(''),
      exclude: z.array(z.string().min(1)).default([]),
      ca_file: z.string().default(''),
      password_file: z.string().default(''),
    })
    .prefault({}),
  refresh: z
    .strictObject({
      schedule: z.string().default(DEFAULT_SCHEDULE),
      // 40 minutes, so that with a tick each 5 minutes a token in use always has 35 left when GitHub goes away.
      before_expiry: duration(60_000, 55 * 60_000).prefault('40m'),
      settle: duration(0, 10 * 60_000).prefault('30s'),
    })
    .prefault({}),
  snapshot: z
    .strictObject({
      recipients: z.array(recipient).max(20, 'are too many: 20 at most').default([]),
      trusted: z.array(signer).default([]),
      include_token: z.boolean().default(true),
    })
    .prefault({}),
  audit: z.strictObject({ max_size: size(64).prefault('1GiB') }).prefault({}),
  web: z
    .strictObject({
      listen: z.string().default('127.0.0.1:8470'),
      public_url: z.string().default(''),
      front_user: z.string().default(''),
    })
    .prefault({}),
  policy: z.strictObject({ weak_pid: z.boolean().default(false) }).prefault({}),
  profiles: z.array(ProfileTable).default([]),
  features: FeatureTables.default({}),
  sinks: z.array(SinkTable).default([]),
  cluster: z
    .strictObject({
      name: z.string().default(''),
      endpoints: z.array(webUrl).default([]),
      ca_file: z.string().default(''),
      cert_file: z.string().default(''),
      key_file: z.string().default(''),
      user: z.string().default(''),
      password_file: z.string().default(''),
      secret_file: z.string().default(''),
    })
    .prefault({}),
})
