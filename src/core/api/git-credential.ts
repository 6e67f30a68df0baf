// Tokens in git's own words: what `Accept: text/x-git-credential` makes of POST /v1/tokens.

import { GIT_CREDENTIAL, readGitCredential, writeGitCredential } from '../../protocol/token-texts.ts'
import { parseWith, TokenRequest } from '../../protocol/wire.ts'
import { parseJson } from './request-body.ts'
import type { TextForm } from './route.ts'

/** The body is git's attributes, or the same JSON as ever. 204: another helper is to be asked, or there is nothing to say. */
export const gitCredentialForm: TextForm = {
  type: GIT_CREDENTIAL,
  async handle({ text, type, caller, operations, backend }) {
    const asked =
      type === GIT_CREDENTIAL
        ? readGitCredential(text, backend.githubUrl())
        : { request: parseJson(text), knowsEphemeral: false }
    if (asked === undefined) return undefined
    const request = parseWith(TokenRequest, asked.request)
    const answer = await operations().issuer.answer(request, caller)
    return request.rejected === undefined ? writeGitCredential(answer, asked.knowsEphemeral) : undefined
  },
}
