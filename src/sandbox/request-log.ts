// The list of API requests that tests read back: what was asked, as whom, and how it was answered.

const KEEP = 100_000

export type LogEntry = {
  sequence: number
  at: string
  method: string
  path: string
  /** 0 where the connection was closed without an answer. */
  status: number
  authorization: 'none' | 'app' | 'token'
  /** The `iss` of the JWT, or the App id behind the token. */
  issuer: string | null
  installation: number | null
  /** The body of a request for a token. */
  scope: unknown
  api_version: string | null
  stateless: string | null
  user_agent: string | null
  request_id: string
}

export type RequestLog = {
  add(entry: Omit<LogEntry, 'sequence'>): void
  /** Entries after that sequence number, oldest first. */
  since(sequence: number): LogEntry[]
  count(): number
  clear(): void
}

export const createRequestLog = (): RequestLog => {
  let entries: LogEntry[] = []
  let sequence = 0
  return {
    add: entry => {
      sequence += 1
      entries.push({ sequence, ...entry })
      if (entries.length > KEEP * 1.1) entries = entries.slice(-KEEP)
    },
    since: after => entries.filter(entry => entry.sequence > after),
    count: () => sequence,
    clear: () => {
      entries = []
      sequence = 0
    },
  }
}
