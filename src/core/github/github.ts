// GitHub's API as the daemon uses it: a method for each call. All throw a Failure of the catalogue, which bears what GitHub said and its request id.

import type { App, Installation } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Scope } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'
import {
  type ConvertedApp,
  createSchemas,
  type Listed,
  type MintedToken,
  readAnswer,
  type Repository,
  type Schemas,
  toMinted,
} from './answers.ts'
import { type AppIdentity, type CallDeps, createCalls, type Parameters } from './calls.ts'
import { type Answer, type AnswerHeaders, textOf } from './refusals.ts'

export type GitHub = ReturnType<typeof createGitHub>

/** Longer than GitHub's replicas need to learn of a new token. */
const REPLICATION_MS = 30_000
const MOST_REPOSITORIES = 500
const INSTALLATION = '/app/installations/{installation_id}'

export const createGitHub = (deps: CallDeps) => {
  const { clock } = deps
  const calls = createCalls(deps)
  const minted = new WeakMap<Secret, { installation: number; atMs: number }>()
  const changedMs = new Map<number, number>()
  let built: Schemas | undefined
  /** Built with the first answer: a start reads none. */
  const schemas = (): Schemas =>
    (built ??= createSchemas({ warn: calls.warnOfUnknown, pagesUrl: () => pagesOf(deps.settings().apiUrl) }))

  const withToken = (
    token: Secret,
    route: string,
    parameters: Parameters = {},
    installation = minted.get(token)?.installation,
  ): Promise<Answer> =>
    calls.plain(route, {
      parameters: { ...parameters, headers: { authorization: `Bearer ${token.reveal()}` } },
      installation,
    })

  return {
    /** Without credentials. Throws `code-rejected` where GitHub says 404 or 422. */
    async convertManifest(code: string): Promise<ConvertedApp> {
      const answer = await calls.plain('POST /app-manifests/{code}/conversions', { parameters: { code } })
      return readAnswer(schemas().conversion, answer)
    },

    /** Without credentials: an address on GitHub's pages as the API's root names it. Undefined where it names none. */
    async findPagesUrl(): Promise<string | undefined> {
      return readAnswer(schemas().root, await calls.plain('GET /', { parameters: {} }))
    },

    getApp: (as: AppIdentity): Promise<App> =>
      calls.lookAsApp(as, { route: 'GET /app' }, answer => readAnswer(schemas().app, answer)),

    /** `known`: as they were last; one whose entry cannot be read is as it was, as that says nothing of its end. */
    async listInstallations(as: AppIdentity, known: readonly Installation[] = []): Promise<readonly Installation[]> {
      const unread = new Set<number | undefined>()
      const readPage = (answer: Answer) => {
        for (const { id, updated_at: atMs } of schemas().changeTimes.safeParse(answer.body).data?.items ?? [])
          changedMs.set(id, atMs ?? 0)
        const items = readAnswer(schemas().installations, answer).map(entry => {
          if (entry && 'unread' in entry) unread.add(entry.unread)
          return entry && 'id' in entry ? entry : undefined
        })
        return { items, headers: answer.headers }
      }
      const found = await readPages(page =>
        calls.lookAsApp(as, { route: 'GET /app/installations', parameters: { per_page: PAGE_SIZE, page } }, readPage),
      )
      const mayBeUnread = ({ id }: Installation): boolean => unread.has(id) || unread.has(undefined)
      return [...found, ...known.filter(one => mayBeUnread(one) && !found.some(({ id }) => id === one.id))]
    },

    async getInstallation(as: AppIdentity, id: number): Promise<Installation> {
      const answer = await calls.asApp(as, `GET ${INSTALLATION}`, { parameters: { installation_id: id } })
      return readAnswer(schemas().installation, answer)
    },

    /** Mints a new token each time: nothing is cached here. */
    async mint(as: AppIdentity, scope: Scope): Promise<MintedToken> {
      const { installation, repositories, permissions } = scope
      assertMintable(scope)
      const { statelessTokens } = deps.settings()
      const parameters = {
        installation_id: installation,
        ...(repositories && { repositories }),
        ...(permissions && { permissions }),
        ...(statelessTokens !== 'default' && { headers: { 'x-github-stateless-s2s-token': statelessTokens } }),
      }
      const answer = await calls.asApp(as, `POST ${INSTALLATION}/access_tokens`, { parameters, installation })
      const token = toMinted(readAnswer(schemas().token, answer), scope)
      minted.set(token.token, { installation, atMs: clock.monotonic() })
      return token
    },

    /**
     * Resolves when GitHub refuses the token from now on, also where it did so before. A 401 for a token minted moments ago may
     * come from a replica that does not know it yet: that throws `bad-credentials`, to be tried again.
     */
    async revoke(token: Secret): Promise<void> {
      try {
        await withToken(token, 'DELETE /installation/token')
      } catch (error) {
        const mint = minted.get(token)
        const isFresh = mint !== undefined && clock.monotonic() - mint.atMs < REPLICATION_MS
        if (!isRefusal(error, 'bad-credentials') || isFresh) throw error
      }
      minted.delete(token)
    },

    /** Whether GitHub accepts the token at this moment. */
    async accepts(token: Secret): Promise<boolean> {
      const asked = withToken(token, 'GET /installation/repositories', { per_page: 1 })
      return (await unless(asked, 'bad-credentials', 'forbidden', 'suspended')) !== undefined
    },

    async listRepositories(token: Secret): Promise<Listed<Repository>> {
      let isWhole = true
      const items = await readPages(async page => {
        const answer = await withToken(token, 'GET /installation/repositories', { per_page: PAGE_SIZE, page })
        const list = readAnswer(schemas().repositories, answer)
        isWhole &&= list.isWhole
        return { items: list.items, headers: answer.headers }
      })
      return { items, isWhole }
    },

    /** How many repositories there are, and the names of the first hundred: in one request, however large the installation is. */
    async peekRepositories(token: Secret, installation: number): Promise<{ total: number; names: readonly string[] }> {
      const answer = await withToken(token, 'GET /installation/repositories', { per_page: PAGE_SIZE }, installation)
      return readAnswer(schemas().peek, answer)
    },

    /** Whether the token shows the repository. Throws what is no answer to that. */
    async hasRepository(
      token: Secret,
      { installation, owner, name }: { installation: number; owner: string; name: string },
    ): Promise<boolean> {
      const asked = withToken(token, 'GET /repos/{owner}/{repo}', { owner, repo: name }, installation)
      return (await unless(asked, 'repository-not-accessible')) !== undefined
    },

    /** The repository that has this id now, also one of another account that anybody may read. Undefined where the token shows none. */
    async findRepository(
      token: Secret,
      { installation, id }: { installation: number; id: number },
    ): Promise<{ readonly owner: string; readonly name: string } | undefined> {
      const asked = withToken(token, 'GET /repositories/{repository_id}', { repository_id: id }, installation)
      const answer = await unless(asked, 'repository-not-accessible')
      return answer && readAnswer(schemas().repository, answer)
    },

    /** Resolves when the App is not installed there, or no longer, even if the App is gone, or when GitHub has taken the order (202). */
    async uninstall(as: AppIdentity, id: number): Promise<void> {
      const asked = calls.asApp(as, `DELETE ${INSTALLATION}`, { parameters: { installation_id: id } })
      await unless(asked, 'installation-not-found', 'app-not-found')
    },

    /** What GitHub last said of an installation's quota, if it did. */
    findQuota: calls.findQuota,
    /** When an installation was changed last, as the last list said: a hint to look at its repositories. */
    findChangedMs: (installation: number): number | undefined => changedMs.get(installation),
    /** What GitHub last said of a key of the App, by its fingerprint. */
    keyState: calls.keyState,
  }
}

/** GitHub reads an empty list as no restriction at all, which is the opposite of what it says. */
const assertMintable = ({ repositories, permissions }: Scope): void => {
  if (repositories && (repositories.length === 0 || repositories.length > MOST_REPOSITORIES)) {
    throw new Failure(
      'invalid-request',
      `a token is for 1 to ${MOST_REPOSITORIES} repositories, or for all without a list`,
    )
  }
  if (permissions && Object.keys(permissions).length === 0) {
    throw new Failure('invalid-request', 'a token has at least one permission, or all without a list')
  }
}

/** Where GitHub's pages are, by the address of its API: `api.HOST`, or `HOST/api/v3`. */
const pagesOf = (apiUrl: string): string => {
  const { protocol, host } = new URL(apiUrl)
  return `${protocol}//${host.replace(/^api\./, '')}`
}

const isRefusal = (error: unknown, ...codes: readonly Failure['code'][]): error is Failure =>
  error instanceof Failure && codes.includes(error.code)

/** Undefined where GitHub refuses with one of the codes. */
const unless = async (asked: Promise<Answer>, ...codes: readonly Failure['code'][]): Promise<Answer | undefined> => {
  try {
    return await asked
  } catch (error) {
    if (isRefusal(error, ...codes)) return undefined
    throw error
  }
}

const PAGE_SIZE = 100
/** 50,000 entries: more than any account has, and a tenth of an hour's quota. */
const MOST_PAGES = 500

/**
 * All entries of a list, each id once (pages shift while they are read). Pages are asked for by number, never by an address from an answer.
 * An entry that means nothing to us is undefined; it counts when pages are. Throws `github-unexpected` where the list does not end, as a
 * list cut short would look whole.
 */
export const readPages = async <T extends { readonly id: number }>(
  ask: (page: number) => Promise<{ readonly items: readonly (T | undefined)[]; readonly headers: AnswerHeaders }>,
): Promise<readonly T[]> => {
  const found = new Map<number, T>()
  for (let page = 1; page <= MOST_PAGES; page++) {
    const { items, headers } = await ask(page)
    for (const item of items) if (item) found.set(item.id, item)
    if (!hasNext(headers, items.length)) return [...found.values()]
  }
  throw new Failure('github-unexpected', `a list of GitHub's has more than ${MOST_PAGES} pages`)
}

const hasNext = (headers: AnswerHeaders, length: number): boolean => {
  const link = textOf(headers, 'link')
  return link === '' ? length >= PAGE_SIZE : /;\s*rel="?next"?/i.test(link)
}
