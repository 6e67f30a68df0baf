// What a token shows of its installation in few requests, however large that is.

import { asFailure } from '../../protocol/errors.ts'
import type { Secret } from '../../protocol/secret.ts'
import { readAnswer, type Schemas } from './answers.ts'
import { PAGE_SIZE } from './installations.ts'
import type { Answer } from './refusals.ts'

export type Survey = {
  /** How many repositories there are, and the names of the first hundred. */
  peekRepositories(token: Secret, installation: number): Promise<{ total: number; names: readonly string[] }>
  /** Whether the token shows the repository. Throws what is no answer to that. */
  hasRepository(token: Secret, of: { installation: number; owner: string; name: string }): Promise<boolean>
  /** The repository that has this id now, also one of another account that anybody may read. Undefined where the token shows none. */
  findRepository(token: Secret, of: { installation: number; id: number }): Promise<FoundRepository | undefined>
}

export type FoundRepository = { readonly owner: string; readonly name: string }

type Ask = (
  token: Secret,
  route: string,
  parameters: Readonly<Record<string, unknown>>,
  installation: number,
) => Promise<Answer>

export const createSurvey = (ask: Ask, schemas: () => Schemas): Survey => ({
  async peekRepositories(token, installation) {
    return readAnswer(
      schemas().peek,
      await ask(token, 'GET /installation/repositories', { per_page: PAGE_SIZE }, installation),
    )
  },
  async hasRepository(token, { installation, owner, name }) {
    const answer = await whereShown(ask(token, 'GET /repos/{owner}/{repo}', { owner, repo: name }, installation))
    return answer !== undefined
  },
  async findRepository(token, { installation, id }) {
    const route = 'GET /repositories/{repository_id}'
    const answer = await whereShown(ask(token, route, { repository_id: id }, installation))
    return answer && readAnswer(schemas().repository, answer)
  },
})

const whereShown = async (asked: Promise<Answer>): Promise<Answer | undefined> => {
  try {
    return await asked
  } catch (error) {
    const failure = asFailure(error)
    if (failure.code === 'repository-not-accessible') return undefined
    throw failure
  }
}
