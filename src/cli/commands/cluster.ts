// `ghconnect cluster`: the credentials on several nodes.

import type { ClusterStatus } from '../../protocol/wire.ts'
import { type CommandSpec, type Context, JSON_OPTION, YES_OPTION } from '../command.ts'
import { confirm } from '../input.ts'
import { alignColumns, count, describeTime, relativeTime } from '../output.ts'

export const clusterStatus: CommandSpec = {
  name: 'cluster status',
  summary: 'show the nodes of the cluster, its leader, and how far each node has come',
  options: JSON_OPTION,
  examples: ['ghconnect cluster status', 'ghconnect cluster status --json | jq -r .leader'],
  run: async context => show(context, await context.ask('GET /v1/cluster')),
}

export const clusterJoin: CommandSpec = {
  name: 'cluster join',
  summary: 'join the cluster that the configuration names',
  details: `The first node brings its credentials along; each other one takes over those of the cluster.
A node with another connection of its own refuses. --force gives that up: it asks for the account's name first, and without a
terminal it requires --yes.`,
  options: {
    '--replica': 'hold the credentials, call nobody, never lead, until promoted',
    '--force': "give up another connection of this node's own",
    ...YES_OPTION,
    ...JSON_OPTION,
  },
  examples: ['ghconnect cluster join', 'ghconnect cluster join --replica'],
  async run(context) {
    const body = { replica: context.options.flag('replica'), force: context.options.flag('force') }
    if (body.force) await askToShred(context)
    show(context, await context.ask('POST /v1/cluster', { body }))
  },
}

export const clusterLeave: CommandSpec = {
  name: 'cluster leave',
  summary: 'leave the cluster; the other nodes go on',
  details: `Nothing of the cluster stays on this node: its key is shredded. With --keep this node goes on as a single one, with the same App.
Works without etcd, too. Without --keep it asks for the account's name first, and without a terminal it requires --yes.`,
  options: { '--keep': 'keep the credentials', ...YES_OPTION, ...JSON_OPTION },
  examples: ['ghconnect cluster leave', 'ghconnect cluster leave --keep'],
  async run(context) {
    const keep = context.options.flag('keep')
    if (!keep) await askToShred(context)
    show(context, await context.ask('DELETE /v1/cluster', { query: { keep: keep ? 'true' : undefined } }))
  },
}

export const clusterPromote: CommandSpec = {
  name: 'cluster promote',
  summary: 'make a member of this replica: it may lead, and call GitHub',
  details: 'Works without etcd, too, where the primary is gone.',
  options: JSON_OPTION,
  examples: ['ghconnect cluster promote'],
  run: async context => show(context, await context.ask('POST /v1/cluster/promotion')),
}

export const clusterRotateSecret: CommandSpec = {
  name: 'cluster rotate-secret',
  summary: "seal what is in etcd with the first of this node's cluster secrets",
  details: `Before it, on each node: put the new secret (openssl rand -hex 32) as a line before the former one, and restart the daemon.
After it, on each node: remove the line of the former secret. The command names the nodes that do not know the new one yet.`,
  options: JSON_OPTION,
  examples: ['ghconnect cluster rotate-secret'],
  async run(context) {
    const done = await context.ask('POST /v1/cluster/secret')
    context.print(done, () => context.output.line(`${count(done.resealed, 'value')} sealed with the new secret.`))
  },
}

/** Where there is nothing to lose nobody is asked. */
const askToShred = async (context: Context): Promise<void> => {
  const { account, hostname, state } = await context.ask('GET /v1/status')
  if (state === 'disconnected') return
  const name = account?.login ?? hostname ?? 'this machine'
  await confirm(context, `shreds the credentials of ${name} on this node`, name)
}

const show = (context: Context, status: ClusterStatus): void =>
  context.print(status, () => {
    const { output } = context
    const now = context.deps.clock.now()
    const members = status.members.map(member => [
      member.node,
      member.hostname,
      member.role,
      `generation ${member.generation}`,
      member.behind === 0 ? 'current' : output.paint('yellow', `${count(member.behind, 'record')} behind`),
      `since ${describeTime(member.since, now)}`,
    ])
    output.fields([
      [
        'Cluster',
        `${status.cluster}, ${describeTouch(context, status)}`,
        ...(status.trouble === undefined ? [] : [status.trouble]),
      ],
      ['This node', `${status.node} (${status.role})`],
      ['Record', describeRecord(status)],
      ['Leader', status.leader ?? 'none'],
      ['Tokens', `${status.tokens} in etcd, sealed`],
      ...(members.length > 0 ? [['Members', ...alignColumns(members)]] : []),
    ])
  })

const describeTouch = ({ output: { paint }, deps }: Context, status: ClusterStatus): string => {
  const { joined, in_touch: inTouch, trouble, last_contact_at: contact } = status
  if (!joined) return paint('yellow', 'not joined')
  if (inTouch) return trouble === undefined ? paint('green', 'in touch') : paint('yellow', 'in touch, and behind')
  const heard = contact === undefined ? '' : `, heard of ${relativeTime(Date.parse(contact), deps.clock.now())}`
  return paint('red', `cut off${heard}`)
}

const describeRecord = (status: ClusterStatus): string => {
  const here = `generation ${status.generation}, record ${status.sequence}`
  if (status.unsent) return `${here}; a change of this node is not in the cluster yet`
  const { cluster_sequence: there } = status
  return there === undefined || there === status.sequence ? here : `${here}; the cluster has record ${there}`
}
