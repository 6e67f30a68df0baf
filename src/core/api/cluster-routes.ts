// Routes of the cluster: look at it, join, leave, promote a replica, seal its values anew.

import { ClusterJoinRequest, ClusterLeaveQuery, ClusterStatus, ResealAnswer } from '../../protocol/wire.ts'
import { type Route, route } from './route.ts'

const ADMIN = ['admin'] as const

export const CLUSTER_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/cluster',
    sockets: ADMIN,
    summary: 'Members, leader, and how far each node has come',
    answer: ClusterStatus,
    handle: async ({ operations }) => (await operations().cluster()).status(),
  }),
  route({
    method: 'POST',
    path: '/v1/cluster',
    sockets: ADMIN,
    summary:
      'Join the cluster of the configuration: the first node brings its credentials, each other one takes them over',
    body: ClusterJoinRequest,
    answer: ClusterStatus,
    async handle({ body, operations }) {
      const cluster = await operations().cluster()
      await cluster.join({ replica: body.replica === true, force: body.force === true })
      return cluster.status()
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/cluster',
    sockets: ADMIN,
    summary: 'Leave the cluster: nothing of it stays here, unless it is to be kept; the other nodes go on',
    query: ClusterLeaveQuery,
    answer: ClusterStatus,
    async handle({ query, operations }) {
      const cluster = await operations().cluster()
      await cluster.leave({ keep: query.keep === 'true' })
      return cluster.status()
    },
  }),
  route({
    method: 'POST',
    path: '/v1/cluster/promotion',
    sockets: ADMIN,
    summary: 'Make a member of a replica: it may lead, and call GitHub',
    answer: ClusterStatus,
    async handle({ operations }) {
      const cluster = await operations().cluster()
      await cluster.promote()
      return cluster.status()
    },
  }),
  route({
    method: 'POST',
    path: '/v1/cluster/secret',
    sockets: ADMIN,
    summary: "Seal all values with the first of this node's cluster secrets, once every member knows it",
    answer: ResealAnswer,
    handle: async ({ operations }) => ({ resealed: await (await operations().cluster()).reseal() }),
  }),
]
