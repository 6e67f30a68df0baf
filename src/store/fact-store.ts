// Small facts that outlive a restart and belong to no other table, each with one owner: the learned clock offset, refresh history.

export type FactStore = {
  find(name: string): unknown
  /** JSON values only. Durable on return. */
  put(name: string, value: unknown): void
}
