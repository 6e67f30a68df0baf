// `ghconnect cluster`: the credentials on several nodes.

import { ClusterStatus, ResealAnswer } from '../../protocol/wire.ts'
import type { Client } from '../../protocol/client.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { confirm, YES_OPTION } from '../confirm.ts'
import { alignColumns, count, describeTime, relativeTime } from '../output.ts'
import { getStatus } from '../watch.ts'

const show = ({ output, deps }: Context, status: ClusterStatus): void => {
  const now = deps.clock.now()
  const contact = status.last_contact_at
  const heard = contact === undefined ? '' : `, heard of ${relativeTime(Date.parse(contact), now)}`
  const touch = !status.joined
    ? output.paint('yellow', 'not joined')
    : status.in_touch
      ? status.trouble === undefined
        ? output.paint('green', 'in touch')
        : output.paint('yellow', 'in touch, and behind')
      : output.paint('red', `cut off${heard}`)
  const rows: (readonly [string, ...string[]])[] = [
    ['Cluster', `${status.cluster}, ${touch}`, ...(status.trouble === undefined ? [] : [status.trouble])],
    ['This node', `${status.node} (${status.role})`],
    ['Record', describeRecord(status)],
    ['Leader', status.leader ?? 'none'],
    ['Tokens', `${status.tokens} in etcd, sealed`],
  ]
  if (status.members.length > 0) {
    const lines = status.members.map(member => [
      member.node,
      member.hostname,
      member.role,
      `generation ${member.generation}`,
      member.behind === 0 ? 'current' : output.paint('yellow', `${count(member.behind, 'record')} behind`),
      `since ${describeTime(member.since, now)}`,
    ])
    rows.push(['Members', ...alignColumns(lines)])
  }
  output.table(rows.flatMap(([label, ...lines]) => lines.map((line, at) => [at === 0 ? label : '', line])))
}

const describeRecord = (status: ClusterStatus): string => {
  const here = `generation ${status.generation}, record ${status.sequence}`
  if (status.unsent) return `${here}; a change of this node is not in the cluster yet`
  const { cluster_sequence: there } = status
  return there === undefined || there === status.sequence ? here : `${here}; the cluster has record ${there}`
}

const answer = (context: Context, status: ClusterStatus, json: boolean): number => {
  if (json) context.output.json(status)
  else show(context, status)
  return 0
}

export const clusterStatus: CommandSpec = {
  name: 'cluster status',
  summary: 'show the nodes of the cluster, its leader, and how far each node has come',
  options: [JSON_OPTION],
  examples: ['ghconnect cluster status', 'ghconnect cluster status --json | jq -r .leader'],
  async run(context, { options }) {
    const client = await context.client('admin')
    const status = await client.call({ method: 'GET', path: '/v1/cluster', answer: ClusterStatus })
    return answer(context, status, options.flag('json'))
  },
}

/** Where there is nothing to lose nobody is asked. */
const askToShred = async (context: Context, client: Client, yes: boolean): Promise<void> => {
  const { account, hostname, state } = await getStatus(client)
  if (state === 'disconnected') return
  const name = account?.login ?? hostname ?? 'this machine'
  await confirm(context, { what: `shreds the credentials of ${name} on this node`, name, yes })
}

export const clusterJoin: CommandSpec = {
  name: 'cluster join',
  summary: 'join the cluster that the configuration names',
  details: `The first node brings its credentials along; each other one takes over those of the cluster.
A node with another connection of its own refuses. --force gives that up: it asks for the account's name first, and without a
terminal it requires --yes.`,
  options: [
    { flags: '--replica', description: 'hold the credentials, call nobody, never lead, until promoted' },
    { flags: '--force', description: "give up another connection of this node's own" },
    YES_OPTION,
    JSON_OPTION,
  ],
  examples: ['ghconnect cluster join', 'ghconnect cluster join --replica'],
  async run(context, { options }) {
    const client = await context.client('admin')
    if (options.flag('force')) await askToShred(context, client, options.flag('yes'))
    const body = { replica: options.flag('replica'), force: options.flag('force') }
    const status = await client.call({ method: 'POST', path: '/v1/cluster', body, answer: ClusterStatus })
    return answer(context, status, options.flag('json'))
  },
}

export const clusterLeave: CommandSpec = {
  name: 'cluster leave',
  summary: 'leave the cluster; the other nodes go on',
  details: `Nothing of the cluster stays on this node: its key is shredded. With --keep this node goes on as a single one, with the same App.
Works without etcd, too. Without --keep it asks for the account's name first, and without a terminal it requires --yes.`,
  options: [{ flags: '--keep', description: 'keep the credentials' }, YES_OPTION, JSON_OPTION],
  examples: ['ghconnect cluster leave', 'ghconnect cluster leave --keep'],
  async run(context, { options }) {
    const client = await context.client('admin')
    if (!options.flag('keep')) await askToShred(context, client, options.flag('yes'))
    const path = options.flag('keep') ? '/v1/cluster?keep=true' : '/v1/cluster'
    const status = await client.call({ method: 'DELETE', path, answer: ClusterStatus })
    return answer(context, status, options.flag('json'))
  },
}

export const clusterPromote: CommandSpec = {
  name: 'cluster promote',
  summary: 'make a member of this replica: it may lead, and call GitHub',
  details: 'Works without etcd, too, where the primary is gone.',
  options: [JSON_OPTION],
  examples: ['ghconnect cluster promote'],
  async run(context, { options }) {
    const client = await context.client('admin')
    const status = await client.call({ method: 'POST', path: '/v1/cluster/promotion', answer: ClusterStatus })
    return answer(context, status, options.flag('json'))
  },
}

export const clusterRotateSecret: CommandSpec = {
  name: 'cluster rotate-secret',
  summary: "seal what is in etcd with the first of this node's cluster secrets",
  details: `Before it, on each node: put the new secret (openssl rand -hex 32) as a line before the former one, and restart the daemon.
After it, on each node: remove the line of the former secret. The command names the nodes that do not know the new one yet.`,
  options: [JSON_OPTION],
  examples: ['ghconnect cluster rotate-secret'],
  async run(context, { options }) {
    const client = await context.client('admin')
    const done = await client.call({ method: 'POST', path: '/v1/cluster/secret', answer: ResealAnswer })
    if (options.flag('json')) context.output.json(done)
    else context.output.line(`${count(done.resealed, 'value')} sealed with the new secret.`)
    return 0
  },
}
