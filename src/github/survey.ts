// What a token shows of its installation in few requests, however large that is: for the doctor, who asks often.

import { z } from 'zod'
import { asFailure } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import { readAnswer } from './answers.ts'
import { PAGE_SIZE } from './installations.ts'
import type { Answer } from './refusals.ts'

export type Survey = {
  /** How many repositories there are, and the names of the first hundred. */
  peekRepositories(token: Secret, installation: number): Promise<{ total: number; names: readonly string[] }>
  /** Whether the token shows the repository. Throws what is no answer to that. */
  hasRepository(token: Secret, of: { installation: number; owner: string; name: string }): Promise<boolean>
}

type Ask = (
  token: Secret,
  route: string,
  parameters: Readonly<Record<string, unknown>>,
  installation: number,
) => Promise<Answer>

const peekSchema = z
  .object({ total_count: z.int().min(0), repositories: z.array(z.object({ name: z.string().min(1) })) })
  .transform(body => ({ total: body.total_count, names: body.repositories.map(({ name }) => name) }))

export const createSurvey = (ask: Ask): Survey => ({
  async peekRepositories(token, installation) {
    return readAnswer(
      peekSchema,
      await ask(token, 'GET /installation/repositories', { per_page: PAGE_SIZE }, installation),
    )
  },
  async hasRepository(token, { installation, owner, name }) {
    try {
      await ask(token, 'GET /repos/{owner}/{repo}', { owner, repo: name }, installation)
      return true
    } catch (error) {
      const failure = asFailure(error)
      if (failure.code === 'repository-not-accessible') return false
      throw failure
    }
  },
})
