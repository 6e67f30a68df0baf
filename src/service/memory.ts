// Memory outside of the collector's heap: what it holds brings the collector on, which does not know how soon it could be had back.

/**
 * Gives the memory back at once; the bytes are gone. Only for bytes that nobody else holds, in memory of their own. Small ones may lie in
 * memory that Node shares between buffers, and are left to the collector.
 */
export const giveBack = (bytes: Uint8Array): void => {
  if (bytes.length * 2 >= Buffer.poolSize && bytes.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0)
}
