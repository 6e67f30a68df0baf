// The API's shapes: one schema each gives validation, types and the OpenAPI document. Each is built with its first use, and a start uses none.

import { z } from 'zod'
import { Failure } from './errors.ts'
import { FEATURE_NAMES } from './features.ts'
import { PROFILE_NAME } from './profile.ts'

const access = z.enum(['read', 'write', 'admin'])
const permissions = z.record(z.string().regex(/^[a-z][a-z0-9_]{0,63}$/), access)
const login = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/, 'must be the login of an account')
const repositoryName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,100}$/, 'must be the name of a repository, without its owner')
const profileName = z.string().regex(PROFILE_NAME, 'must be a name of letters, digits and . _ -')
const installation = z.union([z.int().positive(), login, z.string().regex(/^\d{1,18}$/)])
/** ISO 8601 in UTC, milliseconds included. */
const time = z.iso.datetime()

/** GitHub takes at most 500 repositories for a token. */
const MAX_REPOSITORIES = 500

export const TokenRequest = z.lazy(() =>
  z
    .strictObject({
      profile: profileName.optional(),
      installation: installation.optional().describe('An id, or the login of the account'),
      repositories: z.array(repositoryName).min(1).max(MAX_REPOSITORIES).optional(),
      repository_ids: z.array(z.int().positive()).min(1).max(MAX_REPOSITORIES).optional(),
      permissions: permissions.refine(set => Object.keys(set).length > 0, 'must not be empty').optional(),
      min_ttl_seconds: z.int().min(0).max(2400).optional().describe('How long the token must last at least'),
      rejected: z
        .string()
        .regex(/^[A-Za-z0-9+/_-]{43}=?$/, 'must be the base64 of a SHA-256')
        .optional()
        .describe('The hash of a token that GitHub refused: base64 of its SHA-256'),
    })
    .refine(r => !(r.repositories && r.repository_ids), 'give repositories or repository_ids, not both'),
)
export type TokenRequest = z.infer<typeof TokenRequest>

export const TokenAnswer = z.lazy(() =>
  z.strictObject({
    token: z.string(),
    expires_at: time,
    installation: z.int(),
    account: z.string(),
    profile: z.string().optional(),
    repositories: z.array(z.string()).optional(),
    permissions,
  }),
)
export type TokenAnswer = z.infer<typeof TokenAnswer>

export const AccountBody = z.lazy(() =>
  z.strictObject({
    type: z.enum(['organization', 'user', 'enterprise']),
    login,
  }),
)

export const EnableRequest = z.lazy(() => z.strictObject({ account: AccountBody }))
export const EnableAnswer = z.lazy(() =>
  z.strictObject({
    url: z.string().describe('The page that the owner of the account opens in a browser'),
    expires_at: time,
    how: z.enum(['manifest', 'import']).describe('`import`: GitHub gives no key; generate one there and import it'),
  }),
)
export type EnableAnswer = z.infer<typeof EnableAnswer>

export const CompleteRequest = z.lazy(() =>
  z.strictObject({
    redirected: z.string().min(1).max(4096).describe('The address that GitHub sent the browser to, or the code in it'),
  }),
)

export const ImportRequest = z.lazy(() =>
  z
    .strictObject({
      app_id: z.int().positive().optional(),
      client_id: z
        .string()
        .regex(/^[A-Za-z0-9._-]{1,64}$/)
        .optional(),
      private_key: z.string().min(1).max(16_384),
      account: login.optional(),
    })
    .refine(r => (r.app_id === undefined) !== (r.client_id === undefined), 'give either app_id or client_id'),
)

export const DisableQuery = z.lazy(() =>
  z.strictObject({
    local: z.enum(['true', 'false']).optional().describe('Only this machine: GitHub is not called'),
    wait: z
      .enum(['true', 'false'])
      .optional()
      .describe('`false`: shred the key at once, without waiting until the owner has deleted the App on GitHub'),
    yes: z.enum(['true', 'false']).optional().describe('Deprecated: `yes=true` means `wait=false`'),
  }),
)

const InstallationBody = z.lazy(() =>
  z.strictObject({
    id: z.int(),
    account: AccountBody,
    repository_selection: z.enum(['all', 'selected']),
    permissions,
    html_url: z.string(),
    suspended_at: time.optional(),
  }),
)
export const InstallationsAnswer = z.lazy(() => z.strictObject({ installations: z.array(InstallationBody) }))

/** Looking at a link does not use it up; the button on it does. */
export const UiLinkAnswer = z.lazy(() =>
  z.strictObject({
    url: z.string().describe('A link to the settings page, good once and for five minutes'),
    expires_at: time,
  }),
)

/** A bundle has at most 16 MiB; base64 makes a third more of it. */
const base64 = z.base64().max(22 * 2 ** 20)
/** An age identity file: lines of AGE-SECRET-KEY-1..., comments allowed. */
const identity = z.string().min(1).max(16_384)

export const RestoreRequest = z.lazy(() =>
  z.strictObject({
    bundle: base64.describe('The bundle as it was exported'),
    identity: identity
      .optional()
      .describe('An age identity file that opens the bundle; without it a sealed bundle waits for unlock'),
    force: z
      .boolean()
      .optional()
      .describe('Accept an unknown signer over a live connection, or a bundle of another GitHub'),
  }),
)
const configuration = z
  .array(z.strictObject({ path: z.string(), text: z.string() }))
  .optional()
  .describe('The configuration that the bundle was exported with; it is never applied')
export const ExportQuery = z.lazy(() =>
  z.strictObject({
    config: z.enum(['true', 'false']).optional().describe('Put the text of the configuration into the bundle'),
  }),
)
export const RestoreAnswer = z.lazy(() =>
  z.strictObject({
    outcome: z.enum(['restored', 'unchanged', 'awaiting-unlock']),
    state: z.string(),
    meaning: z.string(),
    next: z.string(),
    warnings: z.array(z.string()),
    configuration,
  }),
)
export type RestoreAnswer = z.infer<typeof RestoreAnswer>

export const UnlockRequest = z.lazy(() => z.strictObject({ identity }))
export const RecoveryKeyRequest = z.lazy(() =>
  z.strictObject({
    recipient: z.string().regex(/^age1[0-9a-z]{58}$/, 'must be an age recipient (age1...)'),
  }),
)
export const RecoveryKeysAnswer = z.lazy(() =>
  z.strictObject({
    recipients: z.array(z.string()),
    signer: z.string().describe('The public key that signs the bundles of this machine, for [snapshot] trusted'),
  }),
)
export type RecoveryKeysAnswer = z.infer<typeof RecoveryKeysAnswer>

const Warning = z.lazy(() => z.strictObject({ code: z.string(), detail: z.string(), next: z.string() }))

/** What everybody may see, on token.sock. */
export const PublicStatus = z.strictObject({
  state: z.string(),
  since: time,
  meaning: z.string(),
  next: z.string(),
  version: z.string(),
})

const wholeStatus = () =>
  PublicStatus.extend({
    account: AccountBody.optional(),
    app: z
      .strictObject({ id: z.int(), client_id: z.string(), slug: z.string(), name: z.string(), html_url: z.string() })
      .optional(),
    keys: z.array(z.strictObject({ fingerprint: z.string(), added_at: time })),
    installations: z.array(InstallationBody),
    tokens: z.strictObject({
      live: z.int(),
      oldest_expires_at: time.optional(),
      last_minted_at: time.optional(),
      next_refresh_at: time.optional(),
    }),
    last_failure: z
      .strictObject({ code: z.string(), detail: z.string(), next: z.string(), at: time })
      .optional()
      .describe('What stood between this machine and GitHub at the last call, if anything did'),
    proxy: z.string().optional().describe('The web proxy in use, without its password'),
    clock_known: z.boolean().optional().describe('Whether GitHub has told its time since the start'),
    clock_offset_seconds: z.number().describe("GitHub's clock minus this machine's"),
    generation: z.int(),
    role: z.enum(['single', 'leader', 'follower', 'replica']),
    hostname: z.string(),
    recovery_recipients: z.array(z.string()).describe('To whom snapshots and database keys are encrypted'),
    signer: z.string().describe('The public key that signs the bundles of this machine'),
    warnings: z.array(Warning),
  })
export const Status = z.lazy(wholeStatus)
/** What a client accepts: the whole status, or, where the store is closed or on token.sock, its public part alone. */
export const SeenStatus = z.lazy(() =>
  wholeStatus().partial().required({ state: true, since: true, meaning: true, next: true, version: true }),
)
export type SeenStatus = z.infer<typeof SeenStatus>
export type Status = z.infer<typeof Status>
export type PublicStatus = z.infer<typeof PublicStatus>

export const ProfileBody = z.lazy(() =>
  z.strictObject({
    name: z.string(),
    installation: z.union([z.string(), z.int()]).optional(),
    repositories: z.array(z.string()).optional(),
    permissions: permissions.optional(),
    allow: z
      .strictObject({ users: z.array(z.string()), groups: z.array(z.string()), units: z.array(z.string()) })
      .optional(),
  }),
)
export const ProfilesAnswer = z.lazy(() => z.strictObject({ profiles: z.array(ProfileBody) }))
export type ProfileBody = z.infer<typeof ProfileBody>

export const RefreshAnswer = z.lazy(() =>
  z.strictObject({
    refreshed: z.int(),
    failed: z.array(z.strictObject({ scope: z.string(), code: z.string(), detail: z.string() })),
  }),
)
export type RefreshAnswer = z.infer<typeof RefreshAnswer>

export const RevokeRequest = z.lazy(() =>
  z.strictObject({ all: z.literal(true).describe('Every live token; nothing less can be asked for') }),
)
export const RevokeAnswer = z.lazy(() =>
  z.strictObject({
    revoked: z.int(),
    remaining: z.int().describe('No longer served; GitHub accepts them until they end, or until one of the next tries'),
    remaining_end_at: time.optional(),
    failed: z.array(z.strictObject({ code: z.string(), detail: z.string(), tokens: z.int() })),
  }),
)
export type RevokeAnswer = z.infer<typeof RevokeAnswer>

export const StateAnswer = z.lazy(() => z.strictObject({ state: z.string(), meaning: z.string(), next: z.string() }))
export type StateAnswer = z.infer<typeof StateAnswer>

/** One line of GET /v1/events, in its `data`. Never a secret. */
export const EventBody = z.lazy(() =>
  z.strictObject({
    event: z
      .enum(['state', 'token-refreshed', 'refresh-failed', 'step', 'change', 'lagged'])
      .describe(
        '`change`: something of App, account, installation or keys, as `detail` says. `lagged`: the listener read too slowly, and its stream ends',
      ),
    at: time,
    state: z.string().optional(),
    scope: z.string().optional().describe('installation, repositories and permissions, for a person'),
    profile: z.string().optional().describe('whose token it is; none of an administrator'),
    expires_at: time.optional(),
    detail: z.string().optional(),
    next: z.string().optional().describe('What to do about a state'),
  }),
)
export type EventBody = z.infer<typeof EventBody>

export const ProblemBody = z.lazy(() =>
  z.object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    next: z.string(),
    instance: z.string().optional(),
  }),
)

/** Of what the gateway's query has, the daemon's part. */
export const GatewayQuery = z.lazy(() => z.strictObject({ profile: z.string().optional() }))

export const LiveAnswer = z.lazy(() => z.strictObject({ live: z.literal(true) }))
export const ReadyAnswer = z.lazy(() => z.strictObject({ ready: z.boolean(), reasons: z.array(z.string()) }))

/** None of these answers holds a key. */
const keys = z.lazy(() =>
  z.array(
    z.strictObject({
      fingerprint: z.string().describe("As GitHub shows it in the App's settings"),
      added_at: time,
      signs: z.boolean().describe('The key that signs; the other one is the fallback'),
      state: z.enum(['works', 'rejected', 'unknown']).describe('What GitHub said when the key was used last'),
    }),
  ),
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
    fingerprint: z
      .string()
      .regex(
        /^SHA256:[A-Za-z0-9+/]{43}=$/,
        "must be a fingerprint as GitHub shows it: SHA256: and base64 of the public key's",
      )
      .optional()
      .describe('The key to retire; all but the one that signs without it'),
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

export const FeaturesAnswer = z.lazy(() =>
  z.strictObject({
    features: z.array(
      z.strictObject({
        name: z.enum(FEATURE_NAMES).describe('Also the name of the profile, where it is switched on'),
        title: z.string(),
        purpose: z.string(),
        reads: z.string(),
        sends: z.string(),
        remark: z.string().optional().describe("What GitHub's App permissions do not cover"),
        consumer: z.string(),
        permissions: z.record(z.string(), z.string()),
        state: z.enum(['off', 'on', 'awaiting-connection', 'no-installation', 'app-lacks', 'awaiting-approval']),
        detail: z.string(),
        next: z.string(),
        missing: z
          .record(z.string(), z.string())
          .optional()
          .describe('What the App does not ask for, or the owner has not approved'),
        link: z.string().optional().describe("The page of GitHub's where the owner gives what is missing"),
        file: z.string().optional().describe('The file that switches it on'),
        installation: ProfileBody.unwrap().shape.installation,
        repositories: ProfileBody.unwrap().shape.repositories,
        allow: ProfileBody.unwrap().shape.allow,
      }),
    ),
  }),
)
export type FeaturesAnswer = z.infer<typeof FeaturesAnswer>
export type FeatureBody = FeaturesAnswer['features'][number]

export const ReloadAnswer = z.lazy(() =>
  z.strictObject({ file: z.string().describe('The configuration that holds from now on') }),
)

export const ClusterJoinRequest = z.lazy(() =>
  z.strictObject({
    replica: z.boolean().optional().describe('Hold the credentials, call nobody, never lead, until promoted'),
    force: z.boolean().optional().describe("Give up another connection of this node's own"),
  }),
)

export const ClusterLeaveQuery = z.lazy(() =>
  z.strictObject({
    keep: z.enum(['true', 'false']).optional().describe('Keep the credentials, and go on as a single node'),
  }),
)

export const ClusterStatus = z.lazy(() =>
  z.strictObject({
    cluster: z.string(),
    node: z.string(),
    joined: z.boolean(),
    role: z.enum(['single', 'leader', 'follower', 'replica']),
    in_touch: z.boolean(),
    last_contact_at: time.optional(),
    trouble: z.string().optional().describe('Why it is not in touch, or does not hold what the cluster does'),
    generation: z.int(),
    sequence: z.int().describe('Of the record that this node holds'),
    cluster_sequence: z.int().optional().describe('Of the record in etcd, where it can be opened'),
    unsent: z.boolean().describe("A change of this node's has not reached the cluster yet"),
    leader: z.string().optional(),
    tokens: z.int().describe('Tokens in etcd, sealed'),
    members: z.array(
      z.strictObject({
        node: z.string(),
        hostname: z.string(),
        role: z.enum(['leader', 'follower', 'replica']),
        version: z.string(),
        generation: z.int(),
        sequence: z.int(),
        behind: z.int().describe('How many records it has not taken over yet'),
        since: time,
      }),
    ),
  }),
)
export type ClusterStatus = z.infer<typeof ClusterStatus>

export const ResealAnswer = z.lazy(() =>
  z.strictObject({
    resealed: z.int().describe('Values that are sealed with the new secret now'),
  }),
)

/** Throws `invalid-request`, naming the field. */
export const parseWith = <T>(schema: z.ZodType<T>, value: unknown): T => {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const path = [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])].join('.')
  const what = unknown === undefined ? (issue?.message ?? 'is wrong') : 'there is no such field'
  throw new Failure('invalid-request', `${path || 'body'}: ${what}`)
}

/** Never throws: what is shown must not stop what shows it. */
export const isoTime = (ms: number): string =>
  new Date(Math.min(Math.max(ms || 0, -LATEST_DATE_MS), LATEST_DATE_MS)).toISOString()

/** Of what a Date holds. */
const LATEST_DATE_MS = 8.64e15
