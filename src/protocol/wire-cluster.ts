// The API's shapes of the cluster: loaded with the routes that need them.

import { z } from 'zod'

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

const time = z.iso.datetime()

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
