// The sandbox's own clock: the machine's, moved by an offset that tests set through the control API.

export type SandboxClock = {
  nowMs(): number
  offsetMs(): number
  setOffset(ms: number): void
  advance(ms: number): void
}

export const createSandboxClock = (): SandboxClock => {
  let offset = 0
  return {
    nowMs: () => Date.now() + offset,
    offsetMs: () => offset,
    setOffset: ms => {
      offset = ms
    },
    advance: ms => {
      offset += ms
    },
  }
}

/** A time as GitHub prints it: UTC, whole seconds. */
export const isoSeconds = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
