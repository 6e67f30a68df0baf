// Reads an App manifest or the fields of the registration form, with GitHub's complaints.

import { z } from 'zod'
import { isKnown } from './permissions.ts'
import type { Account, AppDraft } from './records.ts'
import { MAX_NAME } from './world.ts'

const MAX_CALLBACKS = 10

const Manifest = z.object({
  name: z.string().optional(),
  url: z.string().optional(),
  hook_attributes: z.object({ url: z.string().optional(), active: z.boolean().optional() }).optional(),
  redirect_url: z.string().optional(),
  callback_urls: z.array(z.string()).optional(),
  setup_url: z.string().optional(),
  description: z.string().nullish(),
  public: z.boolean().optional(),
  default_events: z.array(z.string()).optional(),
  default_permissions: z.record(z.string(), z.unknown()).optional(),
  request_oauth_on_install: z.boolean().optional(),
  setup_on_update: z.boolean().optional(),
})

export type ReadManifest =
  | { kind: 'good'; draft: AppDraft; redirectUrl: string | undefined }
  | { kind: 'bad'; errors: string[] }

export const readManifest = (text: string, owner: Account): ReadManifest => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return bad('Error manifest is not valid JSON')
  }
  const parsed = Manifest.safeParse(value)
  if (!parsed.success) return bad(...parsed.error.issues.map(i => `Error ${i.path.join('.')} ${i.message}`))
  const manifest = parsed.data
  const errors = complaints(manifest)
  const permissions: Record<string, string> = {}
  for (const [name, level] of Object.entries(manifest.default_permissions ?? {})) {
    if (isKnown(name, level)) permissions[name] = level
    else errors.push('Error Default permission records resource is not included in the list')
  }
  if (errors.length > 0) return bad(...new Set(errors))
  const draft: AppDraft = {
    owner,
    name: manifest.name ?? '',
    url: manifest.url ?? '',
    description: manifest.description ?? null,
    public: manifest.public ?? false,
    setupOnUpdate: manifest.setup_on_update ?? false,
    permissions,
    events: manifest.default_events ?? [],
    ...(manifest.setup_url === undefined ? {} : { setupUrl: manifest.setup_url }),
  }
  return { kind: 'good', draft, redirectUrl: manifest.redirect_url }
}

const bad = (...errors: string[]): ReadManifest => ({ kind: 'bad', errors })

const complaints = (manifest: z.infer<typeof Manifest>): string[] => {
  const errors: string[] = []
  if (!manifest.url) errors.push('Error "url" wasn\'t supplied.')
  else if (!isWebAddress(manifest.url)) errors.push('Error Url must be a valid URL')
  if ((manifest.name ?? '').length > MAX_NAME) errors.push(`Error Name is too long (maximum is ${MAX_NAME} characters)`)
  const hook = manifest.hook_attributes
  if (hook && !hook.url) errors.push('Error "url" wasn\'t supplied.')
  else if (hook?.url && isLocal(hook.url))
    errors.push("Error Hook url is not supported because it isn't reachable over the public Internet")
  if (manifest.default_events?.length && !hook) errors.push("Error Default events can't be set without a hook")
  if ((manifest.callback_urls ?? []).length > MAX_CALLBACKS)
    errors.push(`Error Callback urls are too many (maximum is ${MAX_CALLBACKS})`)
  for (const address of [manifest.redirect_url, manifest.setup_url, ...(manifest.callback_urls ?? [])])
    if (address !== undefined && !isWebAddress(address)) errors.push(`Error ${address} is not a valid URL`)
  return errors
}

const isWebAddress = (text: string): boolean => /^https?:$/.test(URL.parse(text)?.protocol ?? '')

const isLocal = (text: string): boolean => {
  const host = URL.parse(text)?.hostname ?? ''
  return host === 'localhost' || host.endsWith('.localhost') || host.startsWith('127.') || host === '[::1]'
}
