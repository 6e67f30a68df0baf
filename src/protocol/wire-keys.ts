// The API's shapes for the App's private keys: a list that never holds one, and what adds and retires them.

import { z } from 'zod'

const fingerprint = z
  .string()
  .regex(
    /^SHA256:[A-Za-z0-9+/]{43}=$/,
    "must be a fingerprint as GitHub shows it: SHA256: and base64 of the public key's",
  )

const keys = z.array(
  z.strictObject({
    fingerprint: z.string().describe("As GitHub shows it in the App's settings"),
    added_at: z.iso.datetime(),
    signs: z.boolean().describe('The key that signs; the other one is the fallback'),
    state: z.enum(['works', 'rejected', 'unknown']).describe('What GitHub said when the key was used last'),
  }),
)

export const KeysAnswer = z.lazy(() => z.strictObject({ keys }))
export type KeysAnswer = z.infer<typeof KeysAnswer>

export const AddKeyRequest = z.lazy(() =>
  z.strictObject({
    private_key: z.string().min(1).max(16_384).describe("The PEM file that the App's settings page offered"),
  }),
)
export const AddKeyAnswer = z.lazy(() =>
  z.strictObject({
    added: z.string().describe('The fingerprint of the key'),
    already_held: z.boolean().describe('Nothing was changed: the key was held before'),
    keys,
  }),
)
export type AddKeyAnswer = z.infer<typeof AddKeyAnswer>

export const RetireKeyQuery = z.lazy(() =>
  z.strictObject({
    fingerprint: fingerprint.optional().describe('The key to retire; all but the one that signs without it'),
  }),
)
export const RetireKeyAnswer = z.lazy(() =>
  z.strictObject({
    retired: z.array(z.string()).describe('The fingerprints of the keys that are held no more'),
    keys,
    delete_on_github: z.string().describe("The App's settings page, where its owner deletes what was retired"),
  }),
)
export type RetireKeyAnswer = z.infer<typeof RetireKeyAnswer>
