// What must hold after a kill -9 and a restart, whatever the daemon was doing.

import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseWith, Status } from '../../src/protocol/wire.ts'
import type { Appliance } from './appliance.ts'
import type { Knowledge } from './kill-phases.ts'

const KEYLESS = new Set(['disconnected', 'awaiting-app', 'key-lost'])
const WITH_KEY = new Set(['awaiting-installation', 'connected', 'disconnecting'])
const SETTLE_TRIES = 200

const hold = (claim: boolean, what: string): void => {
  if (!claim) throw new Error(what)
}

/** Throws an Error that says what does not hold; else brings `knowledge` up to date and returns the state. */
export const inspect = async (appliance: Appliance, knowledge: Knowledge): Promise<string> => {
  const status = await settled(appliance)
  const { state, keys } = status
  hold(KEYLESS.has(state) || WITH_KEY.has(state), `the state is ${state}: ${status.meaning} ${status.next}`)
  hold(status.meaning !== '' && status.next !== '', `status does not explain ${state}`)
  hold(keys.length === (WITH_KEY.has(state) ? 1 : 0), `${keys.length} keys are stored in state ${state}`)

  const fingerprint = keys[0]?.fingerprint
  if (knowledge.fingerprint !== undefined) {
    const shredded =
      fingerprint === undefined && state === 'disconnected' && (knowledge.mayShred || knowledge.isDeleted)
    hold(fingerprint === knowledge.fingerprint || shredded, `the key ${knowledge.fingerprint} is lost: ${state}`)
  }
  if (fingerprint === undefined) delete knowledge.fingerprint
  else knowledge.fingerprint = fingerprint

  const wasConverted = await isConverted(appliance)
  if (state === 'key-lost' && knowledge.state !== state)
    hold(wasConverted, 'the key is called lost, and GitHub never gave one')
  if (state === 'awaiting-app') hold(!wasConverted, 'GitHub gave a key, and nothing is said of its loss')
  if (state === 'connected') await proveTokens(appliance, knowledge)
  if (state === 'disconnected') await proveEnd(appliance)
  if (state === 'disconnected' || state === 'key-lost') delete knowledge.callbackUrl
  proveFolders(appliance)
  knowledge.state = state
  return state
}

/** Status once what goes on by itself at a start has gone on: a conversion that was under way. */
const settled = async (appliance: Appliance): Promise<Status> => {
  for (let tries = 0; ; tries++) {
    const status = parseWith(Status, (await appliance.call('GET', '/v1/status')).body)
    const asksAgain = status.state === 'awaiting-app' && /answer is not here yet/.test(status.meaning)
    if (!asksAgain) return status
    hold(tries < SETTLE_TRIES, `the conversion never ends: ${status.meaning}`)
    await new Promise(pause => setTimeout(pause, 25))
  }
}

/** Whether GitHub gave out a key since the last enable: its log says so, also of answers that it then cut. */
const isConverted = async (appliance: Appliance): Promise<boolean> => {
  const entries = await readLog(appliance)
  const conversions = entries.filter(entry => entry.path.includes('/app-manifests/'))
  // A code is refused only after it was taken: these codes are all good, and no hour passes.
  return conversions.some(({ status }) => status === 201 || status === 404)
}

const readLog = async ({ sandbox }: Appliance): Promise<{ path: string; status: number }[]> => {
  const answer = await fetch(`${sandbox.url}/_sandbox/log`)
  const entries: unknown = await answer.json()
  return Array.isArray(entries) ? entries : []
}

const proveTokens = async (appliance: Appliance, knowledge: Knowledge): Promise<void> => {
  const { status, body, text } = await appliance.ask('POST', '/v1/tokens', {
    repositories: ['web'],
    permissions: { contents: 'read' },
  })
  hold(status === 200, `no token is served: ${text}`)
  hold((await useToken(appliance, String(body['token']))) === 200, 'GitHub refuses the token that was served')
  if (knowledge.token === undefined) return
  const used = await useToken(appliance, knowledge.token)
  hold(used !== 401, 'a token that was handed out does not live on')
}

const useToken = async ({ sandbox }: Appliance, token: string): Promise<number> => {
  const answer = await fetch(`${sandbox.apiUrl}/repos/octo-org/web/contents/README.md`, {
    headers: { authorization: `Bearer ${token}` },
  })
  await answer.text()
  return answer.status
}

const proveEnd = async (appliance: Appliance): Promise<void> => {
  const { status, body } = await appliance.ask('POST', '/v1/tokens', {})
  hold(status === 503 && body['type'] === 'urn:ghconnect:problem:not-connected', 'a token is served after the end')
}

/** One store, whole, and nothing that a former one left. */
const proveFolders = ({ state }: Appliance): void => {
  const names = readdirSync(join(state, 'store')).toSorted()
  const numbers = names.filter(name => /^\d+$/.test(name))
  hold(numbers.length === 1 && names.length === 2, `the store folder holds ${names.join(' ')}`)
  hold(lstatSync(join(state, 'store', 'current')).isSymbolicLink(), '`current` is no link')
}
