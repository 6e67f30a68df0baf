// Garbage collector flags, set after the start. On Node's command line they would cost each start 50 ms: V8 rejects compiled code that was
// made under other flags, and Node's built-in modules ship compiled without these two.

import { flushCompileCache } from 'node:module'
import { setFlagsFromString } from 'node:v8'

/** Call once, after loading everything: later code does not reach the compile cache. */
export const settleHeap = (): void => {
  // The next start can use the cache only if Node writes it before the flags change.
  flushCompileCache()
  // V8 would place objects of a kind that mostly lived long, as connections do, where they are collected late: under a flood of short ones
  // that is seldom true, and its large collections were three times as many.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // Of what is in use, between two large collections: fewer again, for 5 MB.
  setFlagsFromString('--heap-growing-percent=40')
}
