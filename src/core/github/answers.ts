// GitHub's answers as JSON, checked field by field. What we cannot go on without must be there; what is new or left out otherwise is
// left aside with a warning, and everything else goes on.

import { z } from 'zod'
import type { Account, App, Installation } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Access, Granted, Permissions, Scope } from '../../protocol/scope.ts'
import { Secret } from '../../protocol/secret.ts'
import type { Answer } from './refusals.ts'
import { textOf } from './refusals.ts'

export type ConvertedApp = { readonly app: App; readonly pem: Secret }

export type MintedToken = { readonly token: Secret; readonly expiresAtMs: number; readonly granted: Granted }

/** GitHub does not have to repeat the scope that was asked for. */
export const toMinted = (body: z.output<Schemas['token']>, asked: Scope): MintedToken => {
  const { token, expires_at: expiresAtMs, permissions, repositories, repository_selection: selection } = body
  const names = repositories ?? (selection === 'all' ? undefined : asked.repositories)
  return {
    token,
    expiresAtMs,
    granted: { permissions: permissions ?? asked.permissions ?? {}, ...(names && { repositories: names }) },
  }
}

export type Repository = { readonly id: number; readonly name: string }

/** `isWhole` is false where entries were left aside: then an absence proves nothing. */
export type Listed<T> = { readonly items: readonly T[]; readonly isWhole: boolean }

export type InstallationEntry =
  | Installation
  /** One that cannot be read, by its id where that can. */
  | { readonly unread: number | undefined }
  /** An account that is being deleted shows as null: such an installation serves nothing. */
  | undefined

export type Schemas = ReturnType<typeof createSchemas>

/** `warn` is told the name of each field that was left aside, `pagesUrl` is where addresses lead that GitHub did not give. */
export const createSchemas = (deps: { warn: (what: string) => void; pagesUrl: () => string }) => {
  const ID = z.int().positive()
  const TEXT = z.string().min(1)
  const TIME = z.iso.datetime({ offset: true }).transform(text => Date.parse(text))
  const ACCESS = z.enum(['read', 'write', 'admin'])
  const SELECTION = z.enum(['all', 'selected'])
  const HTTP_URL = z.url({ protocol: /^https?$/ })
  /** Of a token's form nothing is known but that it fits into a header. */
  const TOKEN_TEXT = z.string().regex(/^[\x21-\x7e]+$/)
  const ORPHAN = z.object({ account: z.null() })

  /** What nothing depends on: another value than those known is left aside. */
  const or = <T>(schema: z.ZodType<T>, fallback: T, what: string): z.ZodType<T> =>
    schema.catch(({ value }: { value: unknown }) => {
      // That it is not there at all is no news.
      if (value !== undefined) deps.warn(what)
      return fallback
    })

  const listOf = <T>(entry: z.ZodType<T>, what: string) =>
    z.array(z.unknown()).transform((list): Listed<T> => {
      const items = list.flatMap(one => {
        const read = entry.safeParse(one)
        return read.success ? [read.data] : []
      })
      const isWhole = items.length === list.length
      if (!isWhole) deps.warn(`an entry of ${what}`)
      return { items, isWhole }
    })

  const permissions = z.record(z.string(), z.unknown()).transform((levels): Permissions => {
    const known: Record<string, Access> = {}
    for (const [name, level] of Object.entries(levels)) {
      const access = ACCESS.safeParse(level)
      if (access.success) known[name] = access.data
      else deps.warn(`the level of the permission ${name}`)
    }
    return known
  })

  /** An organization, a user, or an enterprise, which has a slug and no login. */
  const account = z.union([
    z.object({ login: z.string().min(1), type: z.unknown().optional() }).transform(({ login, type }): Account => {
      if (type !== 'Organization' && type !== 'User')
        deps.warn("the type of an account, which counts as an organization's")
      return { type: type === 'User' ? 'user' : 'organization', login }
    }),
    z
      .object({ slug: z.string().min(1), login: z.null().optional() })
      .transform(({ slug }): Account => ({ type: 'enterprise', login: slug })),
  ])

  const app = z
    .object({
      id: ID,
      client_id: or(TEXT, '', 'client_id'),
      slug: or(TEXT, '', 'slug'),
      name: or(TEXT, '', 'name'),
      owner: account,
      html_url: or(HTTP_URL, '', 'html_url'),
      permissions,
    })
    .transform(
      ({ id, client_id: clientId, slug, name, owner, html_url: htmlUrl, permissions: asked }): App => ({
        id,
        clientId,
        slug,
        name: name || slug || `App ${id}`,
        owner,
        htmlUrl: htmlUrl || `${deps.pagesUrl()}/apps/${slug}`,
        permissions: asked,
      }),
    )

  const installation = z
    .object({
      id: ID,
      account,
      repository_selection: or(SELECTION, 'selected', 'repository_selection'),
      permissions,
      html_url: or(HTTP_URL, '', 'html_url'),
      suspended_at: or(TIME.nullish(), undefined, 'suspended_at'),
    })
    .transform(
      (body): Installation => ({
        id: body.id,
        account: body.account,
        repositorySelection: body.repository_selection,
        permissions: body.permissions,
        htmlUrl: body.html_url || `${deps.pagesUrl()}/settings/installations/${body.id}`,
        ...(typeof body.suspended_at === 'number' && { suspendedAtMs: body.suspended_at }),
      }),
    )

  const entry = (one: unknown): InstallationEntry => {
    if (ORPHAN.safeParse(one).success) return undefined
    const read = installation.safeParse(one)
    if (read.success) return read.data
    deps.warn('an entry of the installations')
    return { unread: z.object({ id: ID }).safeParse(one).data?.id }
  }

  return {
    app,
    /** The key must not be lost for what can be asked again. */
    conversion: z
      .object({
        pem: z.string().includes('PRIVATE KEY'),
        owner: z.unknown().optional(),
        permissions: z.unknown().optional(),
      })
      .loose()
      .transform(({ pem, owner, permissions: asked, ...rest }, context): ConvertedApp => {
        const read = app.safeParse({
          ...rest,
          owner: account.safeParse(owner).success ? owner : { login: 'unknown', type: 'Organization' },
          permissions: permissions.safeParse(asked).success ? asked : {},
        })
        if (read.success) return { app: read.data, pem: new Secret(pem) }
        for (const { path, message } of read.error.issues) context.addIssue({ code: 'custom', path, message })
        return z.NEVER
      }),
    installation,
    installations: z.array(z.unknown()).transform(list => list.map(entry)),
    token: z.object({
      token: TOKEN_TEXT.transform(text => new Secret(text)),
      expires_at: TIME,
      permissions: or(permissions.optional(), undefined, 'the permissions of a token'),
      repository_selection: or(SELECTION.optional(), undefined, 'repository_selection'),
      repositories: z
        .array(z.object({ name: TEXT }))
        .nullish()
        .transform(list => list?.map(({ name }) => name)),
    }),
    repositories: z
      .object({ repositories: listOf(z.object({ id: ID, name: TEXT }), 'the repositories') })
      .transform(body => body.repositories),
    root: z
      .object({ current_user_authorizations_html_url: z.url().optional().catch(undefined) })
      .transform(root => root.current_user_authorizations_html_url),
    peek: z
      .object({
        total_count: or(z.int().min(0), -1, 'total_count'),
        repositories: listOf(z.object({ name: TEXT }), 'the repositories'),
      })
      .transform(({ total_count: total, repositories: { items } }) => ({
        total: total < 0 ? items.length : total,
        names: items.map(({ name }) => name),
      })),
    repository: z
      .object({ name: TEXT, owner: z.object({ login: TEXT }) })
      .transform(({ name, owner }) => ({ owner: owner.login, name })),
    /** When an installation was changed last, its repositories included. */
    changeTimes: listOf(z.object({ id: ID, updated_at: TIME.nullish() }), 'the installations'),
  }
}

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
