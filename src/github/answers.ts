// GitHub's answers as JSON, checked field by field: half an answer never becomes an App, a key or an empty token.

import { z } from 'zod'
import type { Account, App } from '../domain/connection.ts'
import { Failure } from '../domain/errors.ts'
import type { Granted, Permissions } from '../domain/scope.ts'
import { Secret } from '../domain/secret.ts'
import type { Answer } from './refusals.ts'
import { textOf } from './refusals.ts'

export type ConvertedApp = { readonly app: App; readonly pem: Secret }

export type MintedToken = {
  readonly token: Secret
  readonly expiresAtMs: number
  readonly granted: Granted
  readonly repositorySelection: 'all' | 'selected'
}

export type Repository = { readonly id: number; readonly name: string }

/** Throws `github-unexpected`, naming the fields and never their values. */
export const readAnswer = <T>(schema: z.ZodType<T>, answer: Answer): T => {
  const result = schema.safeParse(answer.body)
  if (result.success) return result.data
  const fields = result.error.issues.map(issue => `${issue.path.join('.') || 'body'}: ${issue.message}`)
  const request = textOf(answer.headers, 'x-github-request-id')
  throw new Failure(
    'github-unexpected',
    `GitHub's answer to ${answer.route} cannot be used: ${fields.slice(0, 3).join('; ')} (request ${request})`,
  )
}

/** Each is built with its first use: a start uses none. */
export const idSchema = z.lazy(() => z.int().positive())
export const timeSchema = z.lazy(() => z.iso.datetime({ offset: true }).transform(text => Date.parse(text)))
const accessSchema = z.enum(['read', 'write', 'admin'])
export const permissionsSchema = z.lazy(() => z.record(z.string(), accessSchema))
export const httpUrlSchema = z.lazy(() => z.url({ protocol: /^https?$/ }))

/** An organization, a user, or an enterprise, which has a slug and no login. */
export const accountSchema = z.lazy(() =>
  z
    .union([
      z.object({ login: z.string().min(1), type: z.enum(['Organization', 'User']) }),
      z.object({ slug: z.string().min(1), login: z.undefined().optional() }),
    ])
    .transform((account): Account => {
      if (!('type' in account)) return { type: 'enterprise', login: account.slug }
      return { type: account.type === 'User' ? 'user' : 'organization', login: account.login }
    }),
)

/** The App's own permissions only inform; a level not known yet must not cost the key of a new App. */
const knownPermissions = z.lazy(() =>
  z.record(z.string(), z.unknown()).transform((permissions): Permissions => {
    const known = Object.entries(permissions).map(
      ([name, access]) => [name, accessSchema.safeParse(access).data] as const,
    )
    return Object.fromEntries(known.flatMap(([name, access]) => (access ? [[name, access]] : [])))
  }),
)

const appFields = z.lazy(() =>
  z.object({
    id: idSchema,
    client_id: z.string().min(1),
    slug: z.string().min(1),
    name: z.string().min(1),
    owner: accountSchema,
    html_url: httpUrlSchema,
    permissions: knownPermissions,
  }),
)

const toApp = (fields: z.infer<typeof appFields>): App => ({
  id: fields.id,
  clientId: fields.client_id,
  slug: fields.slug,
  name: fields.name,
  owner: fields.owner,
  htmlUrl: fields.html_url,
  permissions: fields.permissions,
})

export const appSchema = z.lazy(() => appFields.unwrap().transform(toApp))

export const conversionSchema = z.lazy(() =>
  appFields
    .unwrap()
    .extend({ pem: z.string().includes('PRIVATE KEY') })
    .transform((fields): ConvertedApp => ({ app: toApp(fields), pem: new Secret(fields.pem) })),
)

/** Of a token's form nothing is known but that it fits into a header. */
const tokenTextSchema = z.lazy(() => z.string().regex(/^[\x21-\x7e]+$/))

export const tokenSchema = z.lazy(() =>
  z
    .object({
      token: tokenTextSchema,
      expires_at: timeSchema,
      permissions: permissionsSchema,
      repository_selection: z.enum(['all', 'selected']),
      repositories: z.array(z.object({ name: z.string().min(1) })).optional(),
    })
    .transform(
      (fields): MintedToken => ({
        token: new Secret(fields.token),
        expiresAtMs: fields.expires_at,
        granted: {
          permissions: fields.permissions,
          ...(fields.repositories && { repositories: fields.repositories.map(repository => repository.name) }),
        },
        repositorySelection: fields.repository_selection,
      }),
    ),
)

export const repositoriesSchema = z.lazy(() =>
  z
    .object({ repositories: z.array(z.object({ id: idSchema, name: z.string().min(1) })) })
    .transform(body => body.repositories),
)
