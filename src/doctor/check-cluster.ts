// Judges a node's place in its cluster.

import { failed, ok, skipped, warning } from './check-rules.ts'
import { Failure } from '../protocol/errors.ts'
import type { CheckRow } from '../protocol/wire-check.ts'
import type { ClusterStatus } from '../protocol/wire.ts'

/** Undefined: no cluster is configured. */
export const clusterRow = (status: ClusterStatus | undefined): CheckRow => {
  if (!status) return skipped({ layer: 'cluster' }, 'this is a single node')
  const { cluster, node, role, leader, members, sequence, cluster_sequence: known = sequence } = status
  const of = { layer: 'cluster', subject: cluster } as const
  if (!status.joined) return skipped(of, `${node} has not joined it; \`ghconnect cluster join\` does`)
  if (!status.in_touch) {
    const since = status.last_contact_at === undefined ? 'yet' : `since ${status.last_contact_at}`
    const why = status.trouble === undefined ? '' : `: ${status.trouble}`
    return failed(of, new Failure('cluster-unreachable', `this node (${node}) has not heard of it ${since}${why}`))
  }
  if (status.trouble !== undefined)
    return failed(
      of,
      new Failure('cluster-behind', `this node (${node}) lags behind it: ${status.trouble}`),
      'Do what is said there; it is tried again by itself.',
    )
  const said = `This node (${node}) is ${role === 'leader' ? 'its leader' : `a ${role}`}, one of ${members.length}, and holds record ${sequence} of ${known}`
  if (leader === undefined) {
    const next = 'Wait a few seconds; if none comes, see `ghconnect cluster status` and the journals of its nodes.'
    return warning(of, `${said}; no node leads.`, next)
  }
  return ok(of, `${said}${role === 'leader' ? '' : `; ${leader} leads`}.`)
}
