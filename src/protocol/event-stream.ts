// Reads server-sent events (text/event-stream) from pieces of text, however they are cut.

/** Longer than any event of ours: what goes on without a line end is dropped rather than kept. */
const MAX_BUFFER = 1_048_576

/** Feed it decoded text; `onData` gets the `data` of each event, lines joined. */
export const createEventReader = (onData: (data: string) => void): { feed(text: string): void } => {
  let rest = ''
  let data: string[] = []
  const take = (line: string): void => {
    if (line === '') {
      if (data.length > 0) onData(data.join('\n'))
      data = []
      return
    }
    const [, field, value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? []
    if (field === 'data') data.push(value)
  }
  return {
    feed(text) {
      rest += text
      // A CR at the very end may be half of a CRLF: it waits for what follows.
      const lines = rest.split(/\r\n|\n|\r(?!$)/)
      rest = lines.pop() ?? ''
      for (const line of lines) take(line)
      if (rest.length > MAX_BUFFER) rest = ''
    },
  }
}
