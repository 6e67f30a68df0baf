// Reads forms and links out of a page's HTML, as much as the owner without a browser needs.

export type Form = { action: string; method: string; fields: URLSearchParams }

/** The forms of a page, with the values that a browser would send untouched. */
export const formsOf = (html: string, pageUrl: string): Form[] =>
  [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head = '', inner = '']) => {
    const attributes = attributesOf(head)
    return {
      action: new URL(attributes.get('action') ?? '', pageUrl).href,
      method: (attributes.get('method') ?? 'get').toLowerCase(),
      fields: fieldsOf(inner),
    }
  })

export const linksOf = (html: string, pageUrl: string): string[] =>
  [...html.matchAll(/<a\b([^>]*)>/gi)]
    .map(([, head = '']) => attributesOf(head).get('href'))
    .filter(href => href !== undefined)
    .map(href => new URL(href, pageUrl).href)

/** The text of a page without its tags, for messages. */
export const textOf = (html: string): string =>
  decode(html.replace(/<(style|title)\b[\s\S]*?<\/\1>/gi, '').replace(/<[^>]+>/g, ' '))
    .replace(/\s+/g, ' ')
    .trim()

const fieldsOf = (inner: string): URLSearchParams => {
  const fields = new URLSearchParams()
  const controls = /<input\b([^>]*)>|<textarea\b([^>]*)>([\s\S]*?)<\/textarea>|<select\b([^>]*)>([\s\S]*?)<\/select>/gi
  for (const [, input, area, areaText, select, options] of inner.matchAll(controls)) {
    const attributes = attributesOf(input ?? area ?? select ?? '')
    const name = attributes.get('name')
    if (name === undefined || attributes.has('disabled')) continue
    if (area !== undefined) fields.append(name, decode(areaText ?? '').replace(/^\r?\n/, ''))
    else if (select !== undefined) fields.append(name, chosen(options ?? ''))
    else if (isSent(attributes)) fields.append(name, attributes.get('value') ?? 'on')
  }
  return fields
}

const isSent = (attributes: ReadonlyMap<string, string>): boolean => {
  const type = attributes.get('type')?.toLowerCase() ?? 'text'
  if (type === 'submit' || type === 'button' || type === 'reset') return false
  return (type !== 'checkbox' && type !== 'radio') || attributes.has('checked')
}

const chosen = (options: string): string => {
  const all = [...options.matchAll(/<option\b([^>]*)>/gi)].map(([, head = '']) => attributesOf(head))
  return (all.find(option => option.has('selected')) ?? all[0])?.get('value') ?? ''
}

const attributesOf = (head: string): Map<string, string> => {
  const attributes = new Map<string, string>()
  for (const [, name = '', double, single, bare] of head.matchAll(
    /([^\s"'=<>/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g,
  ))
    attributes.set(name.toLowerCase(), decode(double ?? single ?? bare ?? ''))
  return attributes
}

const NAMED: Record<string, string> = { quot: '"', apos: "'", amp: '&', lt: '<', gt: '>', nbsp: ' ', middot: '·' }

const decode = (text: string): string =>
  text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|([a-z]+));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal))
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    return NAMED[name?.toLowerCase() ?? ''] ?? whole
  })
