// The API's gate: faults, admission, quotas, then the routes; and on the way out GitHub's headers, ETags and the log.

import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { refusalResponse } from './answers.ts'
import { isoSeconds } from './clock.ts'
import { admit, holderOf, newExchange, type Exchange } from './exchange.ts'
import type { Target } from './faults.ts'
import { API_PREFIX, type Parts } from './parts.ts'
import type { Holder } from './quotas.ts'
import { Refusal } from './refusal.ts'
import { createRoutes } from './routes.ts'

export type Api = (request: Request, socket: Socket) => Promise<Response>

export const createApi = (parts: Parts): Api => {
  const { clock, faults, log, requestIds } = parts
  const routes = createRoutes(parts)
  return async (request, socket) => {
    const { pathname } = new URL(request.url)
    const path = pathname.slice(API_PREFIX.length) || '/'
    const exchange = newExchange(requestIds, request.method, path, clock.nowMs())
    const target = { method: request.method, path }
    const write = (status: number): void => {
      log.add(entryOf(parts, exchange, pathname, status, request.headers))
    }
    const cut = (): Response => {
      write(0)
      socket.destroy()
      return RESPONSE_ALREADY_SENT
    }

    if (faults.strike('drop', target)) return cut()
    const slow = faults.strike('slow', target)
    if (slow) await new Promise(resolve => setTimeout(resolve, slow.ms))
    const response = struck(parts, exchange, target) ?? (await perform(parts, exchange, request, routes.fetch))
    if (faults.strike('drop-after', target)) return cut()
    write(response.status)
    return response
  }
}

type Fetch = (request: Request, env: { exchange: Exchange }) => Response | Promise<Response>

const perform = async (parts: Parts, exchange: Exchange, request: Request, fetch: Fetch): Promise<Response> => {
  let response: Response
  try {
    if (request.headers.get('user-agent') === null) return withoutUserAgent(parts, exchange)
    admit(parts, exchange, request.headers)
    limited(parts, exchange)
    response = await fetch(request, { exchange })
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    response = refusalResponse(error)
  }
  return finish(parts, exchange, request, response)
}

/** The faults that answer in GitHub's place, whoever asks. */
const struck = (parts: Parts, exchange: Exchange, target: Target): Response | undefined => {
  const { faults } = parts
  if (faults.strike('no-request-id-portal', target))
    return new Response('<!doctype html><title>Guest network</title><p>Please sign in to use the network.</p>', {
      headers: { 'content-type': 'text/html; charset=utf-8', date: new Date(parts.clock.nowMs()).toUTCString() },
    })
  const html = faults.strike('html-503', target)
  if (html)
    return stamp(
      parts,
      exchange,
      new Response(
        '<!DOCTYPE html><title>Unicorn! &middot; GitHub</title><p>This page is taking too long to load.</p>',
        {
          status: html.status ?? 503,
          headers: { 'content-type': 'text/html; charset=utf-8' },
        },
      ),
    )
  if (faults.strike('outage', target))
    return stamp(
      parts,
      exchange,
      refusalResponse(
        new Refusal(
          503,
          'No server is currently available to service your request. Sorry about that. Please try resubmitting your request and contact us if the problem persists.',
        ),
      ),
    )
  const storm = faults.strike('not-found-storm', target)
  if (storm) return stamp(parts, exchange, refusalResponse(new Refusal(404, storm.message ?? 'Not Found')))
  return undefined
}

/** The refusals that need to know who asks: quotas and the IP allow list. */
const limited = (parts: Parts, exchange: Exchange): void => {
  const { faults, quotas, clock } = parts
  const organization = exchange.installation?.account.login
  const target = { ...exchange, ...(organization === undefined ? {} : { organization }) }
  if (organization !== undefined && faults.strike('ip-block', target))
    throw new Refusal(
      403,
      `Although you appear to have the correct authorization credentials, the \`${organization}\` organization has an IP allow list enabled, and your IP address is not permitted to access this resource.`,
    )
  if (organization !== undefined && faults.strike('account-policy', target))
    throw new Refusal(
      403,
      'Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization.',
      { headers: { 'x-github-sso': `required; url=${parts.url}/orgs/${organization}/sso` } },
    )
  const secondary = faults.strike('secondary-rate-limit', target)
  if (secondary)
    throw new Refusal(
      secondary.status ?? 403,
      'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.',
      secondary.retry_after === undefined ? {} : { headers: { 'retry-after': String(secondary.retry_after) } },
    )
  const primary = faults.strike('rate-limit', target)
  const nowMs = clock.nowMs()
  const quota = quotas.look(holderOf(exchange), nowMs)
  if (!primary && (quota.remaining > 0 || exchange.path === '/rate_limit')) return
  const resetAtS = primary ? Math.ceil(nowMs / 1000) + (primary.reset_seconds ?? 3600) : quota.resetAtS
  throw new Refusal(primary?.status ?? 403, `API rate limit exceeded for ${holderName(exchange)}`, {
    headers: {
      'x-ratelimit-remaining': '0',
      'x-ratelimit-used': String(quota.limit),
      'x-ratelimit-reset': String(resetAtS),
    },
  })
}

const holderName = ({ caller, installation }: Exchange): string => {
  if (installation) return `installation ID ${installation.id}`
  return caller.kind === 'app' ? `app ID ${caller.app.id}` : '127.0.0.1'
}

const finish = async (parts: Parts, exchange: Exchange, request: Request, response: Response): Promise<Response> => {
  const holder = holderOf(exchange)
  if (response.status !== 200 || request.method !== 'GET') return stamp(parts, exchange, response, holder)
  const body = await response.text()
  const etag = `W/"${createHash('sha256').update(body).digest('hex')}"`
  const { headers } = response
  headers.set('etag', etag)
  headers.set('cache-control', 'private, max-age=60, s-maxage=60')
  const asked = request.headers.get('if-none-match')?.split(/,\s*/) ?? []
  if (!asked.includes(etag)) return stamp(parts, exchange, new Response(body, { headers }), holder)
  headers.delete('content-type')
  // An answer "not modified" costs no quota.
  return stamp(parts, exchange, new Response(null, { status: 304, headers }))
}

/** Puts GitHub's headers on; with a `holder` the request is counted against its quota. */
const stamp = (parts: Parts, exchange: Exchange, response: Response, holder?: Holder): Response => {
  const nowMs = parts.clock.nowMs()
  const counted = holder !== undefined && exchange.path !== '/rate_limit'
  const quota = counted ? parts.quotas.take(holder, nowMs) : parts.quotas.look(holderOf(exchange), nowMs)
  const { headers } = response
  if (headers.get('content-type')?.startsWith('application/json'))
    headers.set('content-type', 'application/json; charset=utf-8')
  headers.set('date', new Date(nowMs).toUTCString())
  headers.set('server', 'github.com')
  headers.set('x-github-request-id', exchange.requestId)
  headers.set('x-github-api-version-selected', exchange.version)
  headers.set('x-github-media-type', 'github.v3; format=json')
  const limits = {
    limit: quota.limit,
    remaining: quota.remaining,
    used: quota.used,
    reset: quota.resetAtS,
    resource: exchange.path.startsWith('/app-manifests/') ? 'integration_manifest' : 'core',
  }
  for (const [name, value] of Object.entries(limits))
    if (!headers.has(`x-ratelimit-${name}`)) headers.set(`x-ratelimit-${name}`, String(value))
  return response
}

const withoutUserAgent = (parts: Parts, exchange: Exchange): Response =>
  stamp(
    parts,
    exchange,
    new Response('Request forbidden by administrative rules. Please make sure your request has a User-Agent header.', {
      status: 403,
      headers: { 'content-type': 'text/html; charset=utf-8' },
    }),
  )

const entryOf = (parts: Parts, exchange: Exchange, path: string, status: number, headers: Headers) => {
  const { caller } = exchange
  const app = caller.kind === 'none' ? undefined : caller.kind === 'app' ? caller.app : caller.token.installation.app
  return {
    at: isoSeconds(parts.clock.nowMs()),
    method: exchange.method,
    path,
    status,
    authorization: exchange.claimed,
    issuer: app === undefined ? null : String(app.id),
    installation: exchange.installation?.id ?? null,
    scope: exchange.scope,
    api_version: headers.get('x-github-api-version'),
    stateless: headers.get('x-github-stateless-s2s-token'),
    user_agent: headers.get('user-agent'),
    request_id: exchange.requestId,
  }
}
