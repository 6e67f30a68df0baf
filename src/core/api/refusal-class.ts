// Problems in a few classes, for graphs: those of their exit codes.

import { CATALOGUE, type Code } from '../../protocol/errors.ts'

/** The names that sysexits.h gives to the exit codes of problems. */
export const classOf = (code: Code): string => CLASSES[CATALOGUE[code].exit]

const CLASSES = {
  64: 'usage',
  65: 'data',
  69: 'unavailable',
  70: 'internal',
  74: 'io',
  75: 'later',
  77: 'not-permitted',
  78: 'configuration',
} as const satisfies Record<(typeof CATALOGUE)[Code]['exit'], string>
