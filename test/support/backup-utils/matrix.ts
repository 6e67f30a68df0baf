// The restore matrix: how a restore is asked for, and what becomes of the credentials.

export type Row = {
  readonly name: string
  readonly configured?: boolean
  readonly elsewhere?: boolean
  /** Of ghe-restore. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Of the target in the end. */
  readonly state: string
  /** In what the programs print. */
  readonly says?: RegExp
}

export const ROWS: readonly Row[] = [
  { name: '-c', args: ['-c'], state: 'connected' },
  { name: 'an unconfigured target', configured: false, state: 'connected' },
  { name: 'neither of both', state: 'disconnected', says: /not restored, since settings are not/ },
  { name: 'GHE_RESTORE_GH_CONNECT=yes', env: { GHE_RESTORE_GH_CONNECT: 'yes' }, state: 'connected', says: /are kept/ },
  { name: 'yes on another machine', env: { GHE_RESTORE_GH_CONNECT: 'yes' }, elsewhere: true, state: 'quarantined' },
  { name: '-c on another machine', args: ['-c'], elsewhere: true, state: 'quarantined' },
  { name: 'adopt', env: { GHE_RESTORE_GH_CONNECT: 'adopt' }, elsewhere: true, state: 'connected', says: /are kept/ },
  {
    name: 'adopt with -c',
    args: ['-c'],
    env: { GHE_RESTORE_GH_CONNECT: 'adopt' },
    elsewhere: true,
    state: 'connected',
  },
  {
    name: 'GHE_SKIP_GH_CONNECT=yes',
    args: ['-c'],
    env: { GHE_SKIP_GH_CONNECT: 'yes' },
    state: 'disconnected',
    says: /^Warning: .*SKIP/m,
  },
]
