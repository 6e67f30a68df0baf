// Which of several warnings matters most, and so what the next step is.

import { isCode } from './errors.ts'
import type { Status } from './wire.ts'

type Warning = Status['warnings'][number]

/** A fault that is met now comes before everything else; what only makes a later loss worse comes last. */
const rank = ({ code }: Warning): number => (isCode(code) ? 0 : code === 'no-recovery-key' ? 2 : 1)

export const worstWarning = (warnings: readonly Warning[]): Warning | undefined =>
  warnings.toSorted((a, b) => rank(a) - rank(b))[0]
