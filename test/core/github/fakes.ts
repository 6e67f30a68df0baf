// Stand-ins for the tests of this room: a clock that is moved by hand, a fetch that answers from a list, and keys made once.

import { generateKeyPairSync } from 'node:crypto'
import { z } from 'zod'
import type { AppKey } from '../../../src/core/github/app-key.ts'
import { readPrivateKey } from '../../../src/core/github/app-key.ts'
import type { GitHubClock } from '../../../src/core/github/clock.ts'
import { createGitHubClock } from '../../../src/core/github/clock.ts'
import type { GitHubSettings } from '../../../src/core/github/calls.ts'
import type { GitHub } from '../../../src/core/github/github.ts'
import { createGitHub } from '../../../src/core/github/github.ts'
import type { Clock } from '../../../src/service/clock.ts'
import type { Fields } from '../../../src/service/log.ts'

export type FakeClock = Clock & { advance(ms: number): void; set(ms: number): void }

/** `advance` is time that passes; `set` is someone who sets the wall clock. */
export const fakeClock = (startMs: number): FakeClock => {
  let wall = startMs
  let monotonic = 1000
  const timer = { cancel: () => undefined }
  return {
    now: () => wall,
    monotonic: () => monotonic,
    after: () => timer,
    every: () => timer,
    schedule: () => timer,
    onJump: () => timer,
    sleep: () => Promise.resolve(),
    advance(ms) {
      wall += ms
      monotonic += ms
    },
    set(ms) {
      wall = ms
    },
  }
}

/** The real clock, wrong by so much. */
export const skewedClock = (skewMs: number): Clock => ({
  ...fakeClock(0),
  now: () => Date.now() + skewMs,
  monotonic: () => performance.now(),
})

export const makePem = (bits = 2048): string =>
  generateKeyPairSync('rsa', {
    modulusLength: bits,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  }).privateKey

export const makeKey = (): AppKey => readPrivateKey(makePem())

export type Call = {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

export type Reply = { readonly status?: number; readonly headers?: Record<string, string>; readonly body?: unknown }

export type Responder = (call: Call) => Reply | Error

export const REQUEST_ID = 'C0DE:1234:5678'

export type FakeGitHub = {
  readonly github: GitHub
  readonly githubClock: GitHubClock
  readonly calls: Call[]
  readonly warnings: string[]
  /** The fields of each warning. */
  readonly told: (Fields | undefined)[]
  readonly ended: Ended[]
  /** For the calls from then on. */
  change(settings: Partial<GitHubSettings>): void
}

type Ended = { readonly route: string; readonly seconds: number; readonly answered: boolean }

/** `createGitHub` over a fetch that asks `respond`. Answers bear a request id and the date of `githubNow`, unless a reply overrides them. */
export const fakeGitHub = (
  respond: Responder,
  options: { clock?: Clock; githubNow?: () => number; settings?: Partial<GitHubSettings> } = {},
): FakeGitHub => {
  const clock = options.clock ?? fakeClock(Date.parse('2026-06-01T12:00:00Z'))
  const githubNow = options.githubNow ?? (() => clock.now())
  const githubClock = createGitHubClock({ clock, offsetMs: 0, onChange: () => undefined })
  const calls: Call[] = []
  const warnings: string[] = []
  const told: (Fields | undefined)[] = []
  const ended: Ended[] = []
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const call = {
      method: init?.method ?? 'GET',
      url: input instanceof Request ? input.url : input.toString(),
      headers: Object.fromEntries(new Headers(init?.headers)),
      body: typeof init?.body === 'string' ? z.json().parse(JSON.parse(init.body)) : undefined,
    }
    calls.push(call)
    const reply = respond(call)
    if (reply instanceof Error) throw reply
    const headers = new Headers({
      'content-type': 'application/json; charset=utf-8',
      'x-github-request-id': REQUEST_ID,
      date: new Date(githubNow()).toUTCString(),
      ...reply.headers,
    })
    for (const [name, value] of Object.entries(reply.headers ?? {})) if (value === '') headers.delete(name)
    const body =
      typeof reply.body === 'string' || reply.body instanceof ReadableStream
        ? reply.body
        : JSON.stringify(reply.body ?? {})
    return new Response(reply.status === 204 || reply.status === 304 ? null : body, {
      status: reply.status ?? 200,
      headers,
    })
  }
  let settings: GitHubSettings = {
    apiUrl: 'https://api.github.com',
    apiVersion: '2026-03-10',
    statelessTokens: 'default',
    ...options.settings,
  }
  const github = createGitHub({
    outbound: { fetch },
    clock,
    githubClock,
    settings: () => settings,
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: (message, fields) => {
        warnings.push(message)
        told.push(fields)
      },
      error: message => void warnings.push(message),
    },
    userAgent: 'ghconnectd/test',
    onCall: call => void ended.push(call),
  })
  const change = (more: Partial<GitHubSettings>): void => void (settings = { ...settings, ...more })
  return { github, githubClock, calls, warnings, told, ended, change }
}

export const refusal = (status: number, message: string, headers: Record<string, string> = {}): Reply => ({
  status,
  headers,
  body: { message, documentation_url: 'https://docs.github.com/rest' },
})

const claimsSchema = z.object({ iat: z.int(), exp: z.int(), iss: z.string() })

export const claimsOf = (authorization: string | undefined): z.infer<typeof claimsSchema> => {
  const [, claims = ''] = (authorization ?? '').replace(/^bearer /i, '').split('.')
  return claimsSchema.parse(JSON.parse(Buffer.from(claims, 'base64url').toString()))
}
