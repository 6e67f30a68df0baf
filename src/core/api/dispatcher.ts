// One socket's requests: guards, the endpoint by its name, body, answer, problems. On node:http itself: a cached token is answered in
// microseconds, most of which a framework would take.

import type { IncomingMessage } from 'node:http'
import { endpointOf } from '../../protocol/endpoints.ts'
import { asFailure, type Code, Failure, toProblem } from '../../protocol/errors.ts'
import { parseWith } from '../../protocol/wire.ts'
import { SLOWED_MS } from '../../service/limits.ts'
import { giveBack } from '../../service/process.ts'
import { type Account, type Budget, holderOf } from '../peers/holder.ts'
import { GATEWAY_PREFIX, readGitHubRequest } from '../tokens/gateway-target.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import { hasBody, readJson, readText, sendJson, sendText } from './body.ts'
import type { Api, Exchange } from './context.ts'
import { passOn } from './gateway.ts'
import { answerGit, type Call, createHandlers, type HandledName, isRootOrDaemon } from './handlers.ts'
import type { Handler } from './http-server.ts'
import { NOBODY } from './sockets.ts'

type Serve = (exchange: Exchange, caller: Caller) => Promise<void>

/** A caller that asks too often or sends too much waits for the refusal, and so do further requests on that connection. */
const SLOWED = new Set<Code>(['rate-limited', 'body-too-large'])

/**
 * Names by which a client may call a unix socket; token.sock answers in place of GitHub's API as well. Anything else was meant for a
 * web server and came by way of a browser.
 */
const HOSTS = new Set(['localhost', 'ghconnect', ''])

export const createApi = (api: Api): Handler => {
  const { socket, metrics, clock } = api
  const handlers = Object.entries(createHandlers(api)) as [HandledName, (call: Call<HandledName>) => unknown][]
  const served = new Map<string, Serve>(handlers.map(([name, handle]) => [name, serveEndpoint(name, handle, api)]))
  const gateway = serveGateway(api)

  const dispatch = (exchange: Exchange): Promise<void> => {
    const { incoming, path } = exchange
    // Before anything is looked up: what does not exist costs as much as what does.
    const caller = admit(exchange, api)
    refuseBrowsers(incoming)
    if (!isOurs(incoming)) return gateway(asForGitHub(exchange, api), caller)
    const name = `${incoming.method} ${path}`
    const serve = served.get(name) ?? (isGateway(path) ? gateway : undefined)
    if (!serve) throw new Failure('unknown-route', name)
    return serve(exchange, caller)
  }
  const refuse = (exchange: Exchange, error: unknown): void => {
    const failure = asFailure(error)
    if (failure.code === 'internal') api.log.error('a request failed', { path: exchange.path, error: failure })
    metrics.refused(failure.code)
    if (SLOWED.has(failure.code)) clock.after(SLOWED_MS, () => inTurn(exchange, () => sendProblem(exchange, failure)))
    else sendProblem(exchange, failure)
  }
  /** Administrators do not wait. */
  const inTurn = ({ incoming }: Exchange, task: () => void): void => {
    if (socket === 'token') api.turns.take(holderNameOf(api, incoming), task)
    else task()
  }

  return (incoming, outgoing) => {
    const url = incoming.url ?? '/'
    const mark = url.indexOf('?')
    const path = mark < 0 ? url : url.slice(0, mark)
    const exchange = { incoming, outgoing, path, query: mark < 0 ? '' : url.slice(mark + 1) }
    inTurn(exchange, () => {
      try {
        dispatch(exchange).catch((error: unknown) => refuse(exchange, error))
      } catch (error) {
        refuse(exchange, error)
      }
    })
  }
}

/** Of those who ended before they were attested, too. */
const holderNameOf = ({ peers }: Api, incoming: IncomingMessage): string => {
  try {
    return holderOf(peers.of(incoming).peer).name
  } catch {
    return NOBODY.name
  }
}

const BYTES = 'application/octet-stream'

const HEALTH = new Set(['/livez', '/readyz'])

/** Who calls, and that it may: throws `peer-gone`, and `rate-limited` on token.sock. */
const admit = ({ incoming, path }: Exchange, { socket, peers, rateLimit, backend }: Api): Caller => {
  const attested = peers.of(incoming)
  if (socket === 'token') {
    const { peer } = attested
    // A flood of others by root does not make the service manager believe that the daemon is ill.
    const isProbe = HEALTH.has(path) && (peer.uid === 0 || peer.uid === backend.ownUid)
    if (!isProbe || !rateLimit.takeProbe()) rateLimit.takeAnswer(peer)
  }
  return { socket, attested }
}

/** A page in a browser can reach a socket by way of a careless proxy; it cannot leave these headers out. */
const refuseBrowsers = ({ headers }: IncomingMessage): void => {
  for (const name in headers) {
    // Node's own fetch sends this one and no other; a browser never sends it alone.
    if (name === 'sec-fetch-mode' && headers[name] === 'cors') continue
    if (name === 'origin' || name === 'referer' || name.startsWith('sec-fetch-'))
      throw new Failure('browser-refused', `the request has a header that only browsers send: ${name}`)
  }
}

const isOurs = ({ headers: { host = '' } }: IncomingMessage): boolean =>
  HOSTS.has(host) || HOSTS.has(host.replace(/:\d+$/, ''))

const isGateway = (path: string): boolean =>
  path.startsWith(GATEWAY_PREFIX) && (path.length === GATEWAY_PREFIX.length || path[GATEWAY_PREFIX.length] === '/')

/** The same request in the gateway's words, answered in GitHub's: addresses stay as they are. */
const asForGitHub = (exchange: Exchange, { socket, backend }: Api): Exchange => {
  const { host = '' } = exchange.incoming.headers
  const ours = backend.apiUrl().replace(/\/+$/, '')
  const path = socket === 'token' ? readGitHubRequest({ host, path: exchange.path }, ours) : undefined
  if (path === undefined) throw new Failure('browser-refused', `the request is for host ${host}`)
  return { ...exchange, path, ours }
}

const serveEndpoint = (name: HandledName, handle: (call: Call<HandledName>) => unknown, api: Api): Serve => {
  const { socket, backend, operations, turns, rateLimit } = api
  const endpoint = endpointOf(name)
  const { status = 200, media, rootOnly } = endpoint
  if (!endpoint.sockets.includes(socket))
    return ({ incoming, path }) => {
      if (!endpoint.body) incoming.resume()
      throw new Failure('not-permitted', `${path} is served on admin.sock only`)
    }
  const observe = api.metrics.timer(name)
  const budget = endpoint.maxBodyBytes === undefined ? api.bodies.json : api.bodies.large
  const isChange = socket === 'admin' && !name.startsWith('GET ') && !endpoint.changesNothing
  /** False while the store is closed. */
  const note = (caller: Caller): boolean => {
    try {
      operations().noteRequest(caller.attested.peer, name)
      return true
    } catch {
      return false
    }
  }

  const serve = async ({ incoming, outgoing, query }: Exchange, caller: Caller, account: Account): Promise<void> => {
    const done = observe()
    const turn = (cost: number): Promise<void> => {
      if (socket === 'token') rateLimit.takeAnswer(caller.attested.peer, cost)
      const { name: holder } = holderOf(caller.attested.peer)
      return new Promise(resolve => (socket === 'token' ? turns.take(holder, resolve, cost) : resolve()))
    }
    if (endpoint.answer && media !== undefined && incoming.headers.accept === media) {
      const type = (incoming.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
      const text = await answerGit({ text: await readText(incoming, { account, turn }), type }, caller, api)
      if (text === undefined) outgoing.writeHead(204).end()
      else outgoing.writeHead(200, { 'content-type': media, 'cache-control': 'no-store' }).end(text)
      return done()
    }
    // Before the change is made; where the log is closed until then, as with an unlock, after it.
    const isNoted = !isChange || note(caller)
    const { body: schema, maxBodyBytes: maxBytes, repeats = false } = endpoint
    const body = schema && (await readJson(incoming, { schema, maxBytes, account, turn, repeats }))
    const asked = endpoint.query && parseWith(endpoint.query, Object.fromEntries(new URLSearchParams(query)))
    if (rootOnly !== undefined && !isRootOrDaemon(caller, backend)) throw new Failure('not-permitted', rootOnly)
    const answer = await handle({ body, query: asked, caller, incoming, outgoing } as Call<HandledName>)
    if (!isNoted) note(caller)
    if (answer === undefined) return
    if (answer instanceof Uint8Array) {
      // Nobody else holds them.
      outgoing
        .writeHead(status, { 'content-type': media ?? BYTES, 'cache-control': 'no-store' })
        .end(answer, () => giveBack(answer))
    } else if (repeats && typeof answer === 'object' && answer !== null) {
      sendText(outgoing, { status, text: textOf(answer) })
    } else sendJson(outgoing, status, answer)
    done()
  }

  return (exchange, caller) => {
    // Read by nobody, it would be kept.
    if (!endpoint.body) exchange.incoming.resume()
    return withAccount(budget, caller, account => serve(exchange, caller, account))
  }
}

/** What was read is held until the answer is made. */
const withAccount = async (
  budget: Budget,
  { attested }: Caller,
  work: (account: Account) => Promise<void>,
): Promise<void> => {
  const account = budget(attested.peer)
  try {
    await work(account)
  } finally {
    account.release()
  }
}

const serveGateway = (api: Api): Serve => {
  const { bodies } = api
  const observe = api.metrics.timer('ANY /v1/github/{path}')
  return async (exchange, caller) => {
    const done = observe()
    await withAccount(bodies.replay, caller, account =>
      withAccount(bodies.streamed, caller, streamed => passOn(exchange, { api, caller, account, streamed })),
    )
    done()
  }
}

/** The answer of a cached token is the same object each time. */
const texts = new WeakMap<object, string>()

const textOf = (answer: object): string => {
  const known = texts.get(answer)
  if (known !== undefined) return known
  const text = JSON.stringify(answer)
  texts.set(answer, text)
  return text
}

const sendProblem = ({ incoming, outgoing, path }: Exchange, failure: Failure): void => {
  if (outgoing.headersSent) return void outgoing.destroy()
  // What is left of the body is not worth reading; a connection that still sends is given up.
  const close = failure.code === 'body-too-large' || (!incoming.complete && hasBody(incoming.headers))
  const head = {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    ...(failure.retryAfterSeconds !== undefined && { 'retry-after': String(failure.retryAfterSeconds) }),
    ...(close && { connection: 'close' }),
  }
  sendText(outgoing, { status: failure.entry.status, text: JSON.stringify(toProblem(failure, path)), head })
}
