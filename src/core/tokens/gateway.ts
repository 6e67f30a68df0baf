// The gateway: a local request goes to GitHub's API with a token that the caller never sees, under the policy that its tokens obey.

import type { IncomingHttpHeaders } from 'node:http'
import { Failure } from '../../protocol/errors.ts'
import { addressOf, type GatewayTarget } from './gateway-target.ts'
import { Secret } from '../../protocol/secret.ts'
import type { TokenAnswer, TokenRequest } from '../../protocol/wire.ts'
import type { Clock } from '../../service/clock.ts'
import type { Outbound, OutboundRequest, OutboundResponse } from '../outbound/outbound.ts'
import type { Caller, TokenIssuer } from './token-issuer.ts'
import { hashToken } from '../audit/audit-writer.ts'

export type GatewayRequest = {
  readonly method: string
  readonly target: GatewayTarget
  /** Without credentials and without what is for one hop. */
  readonly headers: Readonly<Record<string, string>>
  /** Called once the caller is known to be allowed. Bytes can be sent twice; what streams cannot. Absent: there is no body. */
  readonly readBody?: () => Promise<RequestBody>
  readonly signal: AbortSignal
}

export type RequestBody = Exclude<OutboundRequest['body'], string | undefined>

export type Gateway = ReturnType<typeof createGateway>
export type Forwarded = Awaited<ReturnType<Gateway['forward']>>

/** For the head of an answer, the upload before it included. */
const DEADLINE_MS = 120_000
/** GitHub's replicas learn of a new token within seconds; one that is older is known to all of them. */
const FRESH_MS = 30_000
const LAG_MS = 2_000
const LIFE_MS = 3_600_000

export const createGateway = (deps: {
  issuer: Pick<TokenIssuer, 'answer' | 'narrowTo'>
  outbound: Pick<Outbound, 'send'>
  clock: Pick<Clock, 'sleep'>
  settings: () => { readonly apiUrl: string }
  userAgent: string
}) => {
  const { issuer } = deps

  const send = async (
    request: GatewayRequest,
    { body, token }: { body: RequestBody | undefined; token: string },
  ): Promise<OutboundResponse> => {
    const { method, target, signal } = request
    const response = await deps.outbound.send({
      method,
      url: addressOf(target, deps.settings().apiUrl),
      headers: { 'user-agent': deps.userAgent, ...request.headers, authorization: `Bearer ${token}` },
      ...(body !== undefined && { body }),
      signal,
      deadlineMs: DEADLINE_MS,
    })
    if (response.headers['x-github-request-id']) return response
    response.body.destroy()
    throw new Failure('portal', `an answer with ${response.status} came without GitHub's request id`)
  }

  /** Where the profile alone does not say which token is meant, the repository in the path does. */
  const choose = async (target: GatewayTarget, caller: Caller): Promise<Chosen> => {
    const { profile } = target
    const wanted: TokenRequest = profile === undefined ? {} : { profile }
    try {
      return { wanted, answer: await issuer.answer(wanted, caller), ...(profile !== undefined && { profile }) }
    } catch (error) {
      if (!(error instanceof Failure) || !AMBIGUOUS.has(error.code)) throw error
      const { repository, repositoryId } = target
      const narrowed =
        repositoryId === undefined
          ? repository && { ...wanted, installation: repository.owner, repositories: [repository.name] }
          : await issuer.narrowTo(repositoryId, { request: wanted, caller })
      if (!narrowed) throw error
      const answer = await issuer.answer(narrowed, caller)
      return { wanted: narrowed, answer, ...(answer.profile !== undefined && { profile: answer.profile }) }
    }
  }

  const exchange = async (
    request: GatewayRequest,
    { wanted, answer }: Chosen,
    caller: Caller,
  ): Promise<OutboundResponse> => {
    request.signal.throwIfAborted()
    const body = await request.readBody?.()
    const first = await send(request, { body, token: answer.token })
    const isBytes = body === undefined || body instanceof Uint8Array
    if (!isBytes || !isRefusal(first, answer)) return first
    first.body.destroy()
    if (isFresh(first, answer)) {
      await deps.clock.sleep(LAG_MS, request.signal)
      caller.attested.assertAlive()
      return send(request, { body, token: answer.token })
    }
    const renewed = await issuer.answer({ ...wanted, rejected: hashToken(new Secret(answer.token)) }, caller)
    return send(request, { body, token: renewed.token })
  }

  return {
    /**
     * GitHub's answer, streaming, redirects and refusals included. `profile`: the one that the caller named, or that only the path could
     * tell; what follows this answer is asked for under it. Throws what a token request throws, what the way out throws, and `portal`.
     */
    async forward(request: GatewayRequest, caller: Caller): Promise<OutboundResponse & Pick<Chosen, 'profile'>> {
      const chosen = await choose(request.target, caller)
      const { profile } = chosen
      return { ...(await exchange(request, chosen, caller)), ...(profile !== undefined && { profile }) }
    },
  }
}

type Chosen = { readonly wanted: TokenRequest; readonly answer: TokenAnswer; readonly profile?: string }

const AMBIGUOUS = new Set<Failure['code']>(['profile-required', 'installation-required', 'repositories-required'])

/** 401 is said of the token; 403 mostly of what was asked, unless the token is so new that a replica may not know it. */
const isRefusal = (response: OutboundResponse, answer: TokenAnswer): boolean =>
  response.status === 401 || (response.status === 403 && isFresh(response, answer) && !isLimited(response.headers))

const isLimited = (headers: IncomingHttpHeaders): boolean =>
  headers['retry-after'] !== undefined || headers['x-ratelimit-remaining'] === '0'

/** By GitHub's own clock, as its answer tells it. */
const isFresh = ({ headers }: OutboundResponse, { expires_at }: TokenAnswer): boolean => {
  const nowMs = Date.parse(headers.date ?? '')
  const mintedMs = Date.parse(expires_at) - LIFE_MS
  return Math.abs(nowMs - mintedMs) < FRESH_MS
}
