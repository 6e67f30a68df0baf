// An age identity and its recipient, as `age-keygen` makes them.

import { execFileSync } from 'node:child_process'

export const ageKey = (): { recipient: string; identity: string } => {
  const text = execFileSync('age-keygen', { stdio: ['ignore', 'pipe', 'ignore'] }).toString()
  const identity = /AGE-SECRET-KEY-1\w+/.exec(text)?.[0] ?? ''
  const recipient = /# public key: (age1\w+)/.exec(text)?.[1] ?? ''
  return { recipient, identity }
}
