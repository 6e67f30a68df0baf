// The gateway: a local request goes to GitHub's API with a token that the caller never sees, under the policy that its tokens obey.

import type { IncomingHttpHeaders } from 'node:http'
import { Failure } from '../domain/errors.ts'
import { addressOf, type GatewayTarget } from '../domain/gateway.ts'
import { Secret } from '../domain/secret.ts'
import type { TokenAnswer, TokenRequest } from '../domain/wire.ts'
import type { Clock } from '../platform/clock.ts'
import type { Outbound, OutboundRequest, OutboundResponse } from '../platform/outbound.ts'
import type { Caller } from './decisions.ts'
import type { TokenDesk } from './token-desk.ts'
import { hashToken } from './trail.ts'

export type GatewayRequest = {
  readonly method: string
  readonly target: GatewayTarget
  /** Without credentials and without what is for one hop. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes can be sent twice; what streams cannot. */
  readonly body?: Exclude<OutboundRequest['body'], string | undefined>
  readonly signal: AbortSignal
}

export type Gateway = {
  /** GitHub's answer, streaming, redirects and refusals included. Throws what a token request throws, what the way out throws, and `portal`. */
  forward(request: GatewayRequest, caller: Caller): Promise<OutboundResponse>
}

/** For the head of an answer, the upload before it included. */
const DEADLINE_MS = 120_000
/** GitHub's replicas learn of a new token within seconds; one that is older is known to all of them. */
const FRESH_MS = 30_000
const LAG_MS = 2_000
const LIFE_MS = 3_600_000

export const createGateway = (deps: {
  desk: Pick<TokenDesk, 'answer'>
  outbound: Pick<Outbound, 'send'>
  clock: Pick<Clock, 'sleep'>
  settings: () => { readonly apiUrl: string }
  userAgent: string
}): Gateway => {
  const { desk } = deps

  const send = async (request: GatewayRequest, token: string): Promise<OutboundResponse> => {
    const { method, target, body, signal } = request
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
  const choose = async (
    { profile, repository }: GatewayTarget,
    caller: Caller,
  ): Promise<{ wanted: TokenRequest; answer: TokenAnswer }> => {
    const wanted: TokenRequest = profile === undefined ? {} : { profile }
    try {
      return { wanted, answer: await desk.answer(wanted, caller) }
    } catch (error) {
      if (!repository || !(error instanceof Failure) || !AMBIGUOUS.has(error.code)) throw error
      const narrowed = { ...wanted, installation: repository.owner, repositories: [repository.name] }
      return { wanted: narrowed, answer: await desk.answer(narrowed, caller) }
    }
  }

  return {
    async forward(request, caller) {
      const { wanted, answer } = await choose(request.target, caller)
      const first = await send(request, answer.token)
      const isBytes = request.body === undefined || request.body instanceof Uint8Array
      if (!isBytes || !isRefusal(first, answer)) return first
      first.body.destroy()
      if (isFresh(first, answer)) {
        await deps.clock.sleep(LAG_MS, request.signal)
        caller.attested.assertAlive()
        return send(request, answer.token)
      }
      const renewed = await desk.answer({ ...wanted, rejected: hashToken(new Secret(answer.token)) }, caller)
      return send(request, renewed.token)
    },
  }
}

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
