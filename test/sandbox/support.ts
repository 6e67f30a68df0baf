// What the sandbox's tests share: a sandbox of their own, its control API, JWTs of any make, and checked calls.

import { createPrivateKey, sign, type KeyObject } from 'node:crypto'
import type { ExecutionContext } from 'ava'
import { z } from 'zod'
import { startSandbox, type Sandbox, type SandboxOptions } from '../../src/sandbox/server.ts'
import { checkResponse } from '../support/github-openapi.ts'

export type TestApp = { id: number; clientId: string; slug: string; key: KeyObject }

export type Answer = { status: number; headers: Headers; body: unknown; text: string }

export type Call = {
  method?: string
  authorization?: string
  body?: unknown
  rawBody?: string
  headers?: Record<string, string>
}

export type Bench = {
  sandbox: Sandbox
  /** Calls the control API and gives its answer. Throws unless it said yes. */
  control(path: string, body?: unknown, method?: string): Promise<unknown>
  /** Calls GitHub's API; each answer is held against GitHub's own description. */
  call(path: string, options?: Call): Promise<Answer>
  app(name: string, options?: Record<string, unknown>): Promise<TestApp>
  install(app: TestApp, account?: string, repositories?: string[]): Promise<number>
  jwt(app: TestApp, change?: JwtChange): string
  token(app: TestApp, installation: number, scope?: unknown, headers?: Record<string, string>): Promise<string>
  /** By the sandbox's clock. */
  nowS(): number
}

export type JwtChange = { claims?: Record<string, unknown>; header?: Record<string, unknown>; key?: KeyObject }

const NewApp = z.object({ id: z.int(), client_id: z.string(), slug: z.string(), pem: z.string() })
const NewInstallation = z.object({ id: z.int() })
const ClockAnswer = z.object({ offset_ms: z.number() })
const NewToken = z.object({ token: z.string() })

/** Ends with the test. */
export const createBench = async (t: ExecutionContext, options: SandboxOptions = {}): Promise<Bench> => {
  const sandbox = await startSandbox(options)
  t.teardown(() => sandbox.close())
  let offsetMs = 0
  const bench: Bench = {
    sandbox,
    control: async (path, body, method = body === undefined ? 'GET' : 'POST') => {
      const response = await fetch(`${sandbox.url}/_sandbox/${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
      const answer: unknown = await response.json()
      if (path === 'clock') offsetMs = ClockAnswer.parse(answer).offset_ms
      if (path === 'reset') offsetMs = 0
      return answer
    },
    call: async (path, { method = 'GET', authorization, body, rawBody, headers = {} } = {}) => {
      const sent = rawBody ?? (body === undefined ? undefined : JSON.stringify(body))
      const response = await fetch(sandbox.apiUrl + path, {
        method,
        redirect: 'manual',
        headers: {
          'x-github-api-version': '2026-03-10',
          ...(authorization === undefined ? {} : { authorization }),
          ...headers,
        },
        ...(sent === undefined ? {} : { body: sent }),
      })
      const answer = await readAnswer(response)
      const version = response.headers.get('x-github-api-version-selected')
      if (version !== null && response.headers.get('content-type') !== 'text/html; charset=utf-8')
        t.deepEqual(checkResponse({ method, path, version, ...answer }), [], `${method} ${path} ${answer.status}`)
      return answer
    },
    app: async (name, extra = {}) => {
      const made = NewApp.parse(await bench.control('apps', { owner: 'octo-org', name, ...extra }))
      return { id: made.id, clientId: made.client_id, slug: made.slug, key: createPrivateKey(made.pem) }
    },
    install: async (app, account = 'octo-org', repositories) =>
      NewInstallation.parse(
        await bench.control('installations', { app: app.id, account, ...(repositories ? { repositories } : {}) }),
      ).id,
    jwt: (app, { claims = {}, header = {}, key = app.key } = {}) => {
      const nowS = bench.nowS()
      const parts = [
        { alg: 'RS256', typ: 'JWT', ...header },
        { iat: nowS - 60, exp: nowS + 540, iss: app.id, ...claims },
      ]
      const signed = parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
      return `Bearer ${signed}.${sign('RSA-SHA256', Buffer.from(signed), key).toString('base64url')}`
    },
    token: async (app, installation, scope, headers = {}) => {
      const made = await bench.call(`/app/installations/${installation}/access_tokens`, {
        method: 'POST',
        authorization: bench.jwt(app),
        headers,
        ...(scope === undefined ? {} : { body: scope }),
      })
      t.is(made.status, 201, made.text)
      return NewToken.parse(made.body).token
    },
    nowS: () => Math.floor((Date.now() + offsetMs) / 1000),
  }
  return bench
}

const readAnswer = async (response: Response): Promise<Answer> => {
  const text = await response.text()
  const json = response.headers.get('content-type')?.startsWith('application/json') ?? false
  const body: unknown = json ? JSON.parse(text) : undefined
  return { status: response.status, headers: response.headers, body: json ? body : text, text }
}

/** The text of a refusal. */
export const messageOf = (answer: Answer): string => z.object({ message: z.string() }).parse(answer.body).message
