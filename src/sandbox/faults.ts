// Misbehaviour on order: outages, limits, lag and cut connections, each for some requests or until taken back.

import { z } from 'zod'
import type { Random } from './random.ts'

const limits = {
  /** How many requests it strikes; without it, all until it is taken back. */
  count: z.int().positive().optional(),
  /** Only requests whose path begins so, with or without the API's prefix. */
  path: z.string().startsWith('/').optional(),
  method: z.string().optional(),
}
const refusedWith = { status: z.literal([403, 429]).optional() }

export const Fault = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('outage'), ...limits }),
  z.strictObject({ kind: z.literal('html-503'), status: z.literal([502, 503, 504]).optional(), ...limits }),
  z.strictObject({ kind: z.literal('slow'), ms: z.int().nonnegative(), ...limits }),
  z.strictObject({
    kind: z.literal('rate-limit'),
    reset_seconds: z.int().positive().optional(),
    ...refusedWith,
    ...limits,
  }),
  z.strictObject({
    kind: z.literal('secondary-rate-limit'),
    retry_after: z.int().nonnegative().optional(),
    ...refusedWith,
    ...limits,
  }),
  z.strictObject({ kind: z.literal('ip-block'), organization: z.string().optional(), ...limits }),
  z.strictObject({
    kind: z.literal('replication-lag'),
    ms: z.int().positive(),
    status: z.literal([401, 403]).optional(),
    ...limits,
  }),
  z.strictObject({ kind: z.literal('drop'), ...limits }),
  z.strictObject({ kind: z.literal('drop-after'), ...limits }),
  z.strictObject({ kind: z.literal('account-policy'), organization: z.string().optional(), ...limits }),
  z.strictObject({ kind: z.literal('not-found-storm'), message: z.string().optional(), ...limits }),
  z.strictObject({ kind: z.literal('no-request-id-portal'), ...limits }),
  z.strictObject({ kind: z.literal('lost-manifest'), ...limits }),
  z.strictObject({ kind: z.literal('sudo'), ...limits }),
])
export type Fault = z.infer<typeof Fault>
export type FaultKind = Fault['kind']

/** The request that a fault may strike; `organization` is the account behind it, where one is known. */
export type Target = { method: string; path: string; organization?: string }

export type Faults = {
  list(): readonly Fault[]
  add(fault: Fault): void
  clear(kind?: string): number
  /** The fault of this kind that strikes this request, counted down; or `undefined`. */
  strike<K extends FaultKind>(kind: K, request: Target): Extract<Fault, { kind: K }> | undefined
  /** Which of the two answers a lagging token gets, where the fault does not say. */
  lagStatus(): 401 | 403
}

export const createFaults = (prefix: string, random: Random): Faults => {
  let active: Fault[] = []
  return {
    list: () => active,
    add: fault => {
      active.push({ ...fault })
    },
    clear: kind => {
      const before = active.length
      active = kind === undefined ? [] : active.filter(fault => fault.kind !== kind)
      return before - active.length
    },
    strike: (kind, { method, path, organization }) => {
      const short = path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path
      const fault = active.find(
        (one): one is Extract<Fault, { kind: typeof kind }> =>
          one.kind === kind &&
          ((one.kind !== 'ip-block' && one.kind !== 'account-policy') ||
            one.organization === undefined ||
            one.organization.toLowerCase() === organization?.toLowerCase()) &&
          (one.method === undefined || one.method.toUpperCase() === method) &&
          (one.path === undefined || path.startsWith(one.path) || short.startsWith(one.path)),
      )
      if (fault?.count !== undefined) {
        fault.count -= 1
        if (fault.count === 0) active = active.filter(one => one !== fault)
      }
      return fault
    },
    lagStatus: () => (random.int(0, 2) === 0 ? 401 : 403),
  }
}
