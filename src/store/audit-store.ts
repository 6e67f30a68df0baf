// The audit log: a hash chain in a database of its own, which outlives disable and restore.

export type AuditEvent = {
  /** Dotted, as GitHub names its own: `token.grant`, `token.deny`, `dotcom_connection.create`. */
  readonly event: string
  readonly atMs: number
  readonly peer?: { readonly pid: number; readonly uid: number; readonly unit?: string }
  readonly profile?: string
  readonly scope?: string
  /** GitHub's own `hashed_token`: base64 of the token's SHA-256. */
  readonly hashedToken?: string
  readonly detail?: string
  /** How many equal events this row stands for, when more than one. */
  readonly count?: number
}

export type AuditRow = AuditEvent & { readonly sequence: number; readonly hash: string }

export type AuditStore = {
  /** Durable on return. Throws `audit-unavailable`. */
  append(event: AuditEvent): AuditRow
  /** Rows with a higher sequence than `after`, oldest first. */
  list(options: { after?: number; limit: number }): readonly AuditRow[]
  /** Throws `store-corrupt` naming the first row that was changed, removed or reordered. Returns the number of rows and the last hash. */
  verify(): { rows: number; lastHash: string }
  close(): void
}
