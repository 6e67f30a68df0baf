// How the collector of a daemon works that has started. On the command line of the runtime these two flags would cost a start 50 ms: V8
// keeps compiled code for the flags it was made with, and Node's own was made without them.

import { flushCompileCache } from 'node:module'
import { setFlagsFromString } from 'node:v8'

/** Once, when all is loaded: what is compiled from here on is not kept. */
export const settleHeap = (): void => {
  // What the runtime keeps of this start is good for the next one only if it was made before.
  flushCompileCache()
  // V8 would place objects of a kind that mostly lived long, as connections do, where they are collected late: under a flood of short ones
  // that is seldom true, and its large collections were three times as many.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // Of what is in use, between two large collections: fewer again, for 5 MB.
  setFlagsFromString('--heap-growing-percent=40')
}
