// The line of a key in the text of a configuration file: smol-toml tells positions of syntax errors only.

/** Found by table and name; of the table where the key is in an inline one. */
export const lineOf = (text: string, path: readonly PropertyKey[]): number | undefined => {
  const [table, second] = path
  const occurrence = typeof second === 'number' ? second : 0
  const keys = path.slice(typeof second === 'number' ? 2 : 1).filter(part => typeof part === 'string')
  let seen = -1
  let best: number | undefined
  for (const [at, line] of text.split('\n').entries()) {
    const header = /^\s*\[\[?\s*([\w.-]+)\s*\]\]?/.exec(line)
    if (header && keys[0] !== undefined && header[1] === `${String(table)}.${keys[0]}`) return at + 1
    if (header) {
      if (header[1] === table) seen += 1
      else if (seen === occurrence) break
      if (header[1] === table && seen === occurrence) best = at + 1
    } else if (
      seen === occurrence &&
      keys[0] !== undefined &&
      new RegExp(`^\\s*"?${escape(keys[0])}"?\\s*[.=]`).test(line)
    ) {
      return at + 1
    } else if (seen < 0 && path.length === 1 && new RegExp(`^\\s*"?${escape(String(table))}"?\\s*=`).test(line))
      return at + 1
  }
  return best
}

const escape = (text: string): string => text.replaceAll(/[^\w-]/g, String.raw`\$&`)
